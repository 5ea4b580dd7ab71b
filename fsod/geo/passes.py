"""Passes over a scene: one at full resolution, and further ones over the reduced scene for large objects.

A pass at full resolution sees every object whole that is no longer than the overlap. A pass over the scene reduced by f sees
objects up to f overlaps whole, and answers for objects longer than the overlap of the pass before. It also reports boxes a
little below that limit; merging compares what both passes report.

A class whose examples are large has been learned from reduced pixels. Only the pass that shows them so is asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.journal import Finished
from fsod.geo.scene import Scene
from fsod.geo.search import Searched
from fsod.geo.windows import Grid, Window, window_grid, windows_along

MAX_WINDOWS = 10**7
"""Of a pass: weeks of work, and what is noted of them takes a few hundred megabytes."""

MAX_SCALE = 64.0
"""Beyond this a single window is made of billions of pixels."""

JITTER = 0.8
"""A pass is asked for boxes from this share of its limit on: one pass may measure an object a little smaller than another."""


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        scene: the scene as this pass reads it.
        grid: its windows.
        first: number of its first window, counted over all passes.
        scale: pixels of the first pass's grid per pixel of this one, along x and y.
        least_px: longer side of the smallest boxes that it is asked for, in pixels of the first pass's grid.
        class_ids: of the classes that it is asked for; of all if None.
    """

    scene: Scene
    grid: Grid
    first: int
    scale: tuple[float, float]
    least_px: float
    class_ids: tuple[int, ...] | None = None

    def asks_for(self, class_id: int) -> bool:
        """Whether the pass answers for a class."""
        return self.class_ids is None or class_id in self.class_ids

    def asked_of(self, detections: Detections) -> Detections:
        """Those of the classes that the pass is asked for."""
        return detections if self.class_ids is None else detections.of_classes(self.class_ids)

    def window(self, number: int) -> Window:
        """The window of a number that is counted over all passes."""
        return self.grid[number - self.first]

    def numbered(self, searched: Searched) -> Searched:
        """The same with windows numbered over all passes."""
        own = searched.finished
        finished = Finished(
            {self.first + i: detections for i, detections in own.found.items()},
            [self.first + i for i in own.blank],
            [self.first + i for i in own.nodata],
            {self.first + i: gaps for i, gaps in own.gaps.items()},
            own.missed if own.missed is None or self.asks_for(own.missed[1]) else None,
        )
        return replace(
            searched, finished=finished, damaged={self.first + i: why for i, why in searched.damaged.items()}
        )


def make_passes(
    scene: Scene, window_px: int, overlap_px: int, scales: tuple[float, ...], reductions: Sequence[float] = ()
) -> tuple[Pass, ...]:
    """The pass at full resolution, one for each of ``scales`` as long as there is more than a window to see, and of ``reductions``.

    Args:
        scene: at full resolution.
        window_px: side of a window, in all passes.
        overlap_px: what neighbours share at least, in all passes.
        scales: reductions, ascending: 4 makes one pixel of four by four.
        reductions: of each class, how many times coarser it is to be seen; all are seen as they are if none is given. Passes
            for these classes alone come last.

    Raises:
        UserError: scales that do not ascend from above 1 to 64; more than ten million windows; see ``window_grid``.
    """
    if list(scales) != sorted(set(scales)) or not all(1 < factor <= MAX_SCALE for factor in scales):
        raise UserError(
            f"scales {', '.join(f'{f:g}' for f in scales)}: give rising numbers above 1, up to {MAX_SCALE:g}"
        )
    passes: list[Pass] = []
    coarse = classes_by_reduction(reductions)
    usual = coarse.pop(1.0, ()) if coarse else None
    limit_px = 0.0
    for factor in (1.0, *scales):
        passes.append(_pass(scene, factor, window_px, overlap_px, passes, JITTER * limit_px, usual))
        if len(passes[-1].grid) == 1:
            break
        limit_px = overlap_px * factor
    for factor, class_ids in coarse.items():
        passes.append(_pass(scene, factor, window_px, overlap_px, passes, 0.0, class_ids))
    return tuple(passes)


def classes_by_reduction(reductions: Sequence[float]) -> dict[float, tuple[int, ...]]:
    """Reduction -> ids of the classes that are seen so much coarser, rising; nothing where all are seen as they are."""
    if not any(reduction > 1 for reduction in reductions):
        return {}
    return {r: tuple(i for i, own in enumerate(reductions) if own == r) for r in sorted(set(reductions))}


def _pass(
    scene: Scene,
    factor: float,
    window_px: int,
    overlap_px: int,
    before: Sequence[Pass],
    least_px: float,
    class_ids: tuple[int, ...] | None,
) -> Pass:
    """The pass over a scene reduced by ``factor`` that comes after others."""
    seen = scene if factor == 1 else scene.reduced(factor)
    _refuse_too_many(seen, window_px, overlap_px)
    grid = window_grid(seen.grid_width_px, seen.grid_height_px, window_px, overlap_px)
    scale = scene.grid_width_px / seen.grid_width_px, scene.grid_height_px / seen.grid_height_px
    first = before[-1].first + len(before[-1].grid) if before else 0
    return Pass(seen, grid, first, scale, least_px, class_ids)


def _refuse_too_many(scene: Scene, window_px: int, overlap_px: int) -> None:
    """UserError where nobody could wait for all windows, nor memory hold what is noted of them."""
    sides_px = scene.grid_width_px, scene.grid_height_px
    if min(window_px, overlap_px, window_px - overlap_px) <= 0:
        return  # which window_grid refuses
    count = math.prod(windows_along(side_px, window_px, overlap_px) for side_px in sides_px)
    if count > MAX_WINDOWS:
        raise UserError(
            f"{scene.name}: {sides_px[0]}x{sides_px[1]} px are {count:.1e} windows, and more than {MAX_WINDOWS:,} are not "
            "searched at once; cut it into parts, or search it at a coarser GSD (--gsd-m)"
        )
