"""Networks of strangers: banks, detectors, exported networks, official weights, the state of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from fsod.config import OptimSettings, PredictSettings
from fsod.steps.kept_marks import earlier_marks
from fsod.steps.searcher import load_searcher
from fsod.store.checkpoint import LearnedFrom, load_checkpoint, save_checkpoint
from fsod.store.class_bank import read_bank
from fsod.store.official import open_official
from fsod.training.stage import Stage, _resume, _save, adamw
from tests import untrained
from tests.hostile.kind import Kind, both
from tests.made_onnx import make_onnx

IMAGE = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3)).astype(np.uint8)


def make_bank(folder: Path) -> None:
    """A bank, its weights and a detector of an analyst's marks."""
    untrained.make_bank(folder)
    loaded = load_checkpoint(folder / "weights.safetensors")
    marks: dict[str, Any] = {
        "scene": str(Path(__file__)),  # it only has to be there
        "size_px": [96, 96],
        "gsd_m": 0.5,
        "boxes_xyxy_px": [[1.0, 2.0, 30.0, 40.0]],
        "class_names": ["boat"],
        "refused_xyxy_px": [[50.0, 50.0, 60.0, 60.0]],
        "refused_names": ["not boat"],
        "areas": "MULTIPOLYGON (((0 0, 0 50, 50 50, 50 0, 0 0)))",
    }
    origins: dict[str, dict[str, Any]] = {
        name: {"row": "refined", "score": 0.3, "reported": True, "examples": 5, "gsd_m": 0.5}
        for name in loaded.class_names
    }
    about = LearnedFrom(origins=origins, gsd_m=0.5, enlargement=1.5, marks=[marks])
    save_checkpoint(folder / "detector.safetensors", replace(loaded, learned_from=about), torch.float16)
    (folder / "bank.safetensors").rename(folder / "some.safetensors")


def read_a_bank(folder: Path) -> None:
    """As ``fsod bank list`` and ``fsod predict`` do; ``fsod finetune --from`` for what is a detector."""
    path = next(p for p in (folder / "some.safetensors", folder / "detector.safetensors") if p.is_file())
    bank = read_bank(path)
    assert len(bank.scores) == len(bank.class_names)
    search = lambda: use(load_searcher(path, None, PredictSettings()), folder)
    both(*([] if path.name == "some.safetensors" else [lambda: earlier_marks(path)]), search)


def use(searcher: Any, folder: Path) -> None:
    """Searches an image."""
    assert len(searcher.scores) == len(searcher.class_names)
    searcher.told_xyxy_px(str(folder / "scene.tif"))
    for found in searcher.detect(IMAGE):
        assert (found.class_ids < len(searcher.class_names)).all()


def make_only(name: str) -> Callable[[Path], object]:
    """Of a bank's files the weights, and this one."""

    def make(folder: Path) -> None:
        make_bank(folder)
        for path in folder.glob("*.safetensors"):
            if path.name not in (name, "weights.safetensors"):
                path.unlink()

    return make


def read_onnx(folder: Path) -> None:
    """As ``fsod predict`` does."""
    use(load_searcher(folder / "bank.onnx", None, PredictSettings()), folder)


def make_archive(folder: Path) -> None:
    """What YOLOv7's training writes, but small."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    torch.save({"model": net.state_dict(), "ema": None, "epoch": 3, "best": (1, 2)}, folder / "weights.pt")


def read_archive(folder: Path) -> None:
    """All its tensors."""
    weights = open_official(folder / "weights.pt")
    for name in weights.shapes:
        weights.read(name)


def stage_of(folder: Path) -> Stage:
    """A stage that is never run."""
    return Stage("made", cast(Any, None), cast(Any, None), OptimSettings(steps=4), folder / "made.state", "same")


def make_state(folder: Path) -> None:
    """Of a training that was killed."""
    net = nn.Linear(3, 2)
    optimizer = adamw(net, OptimSettings(steps=4))
    net(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    _save(stage_of(folder), 2, net, net, optimizer)


def resume(folder: Path) -> None:
    """A training that goes on."""
    net = nn.Linear(3, 2)
    assert 0 <= _resume(stage_of(folder), net, nn.Linear(3, 2), adamw(net, OptimSettings(steps=4))) <= 4


NETWORK_KINDS = (
    Kind("bank", make_only("some.safetensors"), ("some.safetensors",), read_a_bank, 0.7),
    Kind("detector", make_only("detector.safetensors"), ("detector.safetensors",), read_a_bank, 0.4),
    Kind("onnx", lambda folder: make_onnx(folder / "bank.onnx"), (".onnx",), read_onnx),
    Kind("archive", make_archive, (".pt",), read_archive),
    Kind("state", make_state, (".state",), resume),
)
