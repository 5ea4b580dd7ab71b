"""All scene benchmarks: `make bench-scenes DATA=prepared/folder BANK=...`. Prints a table, writes runs/bench/scenes.json."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from experiments.bench_scenes import against_sahi, large_scene, merging
from experiments.bench_scenes.detector import Weights
from experiments.mosaic.build import build_mosaic
from fsod.compute.device import choose_machine
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids, read_image, write_json

OUT = Path("runs/bench")
PARTS = ["sahi", "small", "large", "merge"]
SMALL_PX, SMALL = 256, 64
CLAIMS = (
    ("overhead_ratio_sahi", "time outside the model's calls over SAHI's", "at most 0.5"),
    ("memory_ratio_sahi", "memory above the loaded model over SAHI's", "at most 0.33"),
    ("time_ratio_sahi", "whole run over SAHI's in float32, batch 1", "at most 0.5"),
    ("time_ratio_sahi_same", "whole run over SAHI's in the same precision and batch", ""),
    ("time_ratio_sahi_small", "the same on pictures of 256 px", ""),
    ("rss_mb_20k", "MB resident on 20,000 x 20,000 px", "less than 1500"),
    ("total_over_network", "that run over the network alone", "at most 1.1"),
    ("merge_seconds_90k", "seconds to merge 90,000 boxes", "less than 1.5"),
    ("nms_seconds_90k", "of it, class-wise suppression", ""),
)


def small_pictures(folder: CocoFolder, out: Path) -> list[Path]:
    """The upper left corners of the first images, as PNG."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{image.id}.png" for image in folder.images[:SMALL]]
    for image, path in zip(folder.images, paths, strict=False):
        Image.fromarray(read_image(image)[:SMALL_PX, :SMALL_PX]).save(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder to make the mosaic from")
    parser.add_argument("--list", default="test", help="list of image ids under splits/")
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, help="the weights, if not where the bank says")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side-px", type=int, default=20_000, help="of the generated scene")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    asked = parser.parse_args()
    if {"sahi", "small"} & set(asked.parts) and importlib.util.find_spec("sahi") is None:
        sys.exit("bench-scenes: SAHI is not installed: .venv/bin/pip install -c configs/constraints.txt -e '.[bench]'")
    weights = Weights(asked.bank, asked.checkpoint)
    found: dict[str, Any] = {}
    if "merge" in asked.parts:
        found |= merging.measure()
    folder = load_folder(asked.data).select(read_ids(asked.data / "splits" / f"{asked.list}.txt"))
    if "small" in asked.parts:
        found |= against_sahi.measure_small(small_pictures(folder, OUT / "small"), weights, asked.rounds)
    if "sahi" in asked.parts:
        mosaic = build_mosaic(folder, OUT / "mosaic.tif")
        found |= against_sahi.measure(mosaic.path, weights, asked.rounds)
        found["sahi"]["scene_px"] = [mosaic.width_px, mosaic.height_px]
    if "large" in asked.parts:
        found |= large_scene.measure(OUT / "large.tif", asked.side_px, weights, asked.rounds)
    found |= {"machine": str(choose_machine()), "threads": torch.get_num_threads()}
    write_json(OUT / "scenes.json", found)
    table = Table(title=found["machine"])
    for heading in ("figure", "what", "", "wanted"):
        table.add_column(heading)
    for key, what, wanted in CLAIMS:
        if key in found:
            table.add_row(key, what, f"{found[key]:.3f}", wanted)
    console = Console()
    console.print(table)
    console.print(str(OUT / "scenes.json"))


if __name__ == "__main__":
    main()
