from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from fsod.model.detector import Detector
from fsod.steps.evaluate_detector import evaluate_files
from fsod.store.checkpoint import SHIPPED, Checkpoint, LearnedFrom, load_checkpoint, save_checkpoint
from tests.made_folder import make_folder


def test_what_an_analysts_marks_made_is_scored_on_any_folder(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings are those of the pretrained weights that it began with."""
    shutil.copy(migrated, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = make_folder(tmp_path / "folder", images=2)
    torch.manual_seed(0)
    made = Checkpoint(
        Detector("nano", 1).eval(),
        "nano",
        folder.class_names[:1],
        "finetune",
        load_checkpoint(SHIPPED).settings,
        LearnedFrom(origins={folder.class_names[0]: {}}, enlargement=2.0),
    )
    save_checkpoint(tmp_path / "d.safetensors", made)
    told = evaluate_files(tmp_path / "d.safetensors", folder.root, None, None, None, [f"run_dir={tmp_path / 'run'}"])
    assert 0 <= told["all_map50"] <= 1
