"""What one core does on scenes, here and under Ray, and what a million scenes need by that.

.venv/bin/python -m experiments.million_scenes.measure --bank BANK --out experiments/million_scenes/results.json
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: figures are those of one core

import cv2
import numpy as np
import rasterio
from rasterio.transform import from_origin

from experiments.million_scenes.plan import plan
from fsod.config import PredictSettings
from fsod.data.coco_folder import write_json
from fsod.geo.search import Detect
from fsod.inference.ray_cluster import ray_cluster
from fsod.steps.predict_scenes import predict_files

SCENES, SIDE_PX, ROUNDS = 8, 2048, 5


def make_scene(path: Path, seed: int) -> None:
    """Ground of many scales, compressed as image archives are: JPEG in tiles of 512 px."""
    random = np.random.default_rng(seed)
    pixels = np.full((SIDE_PX, SIDE_PX, 3), 100, np.float32)
    for cells in (8, 64, 512, SIDE_PX):
        rough = random.normal(0, 14, (cells, cells, 3)).astype(np.float32)
        pixels += cv2.resize(rough, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    profile = {"driver": "GTiff", "dtype": "uint8", "tiled": True, "blockxsize": 512, "blockysize": 512}
    jpeg = {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 85}
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
    with rasterio.open(path, "w", width=SIDE_PX, height=SIDE_PX, count=3, **profile, **jpeg, **place) as file:
        file.write(pixels.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))


def run(scenes: list[str], bank: Path, out: Path, settings: PredictSettings) -> dict[str, float]:
    """Predicts once; wall time, and CPU time of this process, in which Ray's workers have no part."""
    wall, cpu = time.perf_counter(), time.process_time()
    report: dict[str, Any] = predict_files(scenes, None, bank, out / settings.engine / "{scene}.geojson", settings)
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "windows": report["windows_run"],
        "seconds_detecting": report["seconds_detecting"],
    }


def nobody() -> Detect:
    """For a cluster that is only started, so that its start is not measured."""
    raise AssertionError("commands bring their own detector")


def measure(bank: Path) -> dict[str, Any]:
    """Runs both engines in turns; medians of ``ROUNDS``."""
    runs: dict[str, list[dict[str, float]]] = {"local": [], "ray": []}
    with TemporaryDirectory() as folder, ray_cluster(nobody) as cluster:
        scenes = [str(Path(folder) / f"{seed}.tif") for seed in range(SCENES)]
        for seed, scene in enumerate(scenes):
            make_scene(Path(scene), seed)
        bytes_a_px = Path(scenes[0]).stat().st_size / SIDE_PX**2
        for turn in range(ROUNDS + 1):
            for engine, kept in runs.items():
                settings = PredictSettings.model_validate({"engine": engine, "native": True})
                result = run(scenes, bank, Path(folder), settings)
                if turn:  # in the first round workers load torch
                    kept.append(result)
        workers = cluster.workers
    median = {
        engine: {key: statistics.median(one[key] for one in kept) for key in kept[0]} for engine, kept in runs.items()
    }
    local, ray = median["local"], median["ray"]
    return {
        "windows_a_scene": local["windows"] / SCENES,
        "windows_per_s_core": local["windows"] / (local["cpu_seconds"] - ray["cpu_seconds"]),
        "share_of_network": local["seconds_detecting"] / local["seconds"],
        "workers": workers,
        "ray_speedup": local["seconds"] / ray["seconds"],
        "driver_cpu_s_a_scene": ray["cpu_seconds"] / SCENES,
        "bytes_a_px": bytes_a_px,
        "runs": runs,
    }


def main() -> None:
    """Measures, plans, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    measured = measure(arguments.bank)
    planned = plan(measured["windows_per_s_core"], measured["driver_cpu_s_a_scene"], measured["bytes_a_px"])
    write_json(arguments.out, {"measured": measured, "plan": planned})
    for key, value in ({**measured, "runs": "..."} | planned).items():
        print(f"{key:34} {value}")


if __name__ == "__main__":
    main()
