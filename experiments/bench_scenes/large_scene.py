"""A generated scene of 20,000 x 20,000 px: what memory a run takes, and how much longer than the network alone."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow
from torch import Tensor

from experiments.bench_scenes.detector import BATCH, OVERLAP_PX, WINDOW_PX, Weights, warm_detector
from experiments.geotiff import new_scene
from experiments.memory import peak_mb
from fsod.compute.side_by_side import side_by_side
from fsod.data.procedural.drawn_scene import draw_scene
from fsod.data.procedural.named import common_clutter, named_families
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene
from fsod.geo.windows import window_grid
from fsod.inference.infer import BatchDetector, to_batch

PATCH_PX, PATCHES = 2048, 3
HELD = 64  # batches in memory at once for the network alone


def measure(path: Path, side_px: int, weights: Weights, rounds: int) -> dict[str, object]:
    """What a scene of 20,000 px takes.

    Returns:
        rss_mb_20k: peak resident memory of the whole process, model and libraries included.
        total_over_network: seconds of the run over seconds of network calls alone, float conversion included, on the same
            windows from memory; the median of rounds in which both take turns.
    """
    write_scene(path, side_px)
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            return process.submit(measure_here, path, weights, rounds).result()
    finally:
        path.unlink()


def measure_here(path: Path, weights: Weights, rounds: int) -> dict[str, object]:
    """The same, on a scene that is there, in this process."""
    detect, _ = warm_detector(weights, "auto", BATCH)
    totals, alone, rss_mb, windows = [], [], 0.0, 0
    for _ in range(rounds):
        result = predict_scene(
            path,
            detect,
            ScenePlan(
                window_px=WINDOW_PX,
                overlap_px=OVERLAP_PX,
                batch=BATCH,
                suppression=detect.settings,
            ),
        )
        rss_mb, windows = rss_mb or peak_mb(), result.windows_run
        totals.append(result.seconds)
        alone.append(seconds_alone(path, detect))
    ratios = [total / network for total, network in zip(totals, alone, strict=True)]
    return {
        "rss_mb_20k": rss_mb,
        "total_over_network": statistics.median(ratios),
        "large_scene": {"windows": windows, "seconds": totals, "seconds_network": alone},
    }


def seconds_alone(path: Path, detect: BatchDetector) -> float:
    """Seconds of the network on all windows of a scene, which are read beforehand, some batches at a time.

    Parts of a batch go side by side as they do in a run.
    """
    seconds, held = 0.0, []
    machine = detect.machine
    on_cpu = machine.device.type == "cpu"

    @torch.inference_mode()
    def network_alone(images: NDArray[np.uint8]) -> list[Tensor]:
        return list(detect.network(to_batch(images, machine.device, machine.trunk_dtype))[0])

    with open_scene(path) as scene:
        grid = window_grid(scene.grid_width_px, scene.grid_height_px, WINDOW_PX, OVERLAP_PX)
        for start in range(0, len(grid), BATCH):
            batch = np.zeros((BATCH, WINDOW_PX, WINDOW_PX, 3), np.uint8)
            for image, window in zip(batch, grid[start : start + BATCH], strict=False):
                image[...] = scene.read_window(window)[0]
            held.append(batch)
            if len(held) == HELD or start + BATCH >= len(grid):
                started = time.perf_counter()
                for images in held:
                    side_by_side(network_alone, images) if on_cpu else network_alone(images)
                if not on_cpu:
                    torch.cuda.synchronize()
                seconds += time.perf_counter() - started
                held.clear()
    return seconds


def write_scene(path: Path, side_px: int) -> None:
    """Drawn patches, laid out at random and mirrored."""
    rng = np.random.default_rng(0)
    families = list(named_families().values())
    patches = [
        draw_scene(rng, (PATCH_PX, PATCH_PX), families, [6] * len(families), clutter=common_clutter(), clutter_count=60)
        for _ in range(PATCHES)
    ]
    with new_scene(path, side_px, side_px) as file:
        for top in range(0, side_px, PATCH_PX):
            for left in range(0, side_px, PATCH_PX):
                image = patches[rng.integers(PATCHES)].image[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
                height, width = min(PATCH_PX, side_px - top), min(PATCH_PX, side_px - left)
                file.write(image[:height, :width].transpose(2, 0, 1), window=RasterWindow(left, top, width, height))
