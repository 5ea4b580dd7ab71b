"""Pixels that show nothing: nodata, and areas of one value.

Empty parts of a mosaic are often plain black or white without being declared nodata. A window of one value is never
worth the network's time, and a box over one value is no object whatever the network says.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_VALID_SHARE = 0.5
"""A box with fewer valid pixels than this lies in nodata."""

RING_PX = 2
"""An object may be of one value itself, a white roof say; then it shows by its edge, so boxes are looked at with this
much around them."""

CELL_PX = 16
"""About the side of the cells that a window is cut into to say where it has no pixels."""


def gap_shape(height_px: int, width_px: int) -> tuple[int, int]:
    """Rows and columns of the cells of a window: as many equal ones as make sides of at most 16 px."""
    return math.ceil(height_px / CELL_PX), math.ceil(width_px / CELL_PX)


def gaps_in(valid: NDArray[np.bool_]) -> bytes:
    """Cells of a window with validity (h, w) of which half or more has no valid pixel, a bit each; empty if there is none."""
    if valid.all():
        return b""
    rows, columns = gap_shape(*valid.shape)
    # the mean of zeros and ones, rounded
    gaps = cv2.resize(valid.view(np.uint8), (columns, rows), interpolation=cv2.INTER_AREA) == 0
    return np.packbits(gaps).tobytes() if gaps.any() else b""


def gap_cells(gaps: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """What ``gaps_in`` said of a window with cells of that shape; ValueError where it is of another shape."""
    rows, columns = shape
    if len(gaps) != math.ceil(rows * columns / 8):
        raise ValueError(f"{len(gaps)} bytes for {rows} x {columns} cells")
    return np.unpackbits(np.frombuffer(gaps, np.uint8), count=rows * columns).reshape(shape).astype(np.bool_)


def is_blank(rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bool:
    """Whether a window (h, w, 3) with validity (h, w) has no valid pixel, or valid pixels of one colour only."""
    first = int(valid.argmax())
    if not valid.flat[first]:
        return True
    colour = tuple(rgb[divmod(first, valid.shape[1])].tolist())
    # nearly every window shows something in the few rows that are looked at first
    return not any((valid[::rows] & (cv2.inRange(rgb[::rows], colour, colour) == 0)).any() for rows in (64, 1))


def shows_something(
    rgb: NDArray[np.uint8], valid: NDArray[np.bool_], boxes_xyxy_px: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which boxes (n, 4) of a window hold at least half valid pixels, and more than one colour in or right around them."""
    around = RING_PX * np.array([-1, -1, 1, 1])
    inside, with_edge = (_pixels_of(boxes, valid.shape) for boxes in (boxes_xyxy_px, boxes_xyxy_px + around))
    shown = [
        np.count_nonzero(valid[box]) >= MIN_VALID_SHARE * valid[box].size and not is_blank(rgb[ring], valid[ring])
        for box, ring in zip(inside, with_edge, strict=True)
    ]
    return np.array(shown, np.bool_)


def _pixels_of(boxes_xyxy_px: NDArray[np.float64], shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Rows and columns of all pixels that boxes touch, one at least, in an array (h, w)."""
    size = np.array(shape[::-1])
    starts = np.floor(boxes_xyxy_px[:, :2]).astype(np.intp).clip(0, size - 1)
    ends = np.maximum(np.ceil(boxes_xyxy_px[:, 2:]).astype(np.intp).clip(0, size), starts + 1)
    return [
        (slice(top, bottom), slice(left, right))
        for (left, top), (right, bottom) in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
