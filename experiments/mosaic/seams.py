"""Which objects are lost or reported twice where windows meet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.mosaic.build import Mosaic
from fsod.boxes import Detections, intersection_px, iou, longer_side_px
from fsod.data.coco_folder import CocoFolder, ImageRecord
from fsod.geo.windows import Grid, Window

SAME_OBJECT = 0.5  # IoU


def small_objects(folder: CocoFolder, limit_px: float) -> CocoFolder:
    """The folder without the objects whose longer side exceeds the limit."""
    images = tuple(image.keep(longer_side_px(image.boxes_xyxy_px) <= limit_px) for image in folder.images)
    return replace(folder, images=images)


def leave_out_large(
    folder: CocoFolder, found: dict[int, Detections], limit_px: float, names: list[str]
) -> dict[int, Detections]:
    """Detections without those of objects larger than the limit, as COCO leaves out what is out of its range of sizes.

    A detection that fits an object within the limit always counts. Of the others those are left out that are larger than
    the limit, or lie by more than half on a larger object of their class.
    """
    classes = np.array(folder.class_indices(names))
    kept = {}
    for image in folder.images:
        own = found[image.id]
        boxes, same = own.boxes_xyxy_px, classes[own.class_ids][:, None] == image.class_ids[None]
        small = longer_side_px(image.boxes_xyxy_px) <= limit_px
        fits = ((iou(boxes, image.boxes_xyxy_px) >= SAME_OBJECT) & same & small).any(axis=1)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None]
        on_large = ((intersection_px(boxes, image.boxes_xyxy_px) > 0.5 * area) & same & ~small).any(axis=1)
        large: NDArray[np.bool_] = on_large | (longer_side_px(boxes) > limit_px)
        kept[image.id] = own.select(np.flatnonzero(fits | ~large))
    return kept


def seen(objects: Detections, window: Window) -> Detections:
    """What a detector that knows the objects says of a window, in the window's pixels."""
    left, top, right, bottom = window.xyxy_px
    boxes = np.clip(objects.boxes_xyxy_px, [left, top, left, top], [right, bottom, right, bottom])
    inside = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return Detections(boxes, objects.scores, objects.class_ids).select(inside).shift(-left, -top)


def seam_errors(
    mosaic: Mosaic,
    known: CocoFolder,
    grid: Grid,
    one_pass: dict[int, Detections],
    merged: dict[int, Detections],
    by_window: dict[int, Detections],
    names: list[str],
    sure: float,
) -> dict[str, Any]:
    """Known objects counted by what became of them, where windows overlap (``at_seams``) and elsewhere.

    - twice: two merged detections of ``sure`` fit the object, and not two of the one pass.
    - lost: a detection of the one pass of ``sure`` fits it, no merged one of half as much does: what scores a little less
      in another frame is not lost.
    - gained: the other way round.
    - dropped: some window reports it surely, no merged detection of half as much does. This is the merging alone.
    """
    counts = {
        place: dict.fromkeys(("objects", "twice", "lost", "gained", "dropped"), 0)
        for place in ("at_seams", "elsewhere")
    }
    for image, left, top in mosaic.placed:
        record = next(i for i in known.images if i.id == image.id)
        alone, now, raw = (_fitting(record, d[image.id], known, names) for d in (one_pass, merged, by_window))
        at_seams = _on_strips(record.boxes_xyxy_px + np.tile([left, top], 2), grid)
        found = {
            "objects": np.ones(len(record.boxes_xyxy_px), np.bool_),
            "twice": ((now >= sure).sum(axis=0) > 1) & ((alone >= sure).sum(axis=0) < 2),
            "lost": (_best(alone) >= sure) & (_best(now) < sure / 2),
            "gained": (_best(now) >= sure) & (_best(alone) < sure / 2),
            "dropped": (_best(raw) >= sure) & (_best(now) < sure / 2),
        }
        for what, hit in found.items():
            counts["at_seams"][what] += int((hit & at_seams).sum())
            counts["elsewhere"][what] += int((hit & ~at_seams).sum())
    return counts


def _fitting(image: ImageRecord, found: Detections, folder: CocoFolder, names: list[str]) -> NDArray[np.float64]:
    """Score of each detection for each object of its class that it fits, else 0: (detections, objects)."""
    classes = np.array(folder.class_indices(names))[found.class_ids]
    fits = (iou(found.boxes_xyxy_px, image.boxes_xyxy_px) >= SAME_OBJECT) & (classes[:, None] == image.class_ids)
    return fits * found.scores[:, None].astype(np.float64)


def _best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores.max(axis=0, initial=0)


def _on_strips(boxes_xyxy_px: NDArray[np.float64], grid: Grid) -> NDArray[np.bool_]:
    """Which boxes touch what two windows share."""
    touching = np.zeros(len(boxes_xyxy_px), np.bool_)
    for axis, (starts, ends) in enumerate(
        ((boxes_xyxy_px[:, 0], boxes_xyxy_px[:, 2]), (boxes_xyxy_px[:, 1], boxes_xyxy_px[:, 3]))
    ):
        for first, end in _strips((grid.x, grid.y)[axis].starts_px, (grid.x, grid.y)[axis].window_px):
            touching |= (starts < end) & (ends > first)
    return touching


def _strips(starts_px: tuple[int, ...], window_px: int) -> Iterable[tuple[int, int]]:
    return ((after, before + window_px) for before, after in pairwise(starts_px))
