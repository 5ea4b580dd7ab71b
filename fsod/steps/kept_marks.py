"""Marks that a detector keeps in its file, so that a later training goes on from all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from fsod.band_rule import BandRule
from fsod.errors import UserError
from fsod.geo.raster_in_memory import is_in_memory
from fsod.geo.scene_list import is_gone, kept_name, short_name
from fsod.steps.scene_marks import SceneMarks, are_there, one_multipolygon
from fsod.store.any_header import read_any_header
from fsod.store.checkpoint import CheckpointHeader, read_header
from fsod.store.class_bank import BankHeader

RULES = ("shown", "cut_from")
"""Band rules of ``SceneMarks``."""


def kept_marks(marks: Sequence[SceneMarks]) -> list[dict[str, Any]]:
    """The same as JSON values, for a file that remembers what it was made from."""
    return [
        {
            "scene": kept_name(one.scene),
            "size_px": [one.width_px, one.height_px],
            "gsd_m": one.gsd_m,
            "boxes_xyxy_px": one.boxes_xyxy_px.round(3).tolist(),
            "class_names": list(one.class_names),
            "refused_xyxy_px": one.refused_xyxy_px.round(3).tolist(),
            "refused_names": list(one.refused_names),
            "areas": one.areas.wkt,
            **{name: rule.model_dump(mode="json") for name in RULES if (rule := getattr(one, name)) is not None},
            "judged_in": {search: {k: list(v) for k, v in counts.items()} for search, counts in one.judged.items()},
        }
        for one in marks
    ]


def marks_kept(kept: Sequence[dict[str, Any]], file: Path) -> list[SceneMarks]:
    """What ``kept_marks`` kept in ``file``; UserError for a scene that is not there (any more)."""
    try:
        found = [
            SceneMarks(
                scene=one["scene"],
                name=short_name(one["scene"]),
                width_px=one["size_px"][0],
                height_px=one["size_px"][1],
                gsd_m=one["gsd_m"],
                boxes_xyxy_px=np.array(one["boxes_xyxy_px"], np.float64).reshape(-1, 4),
                class_names=tuple(one["class_names"]),
                refused_xyxy_px=np.array(one["refused_xyxy_px"], np.float64).reshape(-1, 4),
                refused_names=tuple(one["refused_names"]),
                areas=one_multipolygon([shapely.from_wkt(one["areas"])]),
                **{name: BandRule.model_validate(one[name]) for name in RULES if one.get(name) is not None},
                judged={
                    search: {name: (yes, no) for name, (yes, no) in counts.items()}
                    for search, counts in one.get("judged_in", {}).items()
                },
            )
            for one in map(_with_searches, kept)
        ]
    except (KeyError, TypeError, ValueError, IndexError, shapely.errors.ShapelyError) as error:
        raise UserError(f"{file}: its record of marks is damaged ({error}); finetune on all marks anew") from error
    for one in found:
        if is_in_memory(one.scene):
            raise UserError(
                f"{file}: was made from an array or a picture that a Python program had in memory, so --from cannot go on "
                "from it; name it as --checkpoint"
            )
        if is_gone(one.scene):
            raise UserError(f"{file}: was made from {one.scene}, which is not there; put it back, or finetune anew")
    return found


def _with_searches(kept: dict[str, Any]) -> dict[str, Any]:
    """What an earlier version kept, which did not tell by which search the judged ones were found."""
    return {"judged_in": {"": kept["judged"]}, **kept} if kept.get("judged") else kept


def earlier_marks(detector: Path | None) -> list[SceneMarks]:
    """What a detector of ``fsod finetune`` was made from; UserError for other weights."""
    if detector is None:
        return []
    if read_any_header(detector).get("format") == BankHeader.FORMAT:
        raise UserError(
            f"{detector}: a class bank, whose weights are not its own, so --from cannot go on from it; leave --from out, "
            "and give --scene and --examples"
        )
    known = read_header(detector, CheckpointHeader).learned_from
    if known is None or not known.marks:
        raise UserError(f"{detector}: was not made from marks, so --from cannot go on from it; name it as --checkpoint")
    return marks_kept(known.marks, detector)


def joined_marks(earlier: Sequence[SceneMarks], later: Sequence[SceneMarks]) -> list[SceneMarks]:
    """What was said first and what is said now, once for each scene.

    A later mark takes the place of an earlier one of the same object. Where now a mark is, nothing is refused any more, and
    where now something is refused, no mark stays.
    """
    joined = {kept_name(one.scene): one for one in earlier}
    for new in later:
        old = joined.get(name := kept_name(new.scene))
        joined[name] = new if old is None else _joined_on_scene(old, new)
    return list(joined.values())


def _joined_on_scene(old: SceneMarks, new: SceneMarks) -> SceneMarks:
    taken_back = [name.removeprefix("not ") for name in new.refused_names]
    marks = ~(
        are_there(old.boxes_xyxy_px, old.class_names, new.boxes_xyxy_px, new.class_names)
        | are_there(old.boxes_xyxy_px, old.class_names, new.refused_xyxy_px, taken_back)
    )
    refused_as = [name.removeprefix("not ") for name in old.refused_names]
    refused = ~(
        are_there(old.refused_xyxy_px, old.refused_names, new.refused_xyxy_px, new.refused_names)
        | are_there(old.refused_xyxy_px, refused_as, new.boxes_xyxy_px, new.class_names)
    )
    return replace(
        new,
        boxes_xyxy_px=np.concatenate([old.boxes_xyxy_px[marks], new.boxes_xyxy_px]),
        class_names=(*compress(old.class_names, marks.tolist()), *new.class_names),
        refused_xyxy_px=np.concatenate([old.refused_xyxy_px[refused], new.refused_xyxy_px]),
        refused_names=(*compress(old.refused_names, refused.tolist()), *new.refused_names),
        areas=one_multipolygon([old.areas, new.areas]),
        judged={
            search: _most_judged(old.judged.get(search, {}), counts)
            for search, counts in {**old.judged, **new.judged}.items()
        },
    )


def _most_judged(
    before: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]]
) -> Mapping[str, tuple[int, int]]:
    """Of one search and each class: a layer that was judged further, or otherwise, says all; a copy that says less adds to it."""
    pairs = {name: (before.get(name, (0, 0)), now.get(name, (0, 0))) for name in {**before, **now}}
    return {name: b if sum(b) >= sum(a) else (max(a[0], b[0]), max(a[1], b[1])) for name, (a, b) in pairs.items()}
