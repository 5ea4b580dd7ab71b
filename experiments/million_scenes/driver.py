"""How many scenes per second the driver of a Ray run gets through: its tasks do nothing, so that all the time is the driver's.

.venv/bin/python -m experiments.million_scenes.driver [--scenes 40] [--out experiments/million_scenes/driver.json]

A task gives back what was found in its windows without looking: twenty objects a square kilometre, in scenes of 10,000 px at
0.5 m. The driver opens scenes, hands out, merges and writes layers as ever, with pictures and without.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import numpy as np
import rasterio
import ray
from rasterio.transform import from_origin

from experiments.million_scenes.measure import ROUNDS, nobody
from experiments.million_scenes.plan import FOUND_A_KM2, GSD_M, SCENE_PX, STEP_PX
from fsod.boxes import Detections
from fsod.compute.device import choose_machine
from fsod.config import WINDOW_PX, EvaluateSettings, PredictSettings
from fsod.data.coco_folder import write_json
from fsod.geo.journal import Finished
from fsod.geo.search import Searched
from fsod.inference.infer import BatchDetector
from fsod.inference.ray_cluster import RayCluster, ray_cluster
from fsod.model.baked import bake
from fsod.model.detector import Detector
from fsod.steps.predict_scenes import predict_all
from fsod.steps.searcher import Searcher


def make_scene(path: Path) -> None:
    """Sparse, as nobody reads its windows; with overviews, as archives have them."""
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, GSD_M, GSD_M)}
    profile = {"driver": "GTiff", "dtype": "uint8", "tiled": True, "compress": "jpeg", "photometric": "ycbcr"}
    with rasterio.open(path, "w", width=SCENE_PX, height=SCENE_PX, count=3, sparse_ok=True, **profile, **place) as file:
        noise = np.random.default_rng(0).integers(0, 255, (3, 1024, 1024)).astype(np.uint8)
        for top in range(0, SCENE_PX, 1024):
            rows = min(1024, SCENE_PX - top)
            for left in range(0, SCENE_PX, 1024):
                columns = min(1024, SCENE_PX - left)
                file.write(noise[:, :rows, :columns], window=rasterio.windows.Window(left, top, columns, rows))
        file.build_overviews([2, 4, 8, 16])


def found_in(indices: Sequence[int]) -> list[Searched]:
    """What a worker would give back, without having looked."""
    a_window = FOUND_A_KM2 * (STEP_PX * GSD_M / 1000) ** 2
    found = {}
    for index in indices:
        rng = np.random.default_rng(index)
        count = rng.poisson(a_window)
        corners = rng.uniform(170, 450, (count, 2))
        boxes = np.hstack([corners, corners + 20])
        found[index] = Detections(boxes, rng.uniform(0.3, 1, count).astype(np.float32), np.zeros(count, np.int64))
    return [Searched(Finished(found, []))]


def search_nothing(make_detect: list[Any], shared: list[Any], indices: Sequence[int]) -> list[Searched]:
    """In place of ``_search_range``."""
    return found_in(indices)


def windows_per_s_core() -> float:
    """What a worker's network gets through on one core of this machine, reading left out: at most what a worker does."""
    machine, settings = choose_machine(), EvaluateSettings()
    detector = Detector("nano", 1).eval()
    network = bake(detector, detector.learned_rows().detach(), machine.trunk_dtype)
    detect, images = BatchDetector(network, machine, 0.25, settings), np.zeros((4, WINDOW_PX, WINDOW_PX, 3), np.uint8)
    seconds = []
    for _ in range(ROUNDS):
        cpu = time.process_time()
        detect(images)
        seconds.append((time.process_time() - cpu) / len(images))
    return 1 / statistics.median(seconds)


def measure(
    cluster: RayCluster, scenes: list[str], out: Path, plan: PredictSettings, windows_per_s: float
) -> dict[str, float]:
    """CPU seconds of this process per scene, and how many workers that keeps busy at so many windows per second."""
    searcher = Searcher(
        nobody,  # type: ignore[arg-type]
        ("object",),
        (0.25,),
        (0.25,),
        "0" * 64,
        "0" * 64,
        None,
        EvaluateSettings(),
        WINDOW_PX,
        "float32",
        f"Ray, {cluster.workers} workers that do nothing",
        search=replace(cluster, _task=ray.remote(num_cpus=1)(search_nothing)).search,
    )
    layers = {scene: out / f"{Path(scene).stem}.gpkg" for scene in scenes}
    out.mkdir()
    wall, cpu = time.perf_counter(), time.process_time()
    done = predict_all(layers, searcher, plan, {}, out, cluster.map, cluster.at_once)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    a_scene = cpu / len(scenes)
    return {
        "scenes": len(scenes),
        "objects_a_scene": done["found"]["object"] / len(scenes),
        "windows_a_scene": done["windows_run"] / len(scenes),
        "bytes_a_feature": out.joinpath(Path(scenes[0]).stem + ".gpkg").stat().st_size
        / (done["found"]["object"] / len(scenes)),
        "seconds_a_scene": wall / len(scenes),
        "driver_cpu_s_a_scene": a_scene,
        "scenes_per_s": 1 / a_scene,
        "workers_kept_busy": done["windows_run"] / len(scenes) / windows_per_s / a_scene,
    }


def main() -> None:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "driver.json")
    asked = parser.parse_args()
    windows_per_s = windows_per_s_core()
    found: dict[str, Any] = {"windows_per_s_core": windows_per_s}
    with TemporaryDirectory() as folder, ray_cluster(nobody) as cluster:
        make_scene(Path(folder) / "0.tif")
        for number in range(1, asked.scenes):
            (Path(folder) / f"{number}.tif").hardlink_to(Path(folder) / "0.tif")
        scenes = [str(Path(folder) / f"{number}.tif") for number in range(asked.scenes)]
        for name, pictures, some in (
            ("first", False, scenes[:4]),  # so that no library is loaded while the clock runs
            ("with pictures", True, scenes[: max(asked.scenes // 4, 4)]),
            ("without pictures", False, scenes),
        ):
            plan = PredictSettings(engine="ray", native=True, pictures=pictures)
            found[name] = measure(cluster, some, Path(folder) / name.replace(" ", "-"), plan, windows_per_s)
            print(name, found[name])
    del found["first"]
    write_json(asked.out, found)


if __name__ == "__main__":
    main()
