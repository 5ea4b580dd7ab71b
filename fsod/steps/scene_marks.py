"""What is known of a scene: marks, distractors, areas in which everything is marked, and how it is seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from fsod.band_rule import BandRule, each_once
from fsod.errors import UserError
from fsod.geo.features import polygons_in
from fsod.geo.scene import Scene
from fsod.geo.scene_list import short_name
from fsod.geo.scene_nms import nms_scene
from fsod.geo.scene_opening import open_scene
from fsod.store.bank_merge import same_gsd

LEAST_PX = 1.0
"""A mark whose sides are shorter shows nothing."""

SAME_OBJECT_IOU = 0.5
"""Boxes of one class that overlap more mark one object."""

ALMOST_ALIKE, MORE_FREQUENT = 0.85, 3
"""A name may be misspelt where it is so much like one that has at least three times as many marks."""

NO_BOXES = np.zeros((0, 4))


@dataclass(frozen=True)
class SceneMarks:
    """What is known of one scene.

    Attributes:
        scene: as it was named, see ``fsod.geo.scene_list``.
        name: of its file.
        width_px: its columns.
        height_px: its rows.
        gsd_m: of its pixels, None where it has no CRS.
        boxes_xyxy_px: (n, 4) float64 in its own pixels, inside it: marks, then what a verdict says yes to. An object that
            is marked, or judged twice, is there once, as marked or as judged first.
        class_names: n names.
        refused_xyxy_px: (m, 4) the same of distractors, then of what a verdict says no to; but not where a mark of the class
            is: who says no there says it of the outline.
        refused_names: m names; ``not NAME`` for a verdict on NAME.
        areas: in the scene's pixels, inside it; whatever is not marked there is background. Empty if none is given.
        shown: which bands of it are seen; None: by its own words.
        cut_from: which bands of another raster its pixels are, where it is an image of a prepared folder.
        judged: run that found them -> class name -> detections that were judged right, and wrong.
    """

    scene: str
    name: str
    width_px: int
    height_px: int
    gsd_m: float | None
    boxes_xyxy_px: NDArray[np.float64]
    class_names: tuple[str, ...]
    refused_xyxy_px: NDArray[np.float64]
    refused_names: tuple[str, ...]
    areas: shapely.MultiPolygon
    shown: BandRule | None = None
    cut_from: BandRule | None = None
    judged: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def on(
        cls,
        scene: Scene,
        boxes_xyxy_px: NDArray[np.float64],
        class_names: Sequence[str],
        refused_xyxy_px: NDArray[np.float64] = NO_BOXES,
        refused_names: Sequence[str] = (),
        areas: Sequence[shapely.MultiPolygon] = (),
        judged: Mapping[str, Mapping[str, tuple[int, int]]] | None = None,
    ) -> SceneMarks:
        """What is known of an open scene, which is to be seen as it is now."""
        return cls(
            scene=scene.name,
            name=short_name(scene.name),
            width_px=scene.width_px,
            height_px=scene.height_px,
            gsd_m=scene.georeference.gsd_m,
            boxes_xyxy_px=boxes_xyxy_px,
            class_names=tuple(class_names),
            refused_xyxy_px=refused_xyxy_px,
            refused_names=tuple(refused_names),
            areas=one_multipolygon(areas),
            shown=scene.shown,
            judged=judged or {},
        )

    def open(self, **how: Any) -> Scene:  # noqa: ANN401, they are those of ``open_scene``
        """The scene, with the bands, the nodata value and the tone that it was marked in; ``how`` goes to ``open_scene``."""
        how |= {"north_up": self.gsd_m is not None}  # marks of a prepared folder are in pixels as they are stored
        if self.shown is None:
            return open_scene(self.scene, **how)
        seen = self.shown
        return open_scene(self.scene, bands=seen.bands, nodata=seen.nodata, toned=seen.toned, **how)


def in_one_tone(marks: Sequence[SceneMarks]) -> list[SceneMarks]:
    """The same marks, all on scenes as they are if one of these is: plain pictures, and what an earlier version was shown."""
    if all(one.shown is not None and one.shown.toned for one in marks):
        return list(marks)
    return [
        replace(one, shown=None if one.shown is None else one.shown.model_copy(update={"toned": False}))
        for one in marks
    ]


def band_rules(marks: Iterable[SceneMarks]) -> tuple[BandRule, ...]:
    """What scenes are seen in, each rule once."""
    return each_once(rule for one in marks if (rule := one.cut_from or one.shown) is not None)


def check_alike(gsds_m: Sequence[tuple[str, float | None]]) -> None:
    """UserError for scenes, each a name and its GSD, that cannot be searched at one."""
    first_name, first_m = gsds_m[0]
    for name, gsd_m in gsds_m[1:]:
        if (first_m is None) != (gsd_m is None):
            with_crs, without = (name, first_name) if first_m is None else (first_name, name)
            raise UserError(f"{without}: has no usable CRS, but {with_crs} has one; give each its own bank")
        if first_m is not None and gsd_m is not None and not same_gsd(first_m, gsd_m):
            raise UserError(
                f"{name}: {gsd_m:.3g} m per pixel, but {first_name} has {first_m:.3g} m; give each its own bank"
            )


def check_distractors(names: Sequence[str], distractors: Sequence[str]) -> None:
    """UserError for a class that is to be its own distractor."""
    both = [name for name in distractors if name in names]
    if both:
        raise UserError(f"--not: {both[0]!r} is one of the classes; give what is mistaken for it another class")


def misspelt(counts: Mapping[str, int]) -> list[str]:
    """What a user should know of class names that are almost those of far more marks, or differ in capitals alone.

    Args:
        counts: name of a class -> its marks.
    """
    said = []
    for name, count in counts.items():
        others = {other: many for other, many in counts.items() if other.casefold() != name.casefold()}
        frequent = [other for other, many in others.items() if many >= MORE_FREQUENT * count]
        alike = [(other, "almost called") for other in get_close_matches(name, frequent, 1, ALMOST_ALIKE)]
        # of two that differ in capitals alone either may be meant
        alike += [
            (other, "but for capitals called")
            for other, many in counts.items()
            if other not in others and (many, other) > (count, name)
        ]
        said += [
            f"class {name!r} ({count} of the marks) is {how} {other!r} ({counts[other]}); if it is that, mend the name"
            for other, how in alike
        ]
    return said


def added_verdicts(counts: Iterable[Mapping[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    """For each class the detections that were judged right, and wrong, of all counts together."""
    added: dict[str, tuple[int, int]] = {}
    for count in counts:
        for name, (yes, no) in count.items():
            before = added.get(name, (0, 0))
            added[name] = before[0] + yes, before[1] + no
    return added


def are_there(
    boxes_xyxy_px: NDArray[np.float64],
    names: Sequence[str],
    others_xyxy_px: NDArray[np.float64],
    other_names: Sequence[str],
    *,
    or_before: bool = False,
) -> NDArray[np.bool_]:
    """Which boxes (n, 4) mark an object that another box of the same class marks: (n,).

    Args:
        boxes_xyxy_px: those that are asked about.
        names: their classes.
        others_xyxy_px: (m, 4).
        other_names: their classes.
        or_before: also those whose object a box before them marks, unless that one is there already.
    """
    class_ids = np.unique(np.array([*other_names, *names], dtype=str), return_inverse=True)[1]
    sources = np.zeros(len(class_ids), np.int64)
    sources[len(others_xyxy_px) :] = np.arange(1, len(names) + 1) if or_before else 1
    # of boxes with equal scores the first one stays
    both, scores = np.concatenate([others_xyxy_px, boxes_xyxy_px]), np.zeros(len(class_ids), np.float32)
    return ~nms_scene(both, scores, class_ids, SAME_OBJECT_IOU, sources)[len(others_xyxy_px) :]


def one_multipolygon(areas: Sequence[BaseGeometry]) -> shapely.MultiPolygon:
    """All areas as one, without overlaps."""
    return polygons_in(shapely.union_all(np.array(areas, dtype=object)))
