"""Looks at windows of a scene: read ahead in batches of one shape, shown to the detector.

What decides where this happens, here or on other machines, need not know how it is done: see ``Search``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import starmap

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, area_px
from fsod.errors import UserError
from fsod.geo.blank import shows_something
from fsod.geo.journal import Finished
from fsod.geo.read_ahead import Batch, Reading, read_ahead

Detect = Callable[[NDArray[np.uint8]], list[Detections]]
"""A batch of windows (B, H, W, 3) uint8 RGB, always of one shape, to one Detections per window in its pixel frame.

Called by other threads than its maker's, by two of them at the same time."""

AT_ONCE = 2
"""Batches that are with the detector at the same time."""


@dataclass(frozen=True)
class Searched:
    """What became of some windows, and never will become anything else.

    Attributes:
        finished: those that were looked at, and the blank ones.
        damaged: those that could not be read, with a message each.
        seconds_detecting: wall time of waiting for the detector.
        missed: see ``Detections``, of the window with the best score of those in which nothing was found.
    """

    finished: Finished
    damaged: dict[int, str] = field(default_factory=dict)
    seconds_detecting: float = 0.0
    missed: tuple[float, int] | None = None

    def __len__(self) -> int:
        return len(self.finished.found) + len(self.finished.blank) + len(self.damaged)


Search = Callable[[Reading, Detect], Generator[Searched, None, None]]
"""Where and how windows are looked at: as ``search_windows``; the order of what is found hangs on their indices alone."""


def search_windows(reading: Reading, detect: Detect) -> Generator[Searched, None, None]:
    """Looks at windows here, in order; ``detect`` is always called with a whole batch, padded with 0.

    It is called by threads, for the next batch while one is under way: so a network need not wait for what is done before
    and after it.

    Yields:
        Each window once: after each batch its windows and the blank and damaged ones that were met on the way.

    Raises:
        UserError: a window cannot be read and ``skip_damaged`` is not set.
    """
    under_way: deque[tuple[Batch, Future[list[Detections]] | None]] = deque()
    with closing(read_ahead(reading)) as batches, ThreadPoolExecutor(AT_ONCE, "fsod-detect") as threads:
        try:
            for read in batches:
                under_way.append((read, threads.submit(detect, read.images) if read.valid else None))
                if len(under_way) == AT_ONCE:
                    yield _searched(*under_way.popleft())
        except UserError:
            yield from starmap(_searched, under_way)  # a window that cannot be read costs nothing that was looked at
            raise
        yield from starmap(_searched, under_way)


def _searched(read: Batch, detections: Future[list[Detections]] | None) -> Searched:
    """A batch of windows with what the detector says of it, once it has."""
    started = time.perf_counter()
    found = detections.result() if detections else []
    seconds = time.perf_counter() - started
    if detections and len(found) != len(read.images):
        raise ValueError(f"the detector gave {len(found)} results for {len(read.images)} windows")
    kept = {
        index: _visible(own, image[: valid.shape[0], : valid.shape[1]], valid)
        for (index, valid), image, own in zip(read.valid.items(), read.images, found, strict=False)
    }
    missed = max((own.missed for own in found[: len(kept)] if own.missed), default=None)
    return Searched(Finished(kept, read.blank, read.nodata, read.gaps), read.damaged, seconds, missed)


def _visible(detections: Detections, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Detections:
    """Boxes clipped to the window, less those that have no area there, lie in nodata or show one value only."""
    if not len(detections):
        return detections
    height, width = valid.shape
    boxes = np.clip(detections.boxes_xyxy_px.astype(np.float64), 0, [width, height, width, height])
    clipped = Detections(boxes, detections.scores, detections.class_ids)
    clipped = clipped.select(area_px(boxes) > 0)
    return clipped.select(shows_something(rgb, valid, clipped.boxes_xyxy_px))
