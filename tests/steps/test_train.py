from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest

from fsod.config import EpisodeSettings, OptimSettings, PretrainSettings
from fsod.errors import UserError
from fsod.steps.train import run_pretrain
from fsod.tracking.run_paths import RunPaths
from fsod.tracking.tracking_store import local_uri


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
    with pytest.raises(UserError, match="trained with other settings"):
        run_pretrain(settings.model_copy(update={"seed": 1}))
