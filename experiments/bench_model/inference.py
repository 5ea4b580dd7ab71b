"""What inference costs: baked head against plain head, many classes against few, and fsod against plain eager torch.

.venv/bin/python -m experiments.bench_model.inference
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from experiments.bench_model.networks import Eager, Lineage, PlainYolo
from fsod.compute.device import Machine, choose_machine
from fsod.model.baked import bake
from fsod.model.detector import Detector

SIZE, SIDE_PX = "yolov7-tiny", 640
ROUNDS, LONG_ROUNDS = 41, 7
CLASS_COUNTS = (1, 2, 5, 10, 20, 50, 100)
KINDS = {
    "baked": "fsod, baked",
    "plain": "plain YOLO head",
    "after": "lineage, reweighting after the last 3x3",
    "before": "lineage, reweighting before the last 3x3",
}


def measure() -> dict[str, object]:
    """Ratios of median times, each of runs taken in turn; boxes are decoded, suppression is left out.

    Returns:
        head_ratio: baked over plain head, 20 classes, batch 1. class_growth: baked, 100 classes over 10.
        lineage_ratio: reweighting after the last 3x3 over baked, 20 classes; lineage_before_ratio: before it.
        cpu_speedup: plain eager float32 over the default path, the lesser of batch 1 and batch 4.
        seconds_by_classes: medians by kind of network and number of classes.
    """
    machine = choose_machine()
    heads = medians({f"{kind} {n}": network(kind, n, machine) for kind, n in HEADS}, machine, 1, ROUNDS)
    by_classes = seconds_by_classes(machine)
    speedups = {batch: speedup(machine, batch) for batch in (1, 4)}
    return {
        "head_ratio": heads["baked 20"] / heads["plain 20"],
        "class_growth": heads["baked 100"] / heads["baked 10"],
        "lineage_ratio": by_classes["after"][20] / by_classes["baked"][20],
        "lineage_before_ratio": by_classes["before"][20] / by_classes["baked"][20],
        "cpu_speedup": min(speedups.values()),
        "cpu_speedup_by_batch": speedups,
        "seconds_by_classes": by_classes,
        "machine": str(machine),
        "threads": torch.get_num_threads(),
    }


HEADS = (("baked", 20), ("plain", 20), ("baked", 10), ("baked", 100))


def network(kind: str, classes: int, machine: Machine) -> nn.Module:
    """One of ``KINDS`` with random weights, fused, in the machine's precision."""
    torch.manual_seed(0)
    detector = Detector(SIZE, classes).eval()
    made: nn.Module
    if kind == "baked":
        made = bake(detector, detector.learned_rows(), machine.trunk_dtype)
    elif kind == "plain":
        made = PlainYolo(detector.trunk, classes, machine.trunk_dtype)
    else:
        made = Lineage(detector.trunk, classes, machine.trunk_dtype, before_last_3x3=kind == "before")
    return made.eval().to(machine.device)


def seconds_by_classes(machine: Machine) -> dict[str, dict[int, float]]:
    """Median seconds per image by kind and number of classes."""
    seconds: dict[str, dict[int, float]] = {kind: {} for kind in KINDS}
    for classes in CLASS_COUNTS:
        networks = {kind: network(kind, classes, machine) for kind in KINDS}
        for kind, median in medians(networks, machine, 1, LONG_ROUNDS).items():
            seconds[kind][classes] = median
    return seconds


def speedup(machine: Machine, batch: int) -> float:
    """How many times faster the default path is than plain eager float32 of the same network with 20 classes."""
    torch.manual_seed(0)
    detector = Detector(SIZE, 20).eval().to(machine.device)
    rows = detector.learned_rows().detach()
    forms = {"eager": Eager(detector, rows), "default": bake(detector, rows, machine.trunk_dtype)}
    median = medians(forms, machine, batch, LONG_ROUNDS * 2)
    return median["eager"] / median["default"]


@torch.inference_mode()
def medians(networks: dict[str, nn.Module], machine: Machine, batch: int, rounds: int) -> dict[str, float]:
    """Median seconds of a call, the networks taking turns so that a busy moment falls on all alike."""
    images = torch.rand(batch, 3, SIDE_PX, SIDE_PX, device=machine.device)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for done in range(rounds + 2):
        for name, shown in networks.items():
            taken = timed(shown, images)
            if done >= 2:  # the first two warm up
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(shown: Callable[[Tensor], object], images: Tensor) -> float:
    """Seconds of one call, its work on a GPU included."""
    started = time.perf_counter()
    shown(images)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def plot_by_classes(seconds: dict[str, dict[int, float]], machine: str, path: Path) -> None:
    """Time against number of classes, one line a kind of network."""
    figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    styles = {
        "baked": ("#0b6e4f", "-"),
        "plain": ("#555555", "--"),
        "after": ("#c8553d", "-"),
        "before": ("#7a306c", "-"),
    }
    for kind, label in KINDS.items():
        colour, line = styles[kind]
        classes = list(seconds[kind])
        axes.plot(
            classes, [1000 * seconds[kind][n] for n in classes], line, marker="o", ms=4, color=colour, label=label
        )
    axes.set(
        xlabel="classes",
        ylabel="ms per image",
        xscale="log",
        yscale="log",
        title=f"YOLOv7-tiny, 640 x 640, batch 1, boxes decoded\n{machine}",
    )
    axes.set_xticks(CLASS_COUNTS, [str(n) for n in CLASS_COUNTS])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(which="both", alpha=0.25)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(json.dumps(measure(), indent=2))
