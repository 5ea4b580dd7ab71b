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

ACROSS, SQUARE_PX = 4, 192
"""So many squares across and down, of this side."""


def sampled_squares(scene: Scene) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Squares of the grid as a network is to see them: (h, w, 3) uint8 RGB and validity (h, w); those that cannot be read are left out."""
    width, height = scene.grid_width_px, scene.grid_height_px
    lefts, tops = (
        sorted({round(i * max(side - SQUARE_PX, 0) / (ACROSS - 1)) for i in range(ACROSS)}) for side in (width, height)
    )
    for top, left in product(tops, lefts):
        # what cannot be read is named by the search
        with suppress(UserError, rasterio.errors.RasterioError):
            yield scene.read_seen((left, top, min(left + SQUARE_PX, width), min(top + SQUARE_PX, height)))
