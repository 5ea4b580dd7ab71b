"""Rasters that tests make, and all of their pixels as they are seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from affine import Affine

from fsod.geo.scene import Scene

MakeRaster = Callable[..., Path]
METRES = Affine(1, 0, 500_000, 0, -1, 5_000_000)
UTM = {"crs": "EPSG:32633", "transform": METRES}


def noise(bands: int, kind: type = np.uint8, high: int = 255, size: tuple[int, int] = (80, 120)) -> np.ndarray:
    return np.random.default_rng(bands).integers(1, high, (bands, *size)).astype(kind)


def all_pixels(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return scene.read_rectangle((0, 0, scene.grid_width_px, scene.grid_height_px))
