"""A bank and its exported network, made once for all files here: exporting takes many seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fsod.inference.infer import BatchDetector, batch_detector
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import load_bank, read_bank, save_bank
from tests import untrained
from tests.command import fsod
from tests.inference.exported_network import FLOAT32, FLOOR, NAMES, SCORES, SETTINGS, WINDOW_PX


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With another proposed score for each class."""
    path = untrained.make_bank(tmp_path_factory.mktemp("export"), NAMES, settings=SETTINGS)
    scored = read_bank(path).with_scores(dict(zip(NAMES, SCORES, strict=True)))
    save_bank(path, scored, path.parent / "weights.safetensors")
    return path


@pytest.fixture(scope="session")
def exported(bank: Path) -> Path:
    out = bank.parent / "new" / "bank.onnx"
    item = bank.parent / "item.json"
    options = "--format", "onnx", "--window-px", WINDOW_PX
    assert fsod("export", "--bank", bank, "--out", out, "--stac", item, *options) == 0
    assert "torchvision" not in sys.modules
    return out


@pytest.fixture(scope="session")
def by_torch(bank: Path) -> BatchDetector:
    loaded = load_checkpoint(bank.parent / "weights.safetensors")
    return batch_detector(loaded, load_bank(bank, loaded.detector), FLOAT32, SETTINGS.evaluate, FLOOR)
