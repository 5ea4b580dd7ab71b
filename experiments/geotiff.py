"""Scenes that measurements are made on: uncompressed tiled GeoTIFFs of 0.5 m per pixel in UTM 33N."""

from __future__ import annotations

from pathlib import Path

import rasterio
from affine import Affine
from rasterio.io import DatasetWriter

BLOCK_PX = 512
_GSD_M = 0.5


def new_scene(path: Path, width_px: int, height_px: int) -> DatasetWriter:
    """The open file of an RGB scene to write into; its folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width_px,
        height=height_px,
        count=3,
        dtype="uint8",
        photometric="RGB",
        interleave="pixel",
        tiled=True,
        blockxsize=BLOCK_PX,
        blockysize=BLOCK_PX,
        crs="EPSG:32633",
        transform=Affine(_GSD_M, 0, 400_000, 0, -_GSD_M, 5_300_000),
    )
