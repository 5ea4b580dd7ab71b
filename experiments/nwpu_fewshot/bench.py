"""What every run of a study shares: data loaded once, the shot lists, and the score."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.class_splits import novel_classes, split_names
from fsod.compute.device import Machine, choose_machine
from fsod.config import DataSettings, PretrainSettings, RunSettings
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids
from fsod.data.shots import ShotList, draw_shots
from fsod.errors import UserError
from fsod.evaluation.average_precision import Scores, average_precision
from fsod.evaluation.shown_images import detect_folder
from fsod.store.checkpoint import load_checkpoint
from fsod.store.initial import initial_file
from fsod.tracking.run_paths import RunPaths

Detect = Callable[[NDArray[np.uint8]], list[Detections]]


@dataclass(frozen=True)
class Bench:
    """A benchmark.

    Attributes:
        settings: of the run that its data and base stage belong to.
        machine: where to compute.
        train: whole images that shots are drawn from.
        tiles: tiles of the training images, for base stages.
        test: whole images that are scored.
        class_names: classes that have shots and are scored, in the folder's order.
        novel: which of them are novel.
        database: of the tracking store.
    """

    settings: RunSettings
    machine: Machine
    train: CocoFolder
    tiles: CocoFolder
    test: CocoFolder
    class_names: tuple[str, ...]
    novel: tuple[str, ...]
    database: Path

    @property
    def base(self) -> tuple[str, ...]:
        """The scored classes that are not novel."""
        return tuple(name for name in self.class_names if name not in self.novel)

    def shots(self, k: int, seed: int) -> ShotList:
        """K boxes of every class."""
        return draw_shots(self.train, self.class_names, k, seed)

    def score(self, detect: Detect, class_names: tuple[str, ...]) -> Scores:
        """Scores of a detector whose class ids are positions in ``class_names``; it must know all scored classes."""
        found = {i: _in_order(d, class_names, self.class_names) for i, d in detect_folder(self.test, detect).items()}
        return average_precision(self.test, found, list(self.class_names), self.novel)


@dataclass(frozen=True)
class Learned:
    """What a system has made of a shot list.

    Attributes:
        detect: images to detections.
        class_names: what class ids of the detections mean.
        seconds: spent on the shots, without the base stage.
        files: what was written.
    """

    detect: Detect
    class_names: tuple[str, ...]
    seconds: float
    files: tuple[Path, ...] = ()


Learn = Callable[[ShotList, Path], Learned]
"""How a system learns a shot list; the folder is for its files."""


def open_bench(settings: RunSettings, threads: int | None) -> Bench:
    """The benchmark of a run's configuration: its training and test lists, all its classes.

    Args:
        settings: whose data are prepared.
        threads: of this process; all cores if None.
    """
    paths = RunPaths(settings.run_dir)
    folder = load_folder(paths.data)
    train_ids = read_ids(paths.id_list(settings.data.train_list))
    return Bench(
        settings,
        machine_with(threads, settings.finetune.precision),
        folder.select(train_ids),
        tiles_of(load_folder(paths.tiles), train_ids),
        folder.select(read_ids(paths.id_list(settings.data.test_list))),
        folder.class_names,
        settings.data.novel,
        paths.database,
    )


@dataclass(frozen=True)
class Pretraining:
    """The full system's pretraining: its checkpoint and its settings."""

    file: Path
    settings: PretrainSettings


def pretraining(bench: Bench) -> Pretraining:
    """What the run's meta-training started from; UserError if that was not a pretraining."""
    if bench.settings.init is None:
        raise UserError("init: the run starts from chance; name the checkpoint of its pretraining (--set init=...)")
    file = initial_file(bench.settings.init)
    checkpoint = load_checkpoint(file, size=bench.settings.size)
    if checkpoint.stage != "pretrain":
        raise UserError(f"{file}: made by {checkpoint.stage}, but the study needs a checkpoint of `fsod pretrain`")
    return Pretraining(file, PretrainSettings.model_validate(checkpoint.settings))


def machine_with(threads: int | None, precision: str) -> Machine:
    """The machine, with so many threads of the CPU."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # choose_machine sets torch's threads by it
    return choose_machine(precision)


def tiles_of(tiles: CocoFolder, ids: list[str]) -> CocoFolder:
    """The tiles of some images; an image may have none, where all its objects are cut."""
    wanted = set(ids)
    return replace(tiles, images=tuple(tile for tile in tiles.images if tile.source in wanted))


def split_name(data: DataSettings) -> str:
    """The published name of a split, or its novel classes where it has none."""
    names = split_names(data.format)
    known = (name for name in names if set(novel_classes(data.format, name)) == set(data.novel))
    return next(known, " + ".join(data.novel))


def timed(started: float) -> float:
    """Seconds since, to a hundredth."""
    return round(time.perf_counter() - started, 2)


def _in_order(found: Detections, names: tuple[str, ...], wanted: tuple[str, ...]) -> Detections:
    """The same detections with class ids counted among ``wanted``; those of other classes are left out."""
    place = np.array([wanted.index(name) if name in wanted else -1 for name in names], dtype=np.int64)
    ids = place[found.class_ids]
    return Detections(found.boxes_xyxy_px, found.scores, ids).select(ids >= 0)
