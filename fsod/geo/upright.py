"""How a raster's own pixels are seen: north up, and square on the ground.

Programs write rasters south up, turned by quarters or mirrored, and in degrees a pixel far from the equator is much
higher than wide. A detector that has learned what a ship looks like from above has not learned that. So examples and
scenes are both seen the one way; what is written for others counts in the file's own pixels again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from fsod.geo.georeference import UNEVEN, Georeference

MOST_UNEVEN = 16.0
"""Pixels whose sides differ by more than this factor on the ground hold nothing that could be made square."""


@dataclass(frozen=True)
class Upright:
    """The way from what is seen to a file's own pixels.

    Attributes:
        width_px: columns that are seen.
        height_px: rows that are seen.
        transposed: whether what runs along a row is along a column of the file.
        to_file: from (column, row) as seen to those of the file.
    """

    width_px: int
    height_px: int
    transposed: bool
    to_file: Affine

    @property
    def is_plain(self) -> bool:
        """Whether the file's pixels are seen as they are."""
        return self.to_file.is_identity

    def rectangle_in_file(self, xyxy_px: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a rectangle, in the file's pixels."""
        if self.is_plain:
            return xyxy_px
        (x1, y1), (x2, y2) = (self.to_file @ corner for corner in (xyxy_px[:2], xyxy_px[2:]))
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)

    def boxes_in_file(self, boxes_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes (n, 4) in the file's pixels: (n, 4)."""
        if self.is_plain:
            return boxes_xyxy_px
        matrix = np.array(self.to_file).reshape(3, 3)
        corners = boxes_xyxy_px.reshape(-1, 2, 2) @ matrix[:2, :2].T + matrix[:2, 2]
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)

    def shape_in_file(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns to read from the file for so many (h, w) that are seen."""
        return shape[::-1] if self.transposed else shape

    def turned(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Pixels (..., h, w) of the file as they are seen."""
        if self.is_plain:
            return pixels
        matrix = self.to_file
        across, down = (matrix.d, matrix.b) if self.transposed else (matrix.a, matrix.e)
        if self.transposed:
            pixels = np.swapaxes(pixels, -1, -2)
        return np.ascontiguousarray(pixels[..., :: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def as_stored(width_px: int, height_px: int) -> Upright:
    """A file's pixels as they are."""
    return Upright(width_px, height_px, transposed=False, to_file=Affine.identity())


def make_upright(width_px: int, height_px: int, own: Georeference) -> tuple[Upright, Georeference]:
    """How a raster is to be seen, and the georeference of what is seen.

    It is turned by quarters and mirrored so that rows run as near to east as they can and columns to south. Pixels whose
    sides differ by more than a tenth on the ground become square; their number stays.

    Args:
        width_px: columns of the file.
        height_px: rows of the file.
        own: of the file; without a CRS nothing is changed.
    """
    if own.crs is None or own.gsd_xy_m is None:
        return as_stored(width_px, height_px), own
    (right_east, right_north), (down_east, down_north) = own.directions(width_px, height_px)
    # a mirrored or turned raster must be clearly so: one that lies askew by an eighth of a turn stays as it is
    transposed = abs(right_north) + abs(down_east) > UNEVEN * (abs(right_east) + abs(down_north))
    east, south = (down_east, -right_north) if transposed else (right_east, -down_north)
    size = (height_px, width_px) if transposed else (width_px, height_px)
    sides_m = own.gsd_xy_m[::-1] if transposed else own.gsd_xy_m
    seen = size
    if UNEVEN < max(sides_m) / min(sides_m) <= MOST_UNEVEN:
        square_m = float(np.sqrt(sides_m[0] * sides_m[1]))
        seen = max(1, round(size[0] * sides_m[0] / square_m)), max(1, round(size[1] * sides_m[1] / square_m))
    # along x and y as seen: how far the file goes for one pixel, and where it starts
    steps = [
        whole / shown * (1 if ahead >= 0 else -1) for whole, shown, ahead in zip(size, seen, (east, south), strict=True)
    ]
    starts = [0.0 if step > 0 else float(whole) for step, whole in zip(steps, size, strict=True)]
    if transposed:
        to_file = Affine(0.0, steps[1], starts[1], steps[0], 0.0, starts[0])
    else:
        to_file = Affine(steps[0], 0.0, starts[0], 0.0, steps[1], starts[1])
    upright = Upright(*seen, transposed, to_file)
    gsd_xy_m = sides_m[0] * abs(steps[0]), sides_m[1] * abs(steps[1])
    return upright, own if upright.is_plain else replace(own, transform=own.transform @ to_file, gsd_xy_m=gsd_xy_m)
