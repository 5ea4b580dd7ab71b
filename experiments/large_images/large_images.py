"""Peak memory and seconds of evaluating one large image, whole and by windows, each in a process of its own.

.venv/bin/python -m experiments.large_images.large_images [--whole-px 2000 4000] [--windows-px 4000 10000]

Writes results.json beside this file. The network is `nano`, finetuned on ten classes of NWPU VHR-10; the image is noise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio

from experiments.memory import peak_mb, resident_mb
from fsod.compute.device import choose_machine
from fsod.config import EvaluateSettings
from fsod.data.coco_folder import load_folder, write_json
from fsod.evaluation import shown_images
from fsod.inference.infer import BatchDetector
from fsod.model.baked import bake
from fsod.store.checkpoint import load_checkpoint

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "nwpu_fewshot" / "weights" / "all-k10-seed0.safetensors"
BLOCK_PX = 500


def make_folder(root: Path, side_px: int) -> None:
    """A prepared folder of one image, written row by row: noise."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = rng.integers(60, 120, (3, BLOCK_PX, side_px)).astype(np.uint8)
    path = root / "images" / "1.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=side_px, height=side_px, count=3, dtype="uint8", compress="deflate"
    ) as file:
        for top in range(0, side_px, BLOCK_PX):
            file.write(rows, window=rasterio.windows.Window(0, top, side_px, BLOCK_PX))
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    image = {"id": 1, "file_name": path.name, "width": side_px, "height": side_px}
    write_json(
        root / "annotations.json",
        {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "square"}]},
    )


def evaluate(root: Path, whole: bool) -> dict[str, float]:
    """What one image takes beyond what the process has before."""
    folder, machine = load_folder(root), choose_machine("float32")
    detector = load_checkpoint(WEIGHTS).detector.eval()
    settings = EvaluateSettings()
    network = bake(detector, detector.learned_rows().detach())
    detect = BatchDetector(network, machine, settings.score_floor, settings)
    detect(np.zeros((1, 64, 64, 3), np.uint8))
    if whole:
        shown_images.WHOLE_PX = 10**9
    before, started, worked = resident_mb(), time.perf_counter(), time.process_time()
    shown_images.detect_folder(folder, detect)
    return {
        "peak_mb": peak_mb() - before,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - worked,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole-px", nargs="*", type=int, default=[2000, 4000])
    parser.add_argument("--windows-px", nargs="*", type=int, default=[4000, 10_000])
    parser.add_argument("--one", nargs=2, help="a folder, and whole or windows: measure in this process")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    asked = parser.parse_args()
    if asked.one:
        write_json(asked.out, evaluate(Path(asked.one[0]), asked.one[1] == "whole"))
        return
    found: list[dict[str, Any]] = []
    with TemporaryDirectory() as place:
        for how, side_px in [("whole", n) for n in asked.whole_px] + [("windows", n) for n in asked.windows_px]:
            root, out = Path(place) / f"{how}{side_px}", Path(place) / "one.json"
            make_folder(root, side_px)
            command = [sys.executable, "-m", "experiments.large_images.large_images", "--one", str(root), how]
            subprocess.run([*command, "--out", str(out)], check=True)
            found.append({"how": how, "side_px": side_px, **json.loads(out.read_text())})
            print(found[-1], flush=True)
    write_json(asked.out, found)


if __name__ == "__main__":
    main()
