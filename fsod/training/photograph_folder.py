"""A folder of photographs, of any kind that GDAL reads, as 8-bit RGB tiles in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene

SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".vrt", ".webp"})
TILE_PX = 384
"""Larger photographs are cut into tiles of this side."""
LEAST_PX = 64
"""Of a tile's shorter side; smaller ones are left out."""
MOST_BYTES = 1 << 30
"""Of all tiles; where a folder holds more, some are drawn by lot."""
_VALID = 0.95  # share of a tile's pixels that must hold something


def read_photographs(folder: Path) -> list[NDArray[np.uint8]]:
    """Tiles of all photographs below a folder, (H, W, 3) uint8 RGB, the same in every process.

    Raises:
        UserError: no such folder, no photograph in it, or one that cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of photographs")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise UserError(f"{folder}: has no photograph ({', '.join(sorted(SUFFIXES))})")
    where = [(path, area) for path in paths for area in _areas(path)]
    chosen = np.random.default_rng(0).permutation(len(where))
    taken, total = [], 0
    for i in chosen.tolist():
        left, top, right, bottom = where[i][1]
        total += 3 * (right - left) * (bottom - top)
        if total > MOST_BYTES:
            break
        taken.append(i)
    tiles = list(_read([where[i] for i in sorted(taken)]))
    if not tiles:
        raise UserError(f"{folder}: no photograph has {LEAST_PX} by {LEAST_PX} valid pixels")
    return tiles


def photographs_sha256(tiles: list[NDArray[np.uint8]]) -> str:
    """Hash of all pixels."""
    digest = hashlib.sha256()
    for tile in tiles:
        digest.update(repr(tile.shape).encode())
        digest.update(tile.tobytes())
    return digest.hexdigest()


def _areas(path: Path) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right and bottom of a photograph's tiles; what is left over at right and bottom joins the last."""
    with open_scene(path) as scene:
        width, height = scene.grid_width_px, scene.grid_height_px
    if min(width, height) < LEAST_PX:
        return
    columns, rows = (max(1, round(side / TILE_PX)) for side in (width, height))
    xs, ys = (np.linspace(0, side, n + 1).astype(int).tolist() for side, n in ((width, columns), (height, rows)))
    for top, bottom in pairwise(ys):
        for left, right in pairwise(xs):
            yield left, top, right, bottom


def _read(where: list[tuple[Path, tuple[int, int, int, int]]]) -> Iterator[NDArray[np.uint8]]:
    scene: Scene | None = None
    try:
        for path, area in where:
            if scene is None or scene.name != str(path):
                if scene is not None:
                    scene.close()
                scene = open_scene(path)
            rgb, valid = scene.read_rectangle(area)
            if valid.mean() >= _VALID:
                yield np.ascontiguousarray(rgb)
    finally:
        if scene is not None:
            scene.close()
