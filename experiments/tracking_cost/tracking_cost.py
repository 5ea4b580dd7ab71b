"""What tracking adds to a training epoch, and the memory that the dashboard's server takes.

    OMP_NUM_THREADS=1 .venv/bin/python -m experiments.tracking_cost.tracking_cost [--rounds 20] [--steps 30]

Trains the demo's detector in blocks of steps, with a run in MLflow, without, and once more without, in shuffled turns, so that
a busy machine slows all three. The two without tell how much blocks differ by themselves. CPU time of the whole process is told
beside, which other programs disturb less, and so is what tracking itself used of it: its thread and the calls from the training
loop. The episodes are drawn beforehand: waiting for data would hide the cost. One thread leaves tracking a core, as a GPU would.
Writes results.json beside this file.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil
import torch
from scipy.stats import bootstrap

from fsod.compute.device import choose_machine
from fsod.config import RunSettings
from fsod.config_file import load_settings
from fsod.data.coco_folder import write_json
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.real_episodes import Episode
from fsod.model.detector import Detector
from fsod.steps.records import observer, tracked, unobserved
from fsod.training.episode_loss import episode_loss
from fsod.training.stage import Observer, Stage, run_stage

HERE = Path(__file__).parent
DRAWN = 8  # different episodes, seen again and again


@dataclass(frozen=True)
class Times:
    """Seconds of a block of steps."""

    wall: float
    cpu: float


class Timed:
    """An observer, and the CPU time that its calls took."""

    def __init__(self, observe: Observer) -> None:
        self.observe, self.cpu_s = observe, 0.0

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Passes the report on."""
        before = time.thread_time()
        self.observe(step, values)
        self.cpu_s += time.thread_time() - before


class Again(torch.utils.data.Dataset[Episode]):
    """A few episodes, as often as needed."""

    def __init__(self, episodes: list[Episode], steps: int) -> None:
        self.episodes, self.steps = episodes, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, i: int) -> Episode:
        return self.episodes[i % len(self.episodes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        results = {**training(Path(folder) / "runs", options.rounds, options.steps), **server(Path(folder))}
    results["machine"] = f"{choose_machine()}, {os.cpu_count()} cores, {platform.machine()}"
    write_json(HERE / "results.json", results)
    for key, value in results.items():
        print(f"{key}: {value}")


def training(runs: Path, rounds: int, steps: int) -> dict[str, Any]:
    settings = load_settings(Path("configs/demo.yaml"), [f"run_dir={runs / 'cost'}", f"meta_train.steps={steps}"])
    settings = settings.model_copy(update={"meta_train": settings.meta_train.model_copy(update={"workers": 0})})
    drawn = ProceduralEpisodes(settings.episodes, DRAWN, 0, range(settings.episodes.queries), without=frozenset())
    episodes = [drawn[i] for i in range(DRAWN)]
    block(settings, episodes, unobserved)  # warms up
    turns: dict[str, list[Times]] = {"on": [], "off": [], "off again": []}
    shuffled = random.Random(0)
    tracking_cpu_s = 0.0
    began = time.perf_counter()
    with ExitStack() as stack:
        run = stack.enter_context(tracked(settings, "meta-train", None))
        opening_s = time.perf_counter() - began
        calls = Timed(observer(run, lambda step, note: None, settings.episodes.queries))
        [thread] = [t for t in threading.enumerate() if t.name == "tracking"]
        clock = time.pthread_getcpuclockid(thread.ident or 0)
        for _ in range(rounds):
            for turn in shuffled.sample(list(turns), len(turns)):
                before = time.clock_gettime(clock)
                turns[turn].append(block(settings, episodes, calls if turn == "on" else unobserved))
                tracking_cpu_s += (time.clock_gettime(clock) - before) if turn == "on" else 0.0
        began = time.perf_counter()
    return {
        "wall_ratio": ratio(turns["on"], turns["off"], "wall"),
        "wall_ratio_of_nothing": ratio(turns["off again"], turns["off"], "wall"),
        "cpu_ratio": ratio(turns["on"], turns["off"], "cpu"),
        "cpu_ratio_of_nothing": ratio(turns["off again"], turns["off"], "cpu"),
        "tracking_share_of_cpu": (tracking_cpu_s + calls.cpu_s) / sum(times.cpu for times in turns["on"]),
        "block_wall_s": statistics.median(times.wall for times in turns["off"]),
        "block_images": steps * settings.episodes.queries,
        "rounds": rounds,
        "opening_a_run_s": opening_s,
        "closing_a_run_s": time.perf_counter() - began,
    }


def block(settings: RunSettings, episodes: list[Episode], observe: Observer) -> Times:
    """One training of the settings' steps, from the same weights every time."""
    machine = choose_machine("float32")
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        stage = Stage(
            name="meta-train",
            episodes=Again(episodes, settings.meta_train.steps),
            loss_of=lambda detector, episode: episode_loss(detector, episode, [], settings.loss),
            settings=settings.meta_train,
            state_path=Path(folder) / "state.pt",
            fingerprint="",
        )
        detector = Detector(settings.size, 0)
        wall, cpu = time.perf_counter(), time.process_time()
        run_stage(stage, detector, machine, observe)
        return Times(time.perf_counter() - wall, time.process_time() - cpu)


def ratio(some: list[Times], others: list[Times], clock: str) -> dict[str, float]:
    """Median over the rounds of one's time over the other's in the same round, with a 95 % bootstrap interval."""
    ratios = [getattr(a, clock) / getattr(b, clock) for a, b in zip(some, others, strict=True)]
    interval = bootstrap([ratios], np.median, random_state=0).confidence_interval
    return {"median": statistics.median(ratios), "low": float(interval.low), "high": float(interval.high)}


def server(folder: Path) -> dict[str, Any]:
    """Resident memory of the dashboard, its own process included, after its pages have asked for the runs."""
    command = [sys.executable, "-m", "fsod", "dashboard", "--database", str(folder / "runs" / "mlflow.db")]
    dashboard = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = address_of(dashboard)
        for page in ("", "api/2.0/mlflow/experiments/search?max_results=100"):
            urlopen(f"{address}/{page}").close()
        processes = [psutil.Process(dashboard.pid), *psutil.Process(dashboard.pid).children(recursive=True)]
        memory: Mapping[int, int] = {p.pid: p.memory_info().rss for p in processes}
    finally:
        dashboard.send_signal(signal.SIGTERM)
        dashboard.wait()
    return {"server_processes": len(memory), "server_rss_mb": round(sum(memory.values()) / 1e6)}


def address_of(dashboard: subprocess.Popen[str]) -> str:
    assert dashboard.stdout is not None
    for line in dashboard.stdout:
        if found := re.match(r"dashboard: (http://[\d.:]+)/", line):
            return found[1]
    raise RuntimeError("the dashboard did not start")


if __name__ == "__main__":
    main()
