"""What has come out of a scene's windows so far, in whatever order they came."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.geo.blank import gap_cells, gap_shape
from fsod.geo.merge import SeamMerger
from fsod.geo.passes import Pass
from fsod.geo.search import Searched
from fsod.geo.searched_area import BLANK, DAMAGED, NODATA, NOT_REACHED, OUTSIDE, SEARCHED, STATUSES


@dataclass
class Tally:
    """What has come out of the windows so far; ``statuses`` and ``gaps`` of those of the first pass, which sees all."""

    passes: tuple[Pass, ...]
    statuses: NDArray[np.uint8]
    found: dict[int, Detections] = field(default_factory=dict)
    gaps: dict[int, bytes] = field(default_factory=dict)
    windows_run: int = 0
    windows_blank: int = 0
    damaged: list[str] = field(default_factory=list)
    seconds_detecting: float = 0.0
    missed: tuple[float, int] | None = None

    @staticmethod
    def at_first(passes: tuple[Pass, ...], asked: NDArray[np.bool_]) -> Tally:
        """Before anything is searched; ``asked`` (windows of all passes,) says which windows will be."""
        own = asked[: len(passes[0].grid)]
        return Tally(passes, np.where(own, STATUSES.index(NOT_REACHED), STATUSES.index(OUTSIDE)).astype(np.uint8))

    @property
    def done(self) -> int:
        """Windows that something became of."""
        return self.windows_run + self.windows_blank + len(self.damaged)

    def take(self, searched: Searched) -> None:
        """Adds windows, numbered over all passes; ValueError where gaps do not fit them."""
        full = len(self.passes[0].grid)
        # windows in which nothing was found would fill memory in a scene of millions; of a coarse pass they say that it was made
        self.found |= {number: own for number, own in searched.finished.found.items() if len(own) or number >= full}
        self._note(searched)
        self.windows_run += len(searched.finished.found)
        self.windows_blank += len(searched.finished.blank)
        self.damaged += searched.damaged.values()
        self.seconds_detecting += searched.seconds_detecting
        self.missed = max((best for best in (self.missed, searched.finished.missed) if best), default=None)

    def merged(self, iou_threshold: float, rival_iou: float) -> Detections:
        """The detections of the scene in the first pass's grid, each object once; see ``SeamMerger``."""
        merger = SeamMerger(iou_threshold, rival_iou)
        for number in sorted(self.found):
            own = self.passes[bisect_right(self.passes, number, key=attrgetter("first")) - 1]
            merger.add(own.window(number), own.asked_of(self.found[number]), own.scale, own.least_px)
        return merger.result()

    def _note(self, searched: Searched) -> None:
        """What became of the windows; ValueError where gaps do not fit them."""
        finished, grid = searched.finished, self.passes[0].grid
        for numbers, status in (
            (finished.found, SEARCHED),
            (finished.blank, BLANK),
            (finished.nodata, NODATA),
            (searched.damaged, DAMAGED),
        ):
            own = np.fromiter(numbers, np.int64, len(numbers))
            self.statuses[own[own < len(grid)]] = STATUSES.index(status)
        cells = gap_shape(grid.y.window_px, grid.x.window_px)
        for number, gaps in finished.gaps.items():
            if number < len(grid):
                gap_cells(gaps, cells)
                self.gaps[number] = gaps
