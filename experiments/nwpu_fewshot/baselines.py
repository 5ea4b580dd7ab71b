"""The baselines: what is left when the parts of fsod that make it few-shot are taken away, with the same total of steps.

A baseline is a base stage, made once and kept as a file, and a way to learn a shot list from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from experiments.nwpu_fewshot.bench import Bench, Learn, Learned, Pretraining, timed
from experiments.nwpu_fewshot.ordinary import FAMILIES, OrdinaryScenes
from experiments.nwpu_fewshot.plain import made_once, run_to_end, shot_episodes, train_base, train_on_shots, with_rows
from experiments.nwpu_fewshot.systems import detector_of
from experiments.nwpu_fewshot.yolo import Yolo, YoloDetector, with_classes, yolo_loss
from fsod.config import PretrainSettings
from fsod.data.shots import ShotList
from fsod.model.detector import Detector
from fsod.store.checkpoint import (
    Checkpoint,
    Header,
    load_checkpoint,
    read_safetensors,
    save_checkpoint,
    write_safetensors,
)
from fsod.store.class_bank import learned_bank
from fsod.training.episode_loss import shots_loss
from fsod.training.finetune import refine_new
from fsod.training.meta_train import fingerprint, motifs_of
from fsod.training.refine import REFINING
from fsod.training.stage import LossOf, Stage


class YoloHeader(Header):
    """Of an ordinary YOLO's weights."""

    FORMAT = "nwpu-fewshot-yolo"
    WHAT = "a YOLO of this study"


def yolo(bench: Bench, pretrained: Pretraining, base_file: Path) -> Learn:
    """A plain YOLO of the same size from scratch: base classes, then the shots."""
    names = (*bench.base, *bench.novel)
    with made_once(base_file) as wanted:
        if wanted:
            torch.manual_seed(bench.settings.seed)
            network = Yolo(len(bench.base), bench.machine.trunk_dtype)
            steps = pretrained.settings.pretrain.steps + bench.settings.meta_train.steps
            network = train_base(
                bench, network, _yolo_loss(bench, bench.base, shots_only=False), steps, base_file.parent
            ).cpu()
            write_safetensors(base_file, network.state_dict(), YoloHeader())
    base = Yolo(len(bench.base), bench.machine.trunk_dtype)
    base.load_state_dict(read_safetensors(base_file, YoloHeader)[0])

    def learn(shots: ShotList, out: Path) -> Learned:
        started = time.perf_counter()
        network = with_classes(base, bench.base, names, shots.seed)
        # all its weights learn for as long as ours do, and as the rows of new classes do before them
        tuned = train_on_shots(
            bench, base, network, _yolo_loss(bench, names, shots_only=True), shots, out, REFINING.steps
        )
        detect = YoloDetector(tuned, bench.machine, bench.settings.evaluate)
        return Learned(detect, names, timed(started))

    return learn


def plain(bench: Bench, pretrained: Pretraining, base_file: Path) -> Learn:
    """Our own network with learned rows only, from scratch: base classes as ordinary detection, then the shots."""
    with made_once(base_file) as wanted:
        if wanted:
            torch.manual_seed(bench.settings.seed)
            detector = Detector(bench.settings.size, len(bench.base), bench.machine.trunk_dtype)
            steps = pretrained.settings.pretrain.steps + bench.settings.meta_train.steps
            _plain_base(bench, detector, steps, base_file)
    return partial(_plain_learn, bench, base_file)


def ordinary(bench: Bench, pretrained: Pretraining, base_file: Path) -> Learn:
    """The same after ordinary detection of some tens of invented classes: extra images without episodes."""
    with made_once(base_file) as wanted:
        if wanted:
            drawn_file = base_file.with_name("drawn.safetensors")
            if not drawn_file.is_file():
                _pretrain_ordinary(bench, pretrained.settings, drawn_file)
            drawn = load_checkpoint(drawn_file, bench.machine.trunk_dtype)
            detector = with_rows(drawn.detector, drawn.size, (), bench.base, bench.settings.seed)
            _plain_base(bench, detector, bench.settings.meta_train.steps, base_file)
    return partial(_plain_learn, bench, base_file)


BASELINES: dict[str, Callable[[Bench, Pretraining, Path], Learn]] = {
    "baseline YOLO": yolo,
    "baseline plain": plain,
    "baseline ordinary pretraining": ordinary,
}


def _plain_base(bench: Bench, detector: Detector, steps: int, base_file: Path) -> None:
    trained = train_base(bench, detector, _row_loss(bench, bench.base, shots_only=False), steps, base_file.parent).cpu()
    settings = bench.settings.model_dump(mode="json")
    save_checkpoint(base_file, Checkpoint(trained, bench.settings.size, bench.base, "baseline", settings))


def _pretrain_ordinary(bench: Bench, settings: PretrainSettings, drawn_file: Path) -> None:
    families, optim = list(range(FAMILIES)), settings.pretrain
    without = motifs_of(settings.episodes.procedural_without)
    torch.manual_seed(settings.seed)
    stage = Stage(
        name="ordinary",
        episodes=OrdinaryScenes(settings.episodes, optim.steps, settings.seed, without),
        loss_of=lambda model, episode: shots_loss(model, episode, families, settings.loss, shots_only=False),
        settings=optim,
        state_path=drawn_file.with_name("drawn.state.pt"),
        fingerprint=fingerprint(settings.model_dump_json()),
    )
    trained = run_to_end(stage, Detector(settings.size, FAMILIES, bench.machine.trunk_dtype), bench).cpu()
    names = tuple(f"family {c}" for c in families)
    save_checkpoint(drawn_file, Checkpoint(trained, settings.size, names, "baseline", settings.model_dump(mode="json")))


def _plain_learn(bench: Bench, base_file: Path, shots: ShotList, out: Path) -> Learned:
    base, names = load_checkpoint(base_file, bench.machine.trunk_dtype), (*bench.base, *bench.novel)
    started = time.perf_counter()
    detector = with_rows(base.detector, base.size, base.class_names, names, shots.seed).to(bench.machine.device).eval()
    episodes = shot_episodes(bench, shots, bench.settings.finetune.steps)
    ids = bench.train.class_indices(names)
    refine_new(detector, len(bench.base), episodes, ids, bench.settings.loss, bench.machine)
    tuned = train_on_shots(bench, base.detector, detector, _row_loss(bench, names, shots_only=True), shots, out)
    checkpoint = Checkpoint(tuned.cpu(), base.size, names, "baseline")
    return detector_of(bench, checkpoint, learned_bank(checkpoint, None), timed(started), ())


def _yolo_loss(bench: Bench, names: tuple[str, ...], *, shots_only: bool) -> LossOf:
    ids = bench.train.class_indices(names)
    return lambda network, episode: yolo_loss(network, episode, ids, shots_only=shots_only)


def _row_loss(bench: Bench, names: tuple[str, ...], *, shots_only: bool) -> LossOf:
    ids = bench.train.class_indices(names)
    return lambda detector, episode: shots_loss(detector, episode, ids, bench.settings.loss, shots_only=shots_only)
