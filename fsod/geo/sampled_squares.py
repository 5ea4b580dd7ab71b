"""A few squares of a scene, evenly spread, that tell what all of it looks like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import product

import numpy as np
import rasterio.errors
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.scene import Scene
from fsod.geo.tone import is_picture

ACROSS, SQUARE_PX = 4, 192
"""So many squares across and down, of this side."""

ENOUGH = 4
"""Squares that have to show something. Where most of a scene is empty, they are taken denser until so many do."""

MOST_ACROSS = 64
"""As dense as they get: a scene of 20,000 px has one every 300 px then."""

Square = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""(h, w, 3) uint8 RGB and validity (h, w)."""


def sampled_squares(scene: Scene) -> list[Square]:
    """Squares of the grid as a network is to see them; those that cannot be read are left out."""
    best = squares = list(_squares(scene, ACROSS))
    across, shown = ACROSS, sum(_shows(*square) for square in squares)
    while (
        shown < ENOUGH and across < MOST_ACROSS and across * SQUARE_PX < max(scene.grid_width_px, scene.grid_height_px)
    ):
        across *= 2
        squares = [square for square in _squares(scene, across) if _shows(*square)]
        if len(squares) > shown:
            best, shown = squares, len(squares)
    return best


def _squares(scene: Scene, across: int) -> Iterator[Square]:
    width, height = scene.grid_width_px, scene.grid_height_px
    lefts, tops = (
        sorted({round(i * max(side - SQUARE_PX, 0) / (across - 1)) for i in range(across)}) for side in (width, height)
    )
    for top, left in product(tops, lefts):
        # what cannot be read is named by the search
        with suppress(UserError, rasterio.errors.RasterioError):
            yield scene.read_seen((left, top, min(left + SQUARE_PX, width), min(top + SQUARE_PX, height)))


def _shows(rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bool:
    return bool(is_picture(rgb, valid).any())
