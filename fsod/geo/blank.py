"""Pixels that show nothing: nodata, and areas of one value.

Empty parts of a mosaic are often plain black or white without being declared nodata. A window of one value is never
worth the network's time, and a box over one value is no object whatever the network says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_VALID_SHARE = 0.5
"""A box with fewer valid pixels than this lies in nodata."""

RING_PX = 2
"""An object may be of one value itself, a white roof say; then it shows by its edge, so boxes are looked at with this
much around them."""


def is_blank(rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bool:
    """Whether a window (h, w, 3) with validity (h, w) has no valid pixel, or valid pixels of one colour only."""
    first = int(valid.argmax())
    if not valid.flat[first]:
        return True
    colour = rgb[divmod(first, valid.shape[1])]
    # nearly every window shows something in the few rows that are looked at first
    return not any(((rgb[::rows] != colour) & valid[::rows, :, None]).any() for rows in (64, 1))


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
