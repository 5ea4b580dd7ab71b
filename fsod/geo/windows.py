"""The grid of overlapping windows that covers a scene, and the part of the scene each of them answers for.

Windows have one size and start every ``window - overlap`` pixels. The last of a row or column is moved inward to end with the
scene, so none sticks out and none is a sliver. The seam between two neighbours is the middle of what both see. Seams cut the
scene into cores, one per window, without gap or overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError

STEP_PX = 32
"""Windows and overlaps are multiples of the coarsest stride of the network."""


@dataclass(frozen=True)
class Window:
    """A rectangle of a scene, in pixels of the frame that the grid was made for.

    Attributes:
        left_px: first column.
        top_px: first row.
        width_px: columns.
        height_px: rows.
        core_xyxy_px: the part it answers for; cores tile the scene.
        shared_xyxy_px: how far its neighbours see into it: the right end of the left neighbour, the bottom end of the
            upper one, the left end of the right one and the top of the lower one; infinite at an edge of the scene,
            where there is no neighbour.
    """

    left_px: int
    top_px: int
    width_px: int
    height_px: int
    core_xyxy_px: tuple[int, int, int, int]
    shared_xyxy_px: tuple[float, float, float, float]

    @property
    def xyxy_px(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        return self.left_px, self.top_px, self.left_px + self.width_px, self.top_px + self.height_px


@dataclass(frozen=True)
class Axis:
    """One direction of the grid.

    Attributes:
        length_px: of the scene.
        window_px: of a window.
        starts_px: where windows start.
    """

    length_px: int
    window_px: int
    starts_px: tuple[int, ...]

    @staticmethod
    def over(length_px: int, window_px: int, overlap_px: int) -> Axis:
        """Of windows along so many pixels."""
        return Axis(length_px, min(window_px, length_px), starts_px(length_px, window_px, overlap_px))

    def core(self, i: int) -> tuple[int, int]:
        """From where to where window ``i`` answers."""
        return self._seam(i), self._seam(i + 1)

    @property
    def seams_px(self) -> NDArray[np.int64]:
        """(windows + 1,) where cores meet, and the scene's own edges."""
        return np.array([self._seam(i) for i in range(len(self.starts_px) + 1)], np.int64)

    def _seam(self, i: int) -> int:
        """The seam before window ``i``; the scene's own edges count as the first and the last."""
        if i in (0, len(self.starts_px)):
            return 0 if i == 0 else self.length_px
        return (self.starts_px[i] + self.starts_px[i - 1] + self.window_px) // 2

    def shared(self, i: int) -> tuple[float, float]:
        """Where the window before ``i`` ends and the one after it starts; infinite where there is none."""
        before = self.starts_px[i - 1] + self.window_px if i > 0 else -math.inf
        after = self.starts_px[i + 1] if i + 1 < len(self.starts_px) else math.inf
        return before, after


@dataclass(frozen=True)
class Grid(Sequence[Window]):
    """All windows of a scene, row by row; a window is made when it is asked for, so a grid costs no memory."""

    x: Axis
    y: Axis

    def __len__(self) -> int:
        return len(self.x.starts_px) * len(self.y.starts_px)

    @overload
    def __getitem__(self, index: int) -> Window: ...
    @overload
    def __getitem__(self, index: slice) -> list[Window]: ...
    def __getitem__(self, index: int | slice) -> Window | list[Window]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        row, column = divmod(index % len(self), len(self.x.starts_px))
        (left, right), (top, bottom) = self.x.core(column), self.y.core(row)
        (from_left, from_right), (from_top, from_bottom) = self.x.shared(column), self.y.shared(row)
        return Window(
            self.x.starts_px[column],
            self.y.starts_px[row],
            self.x.window_px,
            self.y.window_px,
            (left, top, right, bottom),
            (from_left, from_top, from_right, from_bottom),
        )


def starts_px(length_px: int, window_px: int, overlap_px: int) -> tuple[int, ...]:
    """Where windows begin along one side: steps of window - overlap, the last one moved inward to end with the scene."""
    last = max(length_px - window_px, 0)
    return (*range(0, last, window_px - overlap_px), last)


def windows_along(length_px: int, window_px: int, overlap_px: int) -> int:
    """How many windows there are along one side of a scene."""
    return max(1, math.ceil((length_px - overlap_px) / (window_px - overlap_px)))


def window_grid(width_px: int, height_px: int, window_px: int, overlap_px: int) -> Grid:
    """The windows over a scene of ``width_px`` x ``height_px``.

    Args:
        width_px: columns of the scene.
        height_px: rows of the scene.
        window_px: side of a window, a multiple of 32. Windows of a smaller scene are cut to it.
        overlap_px: what neighbours share at least, a multiple of 32, from 32 to half a window.

    Raises:
        UserError: a size that is no multiple of 32 or out of range.
    """
    for name, value in (("window", window_px), ("overlap", overlap_px)):
        if value < STEP_PX or value % STEP_PX:
            raise UserError(f"{name} of {value} px: must be a positive multiple of {STEP_PX}")
    if 2 * overlap_px > window_px:
        raise UserError(f"overlap of {overlap_px} px: must be at most half the window of {window_px} px")
    return Grid(Axis.over(width_px, window_px, overlap_px), Axis.over(height_px, window_px, overlap_px))


def spread(count: int, most: int) -> NDArray[np.intp]:
    """At most so many of the first ``count`` numbers, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


def cut_sides(window: Window, boxes_xyxy_px: NDArray[np.float64], edge_px: float) -> NDArray[np.bool_]:
    """Which sides of each box (n, 4) lie within ``edge_px`` of an inner edge of the window: (n, 4), same order."""
    inner = np.isfinite(window.shared_xyxy_px)
    distance = (boxes_xyxy_px - np.array(window.xyxy_px)) * [1, 1, -1, -1]
    return inner & (distance <= edge_px)
