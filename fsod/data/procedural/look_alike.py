"""Look-alikes: families that differ from another in one attribute only, as hard negatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from fsod.data.procedural import shapes as s
from fsod.data.procedural.grammar import Design, Family, build_motif, motif

_CANVAS_PX = 96
_SEEN = (0.06, 0.7)  # a part is worth taking away if it fills this share of the object


def look_alike(family: Family, rng: np.random.Generator) -> Family:
    """A hard negative: ``family`` with one attribute changed, and nothing else but the name.

    The change is its aspect, stripes or dots that it did not have, one part less, or one copy of a repeated part more
    or less. Of a family of several designs only those remain that the change can be made to.
    """
    changes: tuple[Callable[[Family, np.random.Generator], Family], ...] = (
        _squashed,
        _marked,
        _without_a_part,
        _recounted,
    )
    for i in rng.permutation(len(changes)):
        changed = changes[i](family, rng)
        if changed != family:
            return replace(changed, name=f"{family.name}~{rng.integers(1 << 16):04x}")
    raise AssertionError("a squashed family always differs")


def _squashed(family: Family, rng: np.random.Generator) -> Family:
    factor = 0.6 if rng.random() < 0.5 else 1.6
    return replace(family, aspect=(family.aspect[0] * factor, family.aspect[1] * factor))


def _marked(family: Family, rng: np.random.Generator) -> Family:
    colour = min(len(palette) for palette in family.palettes) - 1
    if rng.random() < 0.5:
        extra = motif(s.bar, colour, copies=int(rng.integers(2, 5)), step_x=0.17, length=0.05, width=0.45)
    else:
        extra = motif(s.disc, colour, fold=int(rng.integers(3, 7)), x=0.26, length=0.11, width=0.11)
    return replace(family, designs=tuple((*design, extra) for design in family.designs))


def _without_a_part(family: Family, rng: np.random.Generator) -> Family:
    designs: list[Design] = []
    for design in family.designs:
        shares = _seen_shares(design)
        spare = [i for i, share in enumerate(shares) if _SEEN[0] <= share <= _SEEN[1]]
        if spare and len(design) > 1:
            gone = spare[int(rng.integers(len(spare)))]
            designs.append(design[:gone] + design[gone + 1 :])
    return _redesigned(family, designs)


def _recounted(family: Family, rng: np.random.Generator) -> Family:
    more = 1 if rng.random() < 0.5 else -1
    designs: list[Design] = []
    for design in family.designs:
        repeated = [i for i, item in enumerate(design) if item.fold > 2 or item.copies[0] > 2]
        if repeated:
            place = repeated[int(rng.integers(len(repeated)))]
            item = design[place]
            count = item.copies[more > 0] + more
            item = replace(item, fold=item.fold + more) if item.fold > 2 else replace(item, copies=(count, count))
            designs.append((*design[:place], item, *design[place + 1 :]))
    return _redesigned(family, designs)


def _redesigned(family: Family, designs: list[Design]) -> Family:
    """The family with those of ``designs`` that it does not come in anyway; unchanged if there are none."""
    new = tuple(design for design in designs if design not in family.designs)
    return replace(family, designs=new or family.designs)


def _seen_shares(design: Design) -> list[float]:
    """Which share of an object's pixels each motif fills, after what lies over it."""
    rng = np.random.default_rng(0)
    canvas = np.zeros((_CANVAS_PX, _CANVAS_PX), np.uint8)
    for i, item in enumerate(design):
        for facet in build_motif(rng, item):
            points = np.rint(facet.points * _CANVAS_PX / 1.6 + _CANVAS_PX / 2).astype(np.int32)
            cv2.fillPoly(canvas, [points], i + 1)
    counts = np.bincount(canvas.ravel(), minlength=len(design) + 1)[1:]
    return [float(share) for share in counts / counts.sum()]
