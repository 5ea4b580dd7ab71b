"""A first, cheap look at a whole scene: the chance of each window to hold an object, before any is looked at.

The detector is shown the scene reduced. It is hardly certain of anything there. So it is asked
for all it has a faint idea of. A window's chance is the number of objects that are to be expected in it: the sum of the scores,
each shared out among the cores that its box lies in.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.geo.area import Area
from fsod.geo.journal import Glance
from fsod.geo.read_ahead import Reading
from fsod.geo.scene import Scene
from fsod.geo.search import Detect, search_windows
from fsod.geo.window_order import Limit
from fsod.geo.windows import STEP_PX, Grid, Window, window_grid

REDUCTIONS = (1.5, 2.0, 4.0, 8.0)
"""How many times reduced the scene may be looked at; the first that the limit leaves enough for is taken."""

MOST = 0.6
"""Of what may be spent in all, a look may take this share."""

OVERLAP_PX = STEP_PX
"""What windows of a look share. An object that their edge cuts is seen with less certainty; that is enough here."""

LEAST_SCORE = 0.002
"""Of what the detector is asked for. Higher ones lose what the reduction has made faint, see experiments/budget."""


@dataclass(frozen=True)
class Glancer:
    """What looks.

    Attributes:
        detect: as that of the search, from a score of ``LEAST_SCORE`` on. Where a search looks at each window in several
            turns, one of them is enough here.
        cost: of a window, in windows of the search.
    """

    detect: Detect
    cost: float = 1.0


def glance(reading: Reading, glancer: Glancer, area: Area | None, limit: Limit, total: int) -> Glance | None:
    """Looks at a scene as closely as the limit allows; None where it allows no look.

    Args:
        reading: of the windows at full resolution; which of them is not looked at.
        glancer: what looks.
        area: of interest.
        limit: of the search.
        total: windows of the search.
    """
    for reduction in REDUCTIONS:
        now = time.monotonic()
        if limit.ends is not None and now >= limit.ends:
            break
        scene = reading.scene.reduced(reduction)
        grid = window_grid(scene.grid_width_px, scene.grid_height_px, reading.window_px, OVERLAP_PX)
        indices = np.arange(len(grid)) if area is None else np.flatnonzero(area.reached(grid, scene))
        if limit.share is not None and len(indices) * glancer.cost > MOST * limit.share * total:
            continue
        ends = None if limit.ends is None else now + MOST * (limit.ends - now)
        look = replace(reading, scene=scene, grid=grid, indices=indices.tolist(), skip_damaged=True, ends=ends)
        seen = _look(look, glancer, reading.scene, reading.grid)
        if seen is not None:
            return seen
    return None


def _look(look: Reading, glancer: Glancer, scene: Scene, grid: Grid) -> Glance | None:
    """What a look says of the windows of ``grid``, which is of ``scene``; None as soon as the look is sure not to be done in time."""
    chances = np.zeros((len(grid.y.starts_px), len(grid.x.starts_px)))
    factors = scene.grid_width_px / look.scene.grid_width_px, scene.grid_height_px / look.scene.grid_height_px
    started, done, shown = time.monotonic(), 0, 0
    with closing(search_windows(look, glancer.detect)) as searches:
        for searched in searches:
            for number, found in searched.finished.found.items():
                _share_out(found, look.grid[number], factors, grid, chances)
            done += len(searched)
            shown += len(searched.finished.found)
            took = time.monotonic() - started
            if look.ends is not None and started + took * len(look.indices) / done > look.ends:
                return None
    return Glance(chances.ravel().round(6), shown, shown * glancer.cost) if done == len(look.indices) else None


def _share_out(
    found: Detections, window: Window, factors: tuple[float, float], grid: Grid, chances: NDArray[np.float64]
) -> None:
    """Adds the scores of what a window of a look answers for to ``chances`` (rows, columns) of a grid."""
    boxes = found.boxes_xyxy_px + np.tile([window.left_px, window.top_px], 2)
    centres, core = (boxes[:, :2] + boxes[:, 2:]) / 2, np.array(window.core_xyxy_px)
    own = ((centres >= core[:2]) & (centres < core[2:])).all(axis=1)
    boxes, scores = boxes[own] * np.tile(factors, 2), found.scores[own].astype(np.float64)
    columns, across = _shares(boxes[:, 0::2], grid.x.seams_px)
    rows, down = _shares(boxes[:, 1::2], grid.y.seams_px)
    chances[rows, columns] += np.einsum("n,nr,nc->rc", scores, down, across)


def _shares(sides_px: NDArray[np.float64], seams_px: NDArray[np.int64]) -> tuple[slice, NDArray[np.float64]]:
    """Of intervals (n, 2) with a length, which cores between seams they reach, and the share in each: (n, cores)."""
    if not len(sides_px):
        return slice(0), np.zeros((0, 0))
    first = int(np.searchsorted(seams_px[1:-1], sides_px.min(), "right"))
    last = int(np.searchsorted(seams_px[1:-1], sides_px.max(), "left")) + 1
    start, end = sides_px[:, :1], sides_px[:, 1:]
    inside = np.minimum(end, seams_px[first + 1 : last + 1]) - np.maximum(start, seams_px[first:last])
    return slice(first, last), np.asarray(inside.clip(0) / (end - start))
