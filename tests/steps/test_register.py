"""Registering a detector: what goes into the registry, what is refused, and what an interruption leaves."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from fsod.cli import INTERRUPTED
from fsod.errors import UserError
from fsod.steps.register import register_model, serve_model
from tests.command import fsod
from tests.registered_model import PLAN, folder, registered

__all__ = ["folder", "registered"]


def test_what_is_registered(registered: str, folder: Path) -> None:
    found = mlflow.models.get_model_info(registered)
    assert [column["name"] for column in found.signature.inputs.to_dict()] == ["image", "scene"]
    assert found.metadata["classes"] == "boat, car"
    place = Path(mlflow.artifacts.download_artifacts(registered, dst_path=str(folder / "copy")))
    assert {path.name for path in place.rglob("*") if path.suffix in (".safetensors", ".py", ".pkl")} == {
        "mlflow_model.py",
        "bank.safetensors",
        "weights.safetensors",
    }
    pinned = (place / "requirements.txt").read_text().split()
    assert f"torch=={torch.__version__.partition('+')[0]}" in pinned
    assert all("==" in line for line in pinned)


def test_the_alias_moves_and_a_bad_name_is_refused(
    registered: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, database = folder / "bank.safetensors", folder / "mlflow.db"
    again = register_model(bank, folder / "weights.safetensors", "made", "champion", PLAN, database)
    assert int(again["version"]) == 2
    assert (
        fsod(
            "register",
            "--bank",
            bank,
            "--name",
            "made",
            "--alias",
            "distractor",
            "--score",
            "0.5",
            "--database",
            database,
        )
        == 0
    )
    versions = {
        alias: mlflow.MlflowClient().get_model_version_by_alias("made", alias) for alias in ("champion", "distractor")
    }
    assert {alias: int(version.version) for alias, version in versions.items()} == {"champion": 2, "distractor": 3}
    for change, reason in (({"window_px": 650}, "window of 650 px"), ({"overlap_px": 100}, "overlap of 100 px")):
        with pytest.raises(UserError, match=reason):
            register_model(bank, None, "made", "champion", PLAN.model_copy(update=change), database)
    for name in ("no/slash", "no:colon", " "):
        with pytest.raises(UserError, match=f"--name '{name}': give a name without / and :"):
            register_model(bank, None, name, "champion", PLAN, database)
    for alias in ("two words", "", "a" * 256):
        with pytest.raises(UserError, match=f"--alias '{alias}': give letters, digits"):
            register_model(bank, None, "made", alias, PLAN, database)
    for alias in ("latest", "v1"):
        with pytest.raises(UserError, match=f"--alias {alias}: MLflow keeps it"):
            register_model(bank, None, "made", alias, PLAN, database)
    assert len(mlflow.MlflowClient().search_model_versions("name='made'")) == 3
    with pytest.raises(
        UserError, match=r"this model cannot be had from there, see `fsod register`: .*alias beta not found"
    ):
        serve_model("made", "beta", None, 5000, 60, database)
    nowhere = folder / "no" / "mlflow.db"
    with monkeypatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with pytest.raises(UserError, match="no such database"):
            serve_model("made", "champion", None, 5000, 60, nowhere)
    assert not nowhere.exists()


def test_registering_that_is_interrupted_is_done_by_the_same_command(
    registered: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the files are copied, and when all is there but the alias; the alias then points to what is whole."""
    bank = folder / "bank.safetensors"
    command = ("register", "--bank", bank, "--name", "cut", "--database", folder / "mlflow.db")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place, name in (
        (LocalArtifactRepository, "log_artifacts"),
        (mlflow.MlflowClient, "set_registered_model_alias"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, interrupt)
            assert fsod(*command) == INTERRUPTED
        with pytest.raises(MlflowException):
            mlflow.MlflowClient().get_model_version_by_alias("cut", "champion")
    assert fsod(*command) == 0
    place = Path(mlflow.artifacts.download_artifacts("models:/cut@champion", dst_path=str(folder / "whole")))
    (copied,) = place.rglob("bank.safetensors")
    assert copied.read_bytes() == bank.read_bytes()
