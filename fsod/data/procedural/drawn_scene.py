"""A whole scene: objects of some families placed on a ground among clutter, lit by one sun, seen by one sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsod.data.procedural.grammar import Family
from fsod.data.procedural.grounds import sample_ground
from fsod.data.procedural.layout import Layout
from fsod.data.procedural.paint import sample_light, stamp, stamp_shadow
from fsod.data.procedural.sensor import photograph

_ORDER = {"stream": 0, "shore": 1, "water": 2, "land": 2}


@dataclass(frozen=True)
class DrawnScene:
    """A picture and what is in it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy_px: (n, 4) float64, exact bounds of what each object covers inside the image, without its shadow.
        class_ids: (n,) int64, index into the families that were asked for.
    """

    image: NDArray[np.uint8]
    boxes_xyxy_px: NDArray[np.float64]
    class_ids: NDArray[np.int64]


def draw_scene(
    rng: np.random.Generator,
    size_px: tuple[int, int],
    families: Sequence[Family],
    counts: Sequence[int],
    *,
    clutter: Sequence[Family] = (),
    clutter_count: int = 0,
    gsd_m: float = 1.0,
) -> DrawnScene:
    """Draws a scene; the same generator state gives the same scene, bit for bit.

    No object hides another, and none is cut by the image's edge so far that less than 60 % of it is seen. Where no
    room is found for an object after some tries it is left out, so there may be fewer than asked for.

    Args:
        rng: source of every choice.
        size_px: height and width of the image.
        families: the classes; a box's class id is a position in this sequence.
        counts: how many objects of each family, at most.
        clutter: families of unlabelled objects.
        clutter_count: how many of those in all, at most.
        gsd_m: ground size of a pixel in metres.

    Raises:
        ValueError: families and counts differ in number.
    """
    wanted: list[tuple[int | None, Family, int]] = [
        (i, family, count) for i, (family, count) in enumerate(zip(families, counts, strict=True)) if count > 0
    ]
    layout = Layout(
        ground=sample_ground(rng, size_px, _water_share(rng, [family for _, family, _ in wanted])),
        light=sample_light(rng),
        gsd_m=gsd_m,
        taken=np.zeros(size_px, np.uint8),
    )
    # what needs a place of its own goes first, then the large before the small
    wanted.sort(key=lambda item: (_ORDER[item[1].setting], -item[1].size_m[1]))
    lot = rng.integers(max(len(clutter), 1), size=clutter_count)
    wanted += [(None, family, int((lot == i).sum())) for i, family in enumerate(clutter)]
    for class_id, family, count in wanted:
        left = count
        while left > 0:
            group = min(left, _group_size(rng, family))
            layout.place_group(rng, family, group, class_id)
            left -= group
    for sprite in layout.sprites:
        stamp_shadow(layout.ground.image, sprite, layout.light)
    for sprite in layout.sprites:
        stamp(layout.ground.image, sprite)
    return DrawnScene(
        image=photograph(rng, layout.ground.image),
        boxes_xyxy_px=np.array(layout.boxes_xyxy_px, np.float64).reshape(-1, 4),
        class_ids=np.array(layout.class_ids, np.int64),
    )


def _water_share(rng: np.random.Generator, families: Sequence[Family]) -> float:
    afloat = [family.setting in ("water", "shore") for family in families]
    if not any(afloat):
        return float(rng.uniform(0.1, 0.3)) if rng.random() < 0.12 else 0.0
    return float(rng.uniform(0.55, 0.75) if all(afloat) else rng.uniform(0.35, 0.5))


def _group_size(rng: np.random.Generator, family: Family) -> int:
    return 1 if family.arrangement == "alone" or rng.random() < 0.4 else int(rng.integers(2, 6))
