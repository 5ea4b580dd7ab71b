"""The work that is timed: told on standard input for how many seconds, it answers with steps per second.

It is a program of its own, as how OpenMP's threads wait is settled when torch is loaded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from fsod.compute.device import Machine, choose_machine
from fsod.compute.side_processes import Tell, train_side_by_side
from fsod.config import EpisodeSettings, LossSettings, OptimSettings
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.real_episodes import Episode
from fsod.data.support import SupportCrop
from fsod.inference.enrollment import encode_examples
from fsod.model.detector import Detector
from fsod.training.episode_loss import episode_loss, shots_loss
from fsod.training.stage import adamw

WAYS = 9
EPISODES = EpisodeSettings(ways=WAYS, shots=2, queries=8, query_px=256, support_px=64)
"""Those of the demo."""

MARK_QUERIES = 4
"""Crops of a step that learns an analyst's marks."""

Rate = Callable[[float], float]
"""From seconds to steps per second."""


def made(kind: str) -> Rate:
    """The work of a name: train (a meta-training of the demo), finetune (of an analyst's marks), enroll (10 examples)."""
    machine = choose_machine("float32")
    torch.manual_seed(0)
    detector = Detector("nano", WAYS, machine.trunk_dtype)
    episode = replace(ProceduralEpisodes(EPISODES, 1, seed=0)[0], invented=torch.tensor(False))
    if kind == "train":
        step = training_step(detector.train(), episode)
        return lambda seconds: repeated(step, seconds)
    if kind == "enroll":
        return lambda seconds: repeated(lambda: enroll(detector.eval(), episode, machine), seconds)
    return lambda seconds: twins(detector.train(), episode, machine, seconds)


def training_step(detector: Detector, episode: Episode, *, marks: bool = False) -> Callable[[], object]:
    """A step of meta-training; with ``marks`` one of learned rows alone on fewer queries."""
    optimizer, settings, classes = adamw(detector, OptimSettings(steps=1)), LossSettings(), list(range(WAYS))
    queries = replace(episode, queries=episode.queries[:MARK_QUERIES]) if marks else episode
    if marks:
        few = {
            name: getattr(episode, name)[:MARK_QUERIES]
            for name in ("queries", "boxes_xyxy_px", "box_classes", "known_xyxy_px", "ignored_xyxy_px")
        }
        queries = replace(episode, **few)

    def step() -> None:
        if marks:
            terms = shots_loss(detector, queries, classes, settings, shots_only=True)
        else:
            terms = episode_loss(detector, queries, classes, settings)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        optimizer.step()

    return step


def enroll(detector: Detector, episode: Episode, machine: Machine) -> None:
    """A class of ten examples, each in its eight turns."""
    noise = torch.randint(0, 255, (64, 64, 3), dtype=torch.uint8).numpy()
    crop = SupportCrop(noise, noise[..., 0], 20.0)
    encode_examples(detector, {"class": [crop] * 10}, machine)


def twins(detector: Detector, episode: Episode, machine: Machine, seconds: float) -> float:
    """Two trainings side by side, as marks are learned."""
    steps, started = 0, time.perf_counter()

    def training(tell: Tell) -> None:
        step, done = training_step(detector, episode, marks=True), 0
        while True:
            step()
            tell(done := done + 1, 10**6)

    def told(done: int, _: int) -> None:
        nonlocal steps
        steps = done

    train_side_by_side([training] * 2, machine.device, told, lambda: time.perf_counter() - started > seconds)
    return steps / (time.perf_counter() - started)


def repeated(step: Callable[[], object], seconds: float) -> float:
    """Steps a second."""
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        step()
        done += 1
    return done / passed


def main() -> None:
    rate = made(sys.argv[1])
    rate(1)  # warms up
    print("ready", flush=True)
    for line in sys.stdin:
        print(rate(float(line)), flush=True)


if __name__ == "__main__":
    main()
