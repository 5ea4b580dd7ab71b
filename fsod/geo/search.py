"""Searches the windows of a scene: reads them ahead in batches of one shape and passes them to the detector.

``Search`` is the interface. Whoever decides where a search runs, here or on other machines, needs nothing else.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import starmap
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, area_px
from fsod.errors import UserError
from fsod.geo.blank import shows_something
from fsod.geo.journal import Finished
from fsod.geo.read_ahead import Batch, Reading, read_ahead

Detect = Callable[[NDArray[np.uint8]], list[Detections]]
"""(B, H, W, 3) uint8 RGB windows, with sides that are multiples of 32 -> one Detections per window, in its pixels.

Two threads may call it at the same time, neither of them the one that made it."""


@runtime_checkable
class Selective(Protocol):
    """A detector that can be asked for some of its classes."""

    def asked_for(self, class_ids: tuple[int, ...]) -> Detect:
        """The same, as if it had no other classes: their boxes compete with none of these."""


AT_ONCE = 2
"""Batches that the detector works on at the same time."""


@dataclass(frozen=True)
class Searched:
    """The final result of some windows.

    Attributes:
        finished: windows that were searched, and blank ones.
        damaged: window -> why it could not be read.
        seconds_detecting: wall time spent waiting for the detector.
    """

    finished: Finished
    damaged: dict[int, str] = field(default_factory=dict)
    seconds_detecting: float = 0.0

    def __len__(self) -> int:
        return len(self.finished.found) + len(self.finished.blank) + len(self.damaged)


Search = Callable[[Reading, Detect], Generator[Searched, None, None]]
"""A function like ``search_windows``. The order of the detections depends on window indices alone."""


def asked_for(detect: Detect, class_ids: tuple[int, ...] | None) -> Detect:
    """A detector that is asked for some classes alone, where it can be; for all if None. Who asks for none waits for none."""
    if class_ids == ():
        return lambda images: [Detections.empty()] * len(images)
    return detect.asked_for(class_ids) if class_ids is not None and isinstance(detect, Selective) else detect


def search_windows(reading: Reading, detect: Detect) -> Generator[Searched, None, None]:
    """Searches windows in this process, in order. Those of a scene that is smaller than a window are no larger than it takes.

    Threads call ``detect`` for the next batch while one is under way, so the network never waits for reading or merging. Where all
    fits one batch, the calling thread does.

    Yields:
        Each window once: after each batch its windows, with the blank and damaged ones met on the way.

    Raises:
        UserError: a window cannot be read and ``skip_damaged`` is not set.
    """
    detect = asked_for(detect, reading.class_ids)
    under_way: deque[tuple[Batch, Callable[[], list[Detections]]]] = deque()
    with closing(read_ahead(reading)) as batches, ThreadPoolExecutor(AT_ONCE, "fsod-detect") as threads:
        if len(reading.indices) <= reading.batch:  # a new thread would cost a small picture as much as the network does
            yield from (_searched(read, partial(_detected, detect, read)) for read in batches)
            return
        try:
            for read in batches:
                under_way.append((read, threads.submit(_detected, detect, read).result))
                if len(under_way) == AT_ONCE:
                    yield _searched(*under_way.popleft())
        except UserError:
            yield from starmap(_searched, under_way)  # a window that cannot be read costs nothing that was looked at
            raise
        yield from starmap(_searched, under_way)


def _detected(detect: Detect, read: Batch) -> list[Detections]:
    return detect(read.images[: len(read.valid)]) if read.valid else []


def _searched(read: Batch, detected: Callable[[], list[Detections]]) -> Searched:
    """Waits for the detections of a batch, and puts them with its windows."""
    started = time.perf_counter()
    found = detected()
    seconds = time.perf_counter() - started
    if len(found) != len(read.valid):
        raise ValueError(f"the detector gave {len(found)} results for {len(read.valid)} windows")
    kept = {
        index: _visible(own, image[: valid.shape[0], : valid.shape[1]], valid)
        for (index, valid), image, own in zip(read.valid.items(), read.images, found, strict=False)
    }
    missed = max((own.missed for own in found if own.missed), default=None)
    return Searched(Finished(kept, read.blank, read.nodata, read.gaps, missed), read.damaged, seconds)


def _visible(detections: Detections, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Detections:
    """Boxes clipped to the window, without those that have no area, lie in nodata, or show a single value."""
    if not len(detections):
        return detections
    height, width = valid.shape
    boxes = np.clip(detections.boxes_xyxy_px.astype(np.float64), 0, [width, height, width, height])
    clipped = Detections(boxes, detections.scores, detections.class_ids)
    clipped = clipped.select(area_px(boxes) > 0)
    return clipped.select(shows_something(rgb, valid, clipped.boxes_xyxy_px))
