"""A scene as an MBTiles file and as a folder of tiles, made by GDAL."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.shutil import copy

ZOOM = 18
TILE_M = 2 * math.pi * 6378137 / 2**ZOOM
"""Side of a tile in metres of EPSG:3857."""

WEST, NORTH = 1_000_000 // TILE_M, 8_400_000 // TILE_M
"""The first column, and the row north of the equator that lies above the first one; at 60 degrees north."""

X, Y = int(WEST) + 2 ** (ZOOM - 1), 2 ** (ZOOM - 1) - int(NORTH)
"""Column and row of the first tile."""


def make_scene(path: Path, across: int = 3, down: int = 2) -> Path:
    """A GeoTIFF that fills so many tiles of zoom 18; of several the lower right one is empty."""
    place = Affine(TILE_M / 256, 0, WEST * TILE_M, 0, -TILE_M / 256, NORTH * TILE_M)
    pixels = np.full((4, down * 256, across * 256), 255, np.uint8)
    pixels[:3] = np.random.default_rng(0).integers(0, 255, (3, down * 256, across * 256))
    if across > 1:
        pixels[:, -256:, -256:] = 0
    size = {"width": across * 256, "height": down * 256, "count": 4, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", photometric="RGB", crs="EPSG:3857", transform=place, **size) as file:
        file.write(pixels)
    return path


def make_mbtiles(path: Path, scene: Path) -> Path:
    """The same as MBTiles with zoom 17 as an overview."""
    copy(scene, path, driver="MBTiles", TILE_FORMAT="PNG")
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2], rasterio.enums.Resampling.average)
    return path


def unpacked(folder: Path, mbtiles: Path, *, upwards: bool = False) -> Path:
    """The same as files Z/X/Y.png; MBTiles count rows from the south."""
    with closing(sqlite3.connect(mbtiles)) as file:
        for zoom, x, y, content in file.execute("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles"):
            path = folder / str(zoom) / str(x) / f"{y if upwards else 2**zoom - 1 - y}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder
