"""How many windows of a scene are looked at, and in which order, where not all can be.

The order hangs on the scene alone, not on how far a run gets in it: a run that stopped is gone on with by one that may go
farther.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsod.geo.journal import Glance
from fsod.geo.passes import Pass
from fsod.geo.windows import Grid

EVEN = 0.05
"""Share of the windows that are looked at which are spread evenly over the scene, whatever chance they are given."""

LATTICE = (0.7548776662466927, 0.5698402909980532)
"""Steps along columns and rows whose sums, modulo 1, number the cells of a plane so that the first of them lie evenly in it:
powers of the inverse of the plastic number, after M. Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences"."""


@dataclass(frozen=True)
class Limit:
    """How much of a scene may be looked at.

    Attributes:
        share: of what all its windows cost (0..1), the first look at the whole scene included, but one window at least; None:
            no limit.
        ends: when the search ends, as of ``time.monotonic``; None: when it is done.
    """

    share: float | None = None
    ends: float | None = None


@dataclass(frozen=True)
class Turn:
    """Windows of one pass, in the order in which they are looked at.

    Attributes:
        one: the pass.
        indices: numbers in its own grid.
    """

    one: Pass
    indices: list[int]


def all_windows(passes: Sequence[Pass], todo: NDArray[np.bool_]) -> list[Turn]:
    """Every window that is to do, row by row; ``todo`` (windows of all passes,)."""
    return [Turn(one, np.flatnonzero(todo[one.first : one.first + len(one.grid)]).tolist()) for one in passes]


def likeliest_windows(
    passes: Sequence[Pass],
    asked: NDArray[np.bool_],
    todo: NDArray[np.bool_],
    limit: Limit,
    seen: Glance | None,
) -> list[Turn]:
    """The windows that a search with a limit looks at.

    Passes over reductions come first, coarsest first, as each of their windows sees most of the scene; then that at full
    resolution.

    Args:
        passes: that at full resolution first.
        asked: (windows of all passes,) which the whole search is about.
        todo: (windows of all passes,) those of ``asked`` that no earlier run has finished.
        limit: of the search.
        seen: what a first look said; None: there was none.
    """
    turns = []
    left = int(asked.sum())
    if limit.share is not None:
        left = max(1, int(limit.share * left - (0 if seen is None else seen.cost)))
    for one in reversed(passes):
        own = np.flatnonzero(asked[one.first : one.first + len(one.grid)])
        order = own[in_order(one.grid, own, seen.chances if seen is not None and one is passes[0] else None)][:left]
        left -= len(order)
        turns.append(Turn(one, order[todo[one.first + order]].tolist()))
    return turns


def in_order(grid: Grid, numbers: NDArray[np.int64], chances: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Positions in ``numbers`` by falling chance, with an even spread among them; of unknown chances the spread alone.

    Args:
        grid: of the windows.
        numbers: (n,) windows of it.
        chances: (windows of the grid,), or None.

    Returns:
        (n,) int64. Of any beginning of it, ``EVEN`` is spread evenly, to the nearest window, and the rest are the likeliest. So
        the likeliest come first: where a budget pays for few windows, none of them is taken blindly.
    """
    rows, columns = np.divmod(numbers, len(grid.x.starts_px))
    even = np.argsort((columns * LATTICE[0] + rows * LATTICE[1]) % 1, kind="stable")
    if chances is None:
        return even
    turns = np.empty((2, len(numbers)))
    middles = np.arange(len(numbers)) + 0.5
    turns[0, even] = middles / EVEN
    turns[1, np.argsort(-chances[numbers], kind="stable")] = middles / (1 - EVEN)
    # each window comes when the sooner of the two orders has reached it
    return np.argsort(turns.min(axis=0), kind="stable")
