"""Looks at windows of a scene: read ahead, gathered into batches of one shape, shown to the detector.

What decides where this happens, here or on other machines, need not know how it is done: see ``Search``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, area_px
from fsod.geo.blank import shows_something
from fsod.geo.journal import Finished
from fsod.geo.read_ahead import WindowRead, read_ahead
from fsod.geo.scene import Scene
from fsod.geo.windows import Grid

Detect = Callable[[NDArray[np.uint8]], list[Detections]]
"""A batch of windows (B, H, W, 3) uint8 RGB, always of one shape, to one Detections per window in its pixel frame."""

BLANKS_AT_ONCE = 100
"""Blank windows that are handed on at once: in an empty part of a scene no batch ever fills."""


@dataclass(frozen=True)
class Searched:
    """What became of some windows, and never will become anything else.

    Attributes:
        finished: those that were looked at, and the blank ones.
        damaged: those that could not be read, one message each.
        seconds_detecting: wall time inside the detector.
    """

    finished: Finished
    damaged: tuple[str, ...] = ()
    seconds_detecting: float = 0.0

    def __len__(self) -> int:
        return len(self.finished.found) + len(self.finished.blank) + len(self.damaged)


class Search(Protocol):
    """Where and how windows are looked at; ``search_windows`` is the plain one."""

    def __call__(
        self,
        scene: Scene,
        grid: Grid,
        indices: Sequence[int],
        detect: Detect,
        *,
        batch: int,
        window_px: int,
        skip_damaged: bool,
    ) -> Generator[Searched, None, None]:
        """As ``search_windows``; the order of what is found hangs on ``indices`` alone."""


def search_windows(
    scene: Scene,
    grid: Grid,
    indices: Sequence[int],
    detect: Detect,
    *,
    batch: int,
    window_px: int,
    skip_damaged: bool,
) -> Generator[Searched, None, None]:
    """Looks at windows here, in order.

    Args:
        scene: read by a handle of its own.
        grid: its windows.
        indices: which of them, ascending.
        detect: always called with ``batch`` windows of ``window_px`` squared, padded with 0.
        batch: windows per call of the detector.
        window_px: side of a window.
        skip_damaged: go on where pixels cannot be read.

    Yields:
        Each window once: after each batch its windows and the blank and damaged ones that were met on the way.

    Raises:
        UserError: a window cannot be read and ``skip_damaged`` is not set.
    """
    gathered = _Gathered((batch, window_px, window_px, 3))
    with closing(read_ahead(scene, grid, indices, 2 * batch, skip_damaged)) as reads:
        for read in reads:
            gathered.take(read)
            if gathered.is_full:
                yield gathered.search(detect)
        if len(gathered):
            yield gathered.search(detect)


@dataclass
class _Gathered:
    """Windows that were read and not handed on yet."""

    shape: tuple[int, int, int, int]
    waiting: list[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.waiting) + len(self.blank) + len(self.damaged)

    @property
    def is_full(self) -> bool:
        return len(self.waiting) == self.shape[0] or (not self.waiting and len(self) >= BLANKS_AT_ONCE)

    def take(self, read: WindowRead) -> None:
        if read.damage is not None:
            self.damaged.append(read.damage)
        elif read.pixels is None:
            self.blank.append(read.index)
        else:
            self.waiting.append((read.index, *read.pixels))

    def search(self, detect: Detect) -> Searched:
        """Shows the detector what waits, if anything does, and is empty again."""
        started = time.perf_counter()
        found = self._detect(detect) if self.waiting else []
        seconds = time.perf_counter() - started
        kept = {
            index: _visible(detections, rgb, valid)
            for (index, rgb, valid), detections in zip(self.waiting, found, strict=False)
        }
        searched = Searched(Finished(kept, self.blank), tuple(self.damaged), seconds)
        self.waiting, self.blank, self.damaged = [], [], []
        return searched

    def _detect(self, detect: Detect) -> list[Detections]:
        images = np.zeros(self.shape, np.uint8)
        for image, (_, rgb, _) in zip(images, self.waiting, strict=False):
            image[: rgb.shape[0], : rgb.shape[1]] = rgb
        found = detect(images)
        if len(found) != len(images):
            raise ValueError(f"the detector gave {len(found)} results for {len(images)} windows")
        return found


def _visible(detections: Detections, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Detections:
    """Boxes clipped to the window, less those that have no area there, lie in nodata or show one value only."""
    if not len(detections):
        return detections
    height, width = valid.shape
    boxes = np.clip(detections.boxes_xyxy_px.astype(np.float64), 0, [width, height, width, height])
    clipped = Detections(boxes, detections.scores, detections.class_ids)
    clipped = clipped.select(area_px(boxes) > 0)
    return clipped.select(shows_something(rgb, valid, clipped.boxes_xyxy_px))
