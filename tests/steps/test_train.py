from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from fsod.config import EpisodeSettings, OptimSettings, PretrainSettings
from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.steps import train
from fsod.steps.train import run_pretrain
from fsod.store.checkpoint import Checkpoint, save_checkpoint
from fsod.tracking.run_paths import RunPaths
from fsod.tracking.tracking_store import local_uri
from tests.made_folder import make_folder


def test_pretraining_is_done_once_and_tracked(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(migrated, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = PretrainSettings(
        name="test",
        run_dir=tmp_path / "run",
        episodes=EpisodeSettings(ways=2, shots=1, queries=1, query_px=64, support_px=64),
        pretrain=OptimSettings(steps=1, warmup_steps=1, log_every=1, workers=0),
    )
    paths, made = RunPaths(settings.run_dir), run_pretrain(settings)
    assert made["checkpoint"] == str(paths.pretrained)
    client = mlflow.MlflowClient(local_uri(paths.database))
    run = client.get_run((paths.run_dir / "pretrain.mlflow").read_text().strip())
    assert 0 < run.data.metrics["seconds"] <= made["seconds"]
    assert len(run.data.tags["checkpoint_sha256"]) == 64
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["pretrain.safetensors"]

    assert run_pretrain(settings) == {"checkpoint": str(paths.pretrained), "seconds": 0.0}
    with pytest.raises(UserError, match=r"trained with other settings \(seed\)"):
        run_pretrain(settings.model_copy(update={"seed": 1}))


def test_weights_of_other_data_are_not_taken_for_trained(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "tiles", images=1)
    settings = PretrainSettings(name="test", run_dir=tmp_path, pretrain=OptimSettings(steps=1))
    made = Checkpoint(Detector("nano", 0).eval(), "nano", (), "meta-train", settings.model_dump(mode="json"))
    file = tmp_path / "w.safetensors"
    for sha256, fits in (("", True), (folder.sha256, True), ("0" * 64, False)):
        save_checkpoint(file, replace(made, data_sha256=sha256))
        with nullcontext() if fits else pytest.raises(UserError, match=r"was trained on other data than .*tiles holds"):
            train._check_done(file, settings, {"seed"}, [folder.root])
    train._check_done(file, settings, {"seed"}, [tmp_path / "gone"])
