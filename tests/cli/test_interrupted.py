"""Every long command, cut off at ten random moments as by a kill, gives in the end what an undisturbed one gives."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import geopandas
import numpy as np
import onnx
import pytest
import rasterio
import shapely
import torch
from rasterio.transform import from_origin

from fsod.cli import INTERRUPTED
from fsod.data.mark_views import CropSettings
from fsod.inference import onnx_export as exporting
from fsod.steps import enroll_classes as enrolling
from fsod.steps import finetune_marks as finetuning
from fsod.steps import train as training
from fsod.training import learn_marks as learning
from tests.command import fsod
from tests.made_folder import make_folder
from tests.untrained import make_bank

MOMENTS = 7
SLOW = {"finetuned": 2, "pretrained": 4, "meta_trained": 4}
"""Moments of commands that take seconds each time; what training itself loses is tested beside it."""
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.copyfile", "shutil.rmtree"}


@dataclass
class Disk:
    """A folder whose files cannot be touched any more once so many things have been done to them.

    That is what a kill leaves: nothing of what a process does to clean up reaches the disk.
    """

    folder: str
    left: float
    done: int = 0

    def see(self, event: str, what: tuple[Any, ...]) -> None:
        paths = what[: 1 if event == "open" else 2]  # what follows is how it is opened
        names = [os.path.abspath(name) for name in paths if isinstance(name, str | Path)]  # noqa: PTH100, follows no link
        if not any(name.startswith(self.folder) for name in names):
            return
        self.done += 1
        if self.done > self.left:
            raise KeyboardInterrupt


_disk: Disk | None = None


def _hook(event: str, what: tuple[Any, ...]) -> None:
    if _disk is not None and event in EVENTS:
        _disk.see(event, what)


@pytest.fixture(scope="module", autouse=True)
def watched() -> None:
    sys.addaudithook(_hook)  # which cannot be taken away; without a disk it does nothing


@contextmanager
def disk(folder: Path, left: float = float("inf")) -> Iterator[Disk]:
    global _disk
    _disk = Disk(str(folder), left)
    try:
        yield _disk
    finally:
        _disk = None


def write_scene(path: Path) -> Path:
    rgb = np.random.default_rng(0).integers(70, 110, (3, 128, 128)).astype(np.uint8)
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
    with rasterio.open(path, "w", driver="GTiff", width=128, height=128, count=3, dtype="uint8", **place) as file:
        file.write(rgb)
    boxes = [shapely.box(500_010 + x, 4_999_960, 500_020 + x, 4_999_970) for x in (0, 15, 30)]
    geopandas.GeoDataFrame({"class": ["ship"] * 3}, geometry=boxes, crs="EPSG:32633").to_file(path.with_suffix(".gpkg"))
    return path


SMALL = ("--window-px", 96, "--overlap-px", 32, "--batch", 1, "--precision", "float32")


def prepared(inputs: Path) -> tuple[object, ...]:
    return ("data", "prepare", "prepared", make_folder(inputs / "d", images=3).root, "prepared")


def tiled(inputs: Path) -> tuple[object, ...]:
    folder = make_folder(inputs / "d", images=2).root
    return ("data", "tile", folder, "tiles", "--window-px", 64, "--overlap-px", 16)


def labelled(inputs: Path) -> tuple[object, ...]:
    scene = write_scene(inputs / "s.tif")
    return ("data", "labels", scene, scene.with_suffix(".gpkg"), "labels", "--window-px", 64, "--overlap-px", 16)


def reported(inputs: Path) -> tuple[object, ...]:
    make_bank(inputs)
    scene, layer = write_scene(inputs / "s.tif"), inputs / "f.geojson"
    assert fsod("predict", scene, "--bank", inputs / "bank.safetensors", "--out", layer, *SMALL) == 0
    return ("report", layer, "--out", "page.html")


def predicted(inputs: Path) -> tuple[object, ...]:
    make_bank(inputs)
    return ("predict", write_scene(inputs / "s.tif"), "--bank", inputs / "bank.safetensors", "--out", "f.gpkg", *SMALL)


def exported(inputs: Path) -> tuple[object, ...]:
    return ("export", "--bank", make_bank(inputs), "--out", "n.onnx")


def enrolled(inputs: Path) -> tuple[object, ...]:
    scene = write_scene(inputs / "s.tif")
    return ("enroll", "--scene", scene, "--examples", scene.with_suffix(".gpkg"), "--out", "b.safetensors")


def finetuned(inputs: Path) -> tuple[object, ...]:
    return ("finetune", *enrolled(inputs)[1:])


def pretrained(inputs: Path) -> tuple[object, ...]:
    (inputs / "c.yaml").write_text(
        "{name: n, run_dir: run, init: null, episodes: {ways: 2, shots: 1, queries: 1, query_px: 64, support_px: 64}, "
        "pretrain: {steps: 2, warmup_steps: 1, checkpoint_every: 1, workers: 0}}"
    )
    return ("pretrain", "--config", inputs / "c.yaml")


def meta_trained(inputs: Path) -> tuple[object, ...]:
    (inputs / "c.yaml").write_text(
        "{name: n, run_dir: run, init: null, data: {format: nwpu, novel: []}, "
        "episodes: {ways: 2, shots: 1, queries: 1, query_px: 64, support_px: 64}, finetune: {steps: 1}, "
        "meta_train: {steps: 2, warmup_steps: 1, checkpoint_every: 1, workers: 0}}"
    )
    make_folder(inputs / "tiles", images=3)
    return ("meta-train", "--config", inputs / "c.yaml")


COMMANDS: tuple[Callable[[Path], tuple[object, ...]], ...] = (
    prepared, tiled, labelled, reported, predicted, exported, enrolled, finetuned, pretrained, meta_trained,
)  # fmt: skip


class NoNetwork:
    """What torch makes of a network for ONNX, but none: that takes a minute."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(graph=Mock(), metadata_props={})
        self.model.graph.all_nodes.return_value = []

    def save(self, path: Path, **options: object) -> None:
        model = onnx.helper.make_model(onnx.helper.make_graph([], "none", [], []))
        onnx.helper.set_model_props(model, self.model.metadata_props)
        path.write_bytes(model.SerializeToString())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less to compute, and the same each time; as many files."""
    for name, steps in (("LEAST_STEPS", 2), ("MOST_STEPS", 2), ("TRIAL_STEPS", 1)):
        monkeypatch.setattr(learning, name, steps)
    monkeypatch.setattr(
        learning, "LOOKS", learning.LOOKS[1:2]
    )  # one look between two steps, as no step lies between more
    frequent = {"log_every": 1, "checkpoint_every": 1, "warmup_steps": 1}
    monkeypatch.setattr(learning, "LEARNING", learning.LEARNING.model_copy(update=frequent))
    monkeypatch.setattr(learning, "CropSettings", partial(CropSettings, queries=1, query_px=64))
    monkeypatch.setattr(learning, "look", lambda average, views, *others: list(views))
    monkeypatch.setattr(learning._Twin, "left_out_scores", lambda twin, detector: [(0, 0.6)])
    monkeypatch.setattr(enrolling, "best_enlargement", lambda marked, names, detect: 1.0)
    monkeypatch.setattr(enrolling, "left_out_scores", lambda marked, names, detect: {name: [0.6] for name in names})
    monkeypatch.setattr(finetuning, "proposed_scores", lambda detector, *_: [0.5] * len(detector.learned_bias))
    monkeypatch.setattr(training, "tracked", lambda *a, **k: nullcontext(Mock()))
    monkeypatch.setattr(torch.onnx, "export", lambda *a, **k: NoNetwork())
    monkeypatch.setattr(exporting, "_prove", lambda network, noise, path: {})


def everything(folder: Path) -> dict[str, str]:
    """What an undisturbed command leaves, but for what tells the time."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix != ".gpkg" else ""
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("lock")  # one that nobody holds keeps nobody away
    }


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_cut_off_anywhere_and_given_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[Path], tuple[object, ...]],
) -> None:
    (inputs := tmp_path / "in").mkdir()
    arguments = command(inputs)

    def run(place: Path, left: float) -> tuple[int, int]:
        place.mkdir(exist_ok=True)
        if (inputs / "tiles").is_dir() and not (place / "run").exists():
            shutil.copytree(inputs / "tiles", place / "run" / "tiles")
        monkeypatch.chdir(place)
        torch.manual_seed(0)
        with disk(place, left) as there:
            return fsod(*arguments), there.done

    undisturbed = tmp_path / "undisturbed"
    status, steps = run(undisturbed, float("inf"))
    assert status == 0
    expected = everything(undisturbed)
    assert steps >= 5
    moments = SLOW.get(command.__name__, MOMENTS)
    for n, left in enumerate(random.Random(0).sample(range(steps), min(moments, steps))):
        place = tmp_path / f"disturbed{n}"
        capsys.readouterr()
        assert run(place, left)[0] == INTERRUPTED
        said = capsys.readouterr().err
        assert said.endswith("fsod: interrupted; run the same command again to go on or to start over\n")
        assert said.count("fsod: ") == 1, said
        assert run(place, float("inf"))[0] == 0, f"after {left} of {steps}"
        assert everything(place) == expected, f"after {left} of {steps}"
        shutil.rmtree(place)
