"""Scenes of noise, `fsod predict` on them, and a search that stops half way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from fsod.boxes import Detections
from fsod.inference.infer import BatchDetector
from tests.command import fsod

SMALL = ("--window-px", "96", "--overlap-px", "32", "--precision", "float32", "--score", "0.02")


def make_scene(
    path: Path,
    gsd_m: float = 0.5,
    bands: int = 3,
    size: int = 320,
    seed: int = 0,
    crs: str | None = "EPSG:32633",
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (bands, size, size)).astype(np.uint8)
    with rasterio.open(path, "w", driver="GTiff", width=size, height=size, count=bands, dtype="uint8", tiled=True,
                       blockxsize=64, blockysize=64, crs=crs, photometric="minisblack",
                       transform=from_origin(500_000, 5_000_000, gsd_m, gsd_m)) as file:  # fmt: skip
        file.write(pixels)
    return path


def predict(bank: Path, out: Path, *arguments: str | Path) -> dict[str, Any]:
    report = out.parent / "report.json"
    assert fsod("predict", *arguments, "--bank", bank, "--out", out, *SMALL, "--json", report) == 0
    return json.loads(report.read_text())


def timeless(layer: Path) -> str:
    return re.sub(r'"time": *"[^"]*"', "", layer.read_text())


def interrupt_after(patch: pytest.MonkeyPatch, calls: int) -> None:
    """Has the network stop the program like ^C after so many batches."""
    original = BatchDetector.__call__
    left = calls

    def detect(self: BatchDetector, images: np.ndarray) -> list[Detections]:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return original(self, images)

    patch.setattr(BatchDetector, "__call__", detect)
