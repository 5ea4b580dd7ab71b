"""Classes: a thing that stands out in a photograph, with its like there, and how it is shown elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fsod.data.photographs.album import Album
from fsod.data.photographs.standing_out import Thing, unlikeness
from fsod.errors import UserError

LENGTHS_PX = (5.0, 120.0)  # a class's things are shown so long
ENLARGED = (0.25, 3.5)
ITS_LIKE = 2.3  # unlikeness up to which two things of a photograph are of one class
MOST_MEMBERS = 12
TRIES = 40


@dataclass(frozen=True)
class CutClass:
    """Things of one class.

    Attributes:
        photograph: where they stand, a position in the album.
        members: what was cut out of it.
        enlarged: how they are shown.
        stretched: likewise, along x.
        tint: (3,) factors on red, green and blue.
        arrangement: how they stand together where they are pasted.
        height: length of the shadow that they throw, in their own long sides; 0 for none.
        softness_px: of their edges.
    """

    photograph: int
    members: tuple[Thing, ...]
    enlarged: float
    stretched: float
    tint: NDArray[np.float64]
    arrangement: Literal["alone", "row", "grid", "about", "clump"]
    height: float
    softness_px: float

    @property
    def longer_px(self) -> float:
        """Of its largest member, as it is shown."""
        return self.enlarged * max(thing.longer_px for thing in self.members)


def random_class(rng: np.random.Generator, album: Album) -> CutClass:
    """A class of things of one photograph, shown at any size."""
    wanted_px = float(np.exp(rng.uniform(*np.log(LENGTHS_PX))))
    best: tuple[float, int, Thing] | None = None
    for _ in range(TRIES):
        i = int(rng.integers(len(album)))
        things = album.things(i)
        if not things:
            continue
        lengths, clear = np.array([(thing.longer_px, thing.clearness) for thing in things]).T
        # small things are many, and most of what is small would have to be enlarged until it is a blur
        weight = lengths * clear**2 * np.exp(-np.maximum(np.log(wanted_px / lengths) - np.log(2.5), 0) * 3)
        thing = things[int(rng.choice(len(things), p=weight / weight.sum()))]
        blur = wanted_px / thing.longer_px
        if best is None or blur < best[0]:
            best = blur, i, thing
        if blur <= ENLARGED[1]:
            break
    if best is None:
        raise UserError("grounds: nothing stands out in these photographs; give some that show more than one colour")
    _, i, thing = best
    things = album.things(i)
    order = unlikeness(things, thing)
    alike = [things[j] for j in np.argsort(order)[:MOST_MEMBERS] if order[j] < ITS_LIKE]
    return CutClass(
        photograph=i,
        members=tuple(alike),
        enlarged=float(np.clip(wanted_px / thing.longer_px, *ENLARGED)),
        stretched=float(np.exp(rng.normal(0, 0.08))),
        tint=_tint(rng, 0.12),
        arrangement=("alone", "row", "grid", "about", "clump")[int(rng.choice(5, p=(0.35, 0.25, 0.08, 0.17, 0.15)))],
        height=float(rng.uniform(0.1, 0.6)) if rng.random() < 0.5 else 0.0,
        softness_px=float(rng.uniform(0.3, 1.1)),
    )


def like_but_for_one(rng: np.random.Generator, cut: CutClass) -> CutClass:
    """A class that differs from another one in size, colour or shape."""
    which = rng.integers(3)
    if which == 0:
        factor = rng.uniform(1.5, 2.2)
        shrinks = cut.longer_px * factor > LENGTHS_PX[1] or (cut.longer_px > 14 and rng.random() < 0.5)
        return replace(cut, enlarged=cut.enlarged / factor if shrinks else cut.enlarged * factor)
    if which == 1:
        return replace(cut, tint=cut.tint * _tint(rng, 0.35))
    return replace(cut, stretched=cut.stretched * float(rng.choice([0.6, 1.6])))


def _tint(rng: np.random.Generator, spread: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(rng.normal(0, spread) + rng.normal(0, 0.5 * spread, 3)))
