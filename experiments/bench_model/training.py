"""What a meta-training step costs beside a plain detection step on the same backbone and queries.

Both steps are whole steps: trunk, head, assignment, loss, gradients, clipping, optimiser, running average. The plain
detector is a YOLO with 7 classes of its own: a 1x1 convolution a level for classes, background and boxes, judged by the
same assignment and the same loss. What a meta-training step does beyond it: 7 support crops through the trunk, kernels
made of them, and a second set of rows to judge.

.venv/bin/python -m experiments.bench_model.training
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from experiments.memory import peak_mb
from fsod.compute.device import choose_machine
from fsod.config import EpisodeSettings, LossSettings, OptimSettings
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.real_episodes import Episode
from fsod.loss.assign import simota
from fsod.loss.meta_loss import box_loss, confidence_loss, row_samples
from fsod.model.detector import Detector, unit_pixels
from fsod.model.meta_head import MAX_LOG_DISTANCE, Predictions, grid_points
from fsod.model.yolov7 import STRIDES, build_trunk
from fsod.training.episode_loss import count_assigned, episode_loss, targets_of
from fsod.training.stage import adamw, update_ema

WAYS = 7
STEP = EpisodeSettings(ways=WAYS, shots=1, queries=8, query_px=320, support_px=128)
LARGE = EpisodeSettings(ways=WAYS, shots=1, queries=2, query_px=640, support_px=128)
ROUNDS = 15
Step = Callable[[], float]


class PlainDetector(nn.Module):
    """A YOLOv7 trunk with an ordinary detection layer: one 1x1 convolution a level."""

    def __init__(self, size: str, classes: int, trunk_dtype: torch.dtype) -> None:
        super().__init__()
        self.trunk_dtype, self.rows = trunk_dtype, classes + 1
        self.trunk = build_trunk(size)
        self.detect = nn.ModuleList(nn.Conv2d(c, self.rows + 4, 1) for c in self.trunk.channels)

    def forward(self, images: Tensor) -> Predictions:
        """(B, 3, H, W) float in 0..1 -> predictions of the classes and background."""
        with torch.autocast(images.device.type, self.trunk_dtype, enabled=self.trunk_dtype != torch.float32):
            maps = self.trunk(images.contiguous(memory_format=torch.channels_last))
        logits, boxes, points, strides = [], [], [], []
        for layer, level_map, stride in zip(self.detect, maps, STRIDES, strict=True):
            out = layer(level_map.float()).flatten(2)
            grid = grid_points(level_map, stride)
            sides = out[:, self.rows :].clamp(max=MAX_LOG_DISTANCE).exp().transpose(1, 2) * stride
            logits.append(out[:, : self.rows])
            boxes.append(torch.cat([grid - sides[..., :2], grid + sides[..., 2:]], -1))
            points.append(grid)
            strides.append(torch.full((len(grid),), float(stride)))
        return Predictions(torch.cat(logits, 2), torch.cat(boxes, 1), torch.cat(points), torch.cat(strides))


def measure() -> dict[str, object]:
    """Ratios and peak memory; ``step_ratio`` is that of YOLOv7-tiny in the precision that training takes by default."""
    compared = {size: {p: compare(size, p) for p in ("auto", "float32")} for size in ("yolov7-tiny", "nano")}
    return {
        "step_ratio": compared["yolov7-tiny"]["auto"]["ratio"],
        "machine": str(choose_machine()),
        "steps": compared,
        "yolov7_640_batch2": large_step(),
    }


def compare(size: str, precision: str) -> dict[str, float]:
    """Medians of steps taken in turn, and the peak memory of each kind in a process of its own."""
    steps = {kind: step_of(kind, size, precision, STEP) for kind in ("plain", "meta")}
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for _ in range(3):
        for step in steps.values():
            step()
    for _ in range(ROUNDS):
        for kind, step in steps.items():
            seconds[kind].append(step())
    median = {kind: statistics.median(times) for kind, times in seconds.items()}
    return {
        "ratio": median["meta"] / median["plain"],
        **{f"{kind}_s": value for kind, value in median.items()},
        **{f"{kind}_peak_gib": alone(kind, size, precision, STEP)["peak_gib"] for kind in steps},
    }


def large_step() -> dict[str, float]:
    """A step of the full YOLOv7 at 640 px, batch 2."""
    return alone("meta", "yolov7", "auto", LARGE)


def alone(kind: str, size: str, precision: str, episodes: EpisodeSettings) -> dict[str, float]:
    """Seconds of a step and peak memory, measured in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_alone, kind, size, precision, episodes).result()


def _alone(kind: str, size: str, precision: str, episodes: EpisodeSettings) -> dict[str, float]:
    step = step_of(kind, size, precision, episodes)
    seconds = [step() for _ in range(3)][-1]
    return {"seconds": seconds, "peak_gib": peak_mb() / 1024}


def step_of(kind: str, size: str, precision: str, episodes: EpisodeSettings) -> Step:
    """A function that takes one training step and says how long it took."""
    machine = choose_machine(precision)
    torch.manual_seed(0)
    episode = replace(ProceduralEpisodes(episodes, 1, seed=0)[0], invented=torch.tensor(False))
    settings, classes = LossSettings(), list(range(WAYS))
    if kind == "meta":
        meta = Detector(size, WAYS, machine.trunk_dtype).train()
        return _whole_step(meta, lambda: episode_loss(meta, episode, classes, settings))
    plain = PlainDetector(size, WAYS, machine.trunk_dtype).train()
    return _whole_step(plain, lambda: plain_loss(plain, episode, settings))


def plain_loss(detector: PlainDetector, episode: Episode, settings: LossSettings) -> dict[str, Tensor]:
    """Loss terms of a plain detection step."""
    predictions = detector(unit_pixels(episode.queries))
    targets = targets_of(episode.boxes_xyxy_px, episode.box_classes, episode.class_ids)
    where = predictions.boxes_xyxy_px, logsigmoid(predictions.own), predictions.points_xy_px, predictions.strides
    assignment = simota(*where, targets)
    count = count_assigned(assignment)
    rows = row_samples(
        predictions,
        targets,
        assignment,
        count,
        per_positive_pair=settings.per_positive_pair,
        per_negative_pair=settings.per_negative_pair,
    )
    boxes = box_loss(predictions.boxes_xyxy_px, targets, assignment, count)
    return {"total": settings.confidence * confidence_loss(rows) + settings.box * boxes}


def _whole_step(detector: nn.Module, loss: Callable[[], dict[str, Tensor]]) -> Step:
    average = copy.deepcopy(detector).eval().requires_grad_(False)
    optim = OptimSettings(steps=1000)
    optimizer = adamw(detector, optim)

    def step() -> float:
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss()["total"].backward()
        nn.utils.clip_grad_norm_(detector.parameters(), optim.clip_norm)
        optimizer.step()
        update_ema(average, detector, optim.ema_decay, 1000)
        return time.perf_counter() - started

    return step


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(json.dumps(measure(), indent=2))
