"""Where scenes share ground, a mark on one of them says what is there on the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import compress

import numpy as np
import shapely
from numpy.typing import NDArray

from fsod.geo.boxes_elsewhere import boxes_elsewhere
from fsod.geo.scene import Scene
from fsod.steps.scene_marks import SceneMarks, are_there, one_multipolygon


def as_others_say(marks: Sequence[SceneMarks], scenes: Sequence[Scene]) -> list[SceneMarks]:
    """Marks whose areas and refusals leave out the places of marks on other scenes: an object is there, marked elsewhere.

    Args:
        marks: of each scene.
        scenes: the same, open; all with a CRS, or none, of which nothing is known then.
    """
    if scenes[0].georeference.crs is None:
        return list(marks)
    left = []
    for i, (own, scene) in enumerate(zip(marks, scenes, strict=True)):
        size_px = (scene.width_px, scene.height_px)
        for k, (other, there) in enumerate(zip(marks, scenes, strict=True)):
            if k != i and not (own.areas.is_empty and not own.refused_names):
                boxes = boxes_elsewhere(other.boxes_xyxy_px, there.georeference, scene.georeference, size_px)
                seen = np.asarray(np.isfinite(boxes).all(axis=1))
                names = [name for name, there_too in zip(other.class_names, seen, strict=True) if there_too]
                own = _without(own, boxes[seen], names)
        left.append(own)
    return left


def as_all_say(marks: Sequence[SceneMarks]) -> list[SceneMarks]:
    """The same of scenes that are not open; UserError for one that cannot be opened."""
    if len(marks) < 2 or marks[0].gsd_m is None:
        return list(marks)
    with ExitStack() as stack:
        return as_others_say(marks, [stack.enter_context(one.open()) for one in marks])


def _without(own: SceneMarks, boxes_xyxy_px: NDArray[np.float64], names: Sequence[str]) -> SceneMarks:
    """Marks of a scene whose areas and refusals leave out marks of other scenes."""
    refused_as = [name.removeprefix("not ") for name in own.refused_names]
    stays = ~are_there(own.refused_xyxy_px, refused_as, boxes_xyxy_px, names)
    return replace(
        own,
        refused_xyxy_px=own.refused_xyxy_px[stays],
        refused_names=tuple(compress(own.refused_names, stays.tolist())),
        areas=one_multipolygon([shapely.difference(own.areas, shapely.union_all(shapely.box(*boxes_xyxy_px.T)))]),
    )
