"""Greedy non-maximum suppression for as many boxes as a whole scene has.

The keep set is that of the plain loop, best score first, class by class. Only pairs of boxes that touch are ever looked
at (a spatial index finds them), and all arithmetic is in float64: at 60,000 px from the origin float32 changes results.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from fsod.boxes import area_px

Pairs = NDArray[np.intp]
"""(m, 2) positions of boxes, the first less than the second."""

CHUNK = 20_000
"""Boxes queried at once: bounds the memory for candidate pairs in crowded scenes."""


def touching_pairs(boxes_xyxy_px: NDArray[np.float64], class_ids: NDArray[np.int64]) -> list[Pairs]:
    """Pairs of boxes of one class that touch, in chunks that together hold each pair once."""
    chunks: list[Pairs] = []
    for class_id in np.unique(class_ids):
        members = np.flatnonzero(class_ids == class_id)
        left, top, right, bottom = (boxes_xyxy_px[members, side] for side in range(4))
        outlines = shapely.box(left, top, right, bottom)
        index = shapely.STRtree(outlines)
        for start in range(0, len(members), CHUNK):
            a, b = index.query(outlines[start : start + CHUNK])
            once = a + start < b
            chunks.append(np.stack([members[a[once] + start], members[b[once]]], axis=1))
    return chunks


def paired_iou(a_xyxy_px: NDArray[np.float64], b_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of each box of a (n, 4) with the box of b (n, 4) in the same row: (n,) in 0..1."""
    sides = np.minimum(a_xyxy_px[:, 2:], b_xyxy_px[:, 2:]) - np.maximum(a_xyxy_px[:, :2], b_xyxy_px[:, :2])
    inter = np.prod(np.clip(sides, 0, None), axis=1)
    union = area_px(a_xyxy_px) + area_px(b_xyxy_px) - inter
    return np.asarray(inter / np.maximum(union, 1e-12))


def nms_scene(
    boxes_xyxy_px: NDArray[np.float64],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    iou_threshold: float,
    source_ids: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Which boxes stay: (n,) bool.

    Args:
        boxes_xyxy_px: (n, 4) boxes in one frame.
        scores: (n,); of equal scores the earlier box is the better one.
        class_ids: (n,); boxes of different classes never suppress each other.
        iou_threshold: a box goes when its IoU with a better one that stays exceeds this (0..1).
        source_ids: (n,) where each box comes from, e.g. its window; boxes of one source then leave each other alone,
            because whoever made them has settled them already. None compares all.
    """
    chunks = [np.zeros((0, 2), np.intp)]
    for pairs in touching_pairs(boxes_xyxy_px, class_ids):
        if source_ids is not None:
            pairs = pairs[source_ids[pairs[:, 0]] != source_ids[pairs[:, 1]]]
        iou = paired_iou(boxes_xyxy_px[pairs[:, 0]], boxes_xyxy_px[pairs[:, 1]])
        chunks.append(pairs[iou > iou_threshold])
    return _greedy(scores, np.concatenate(chunks))


def _greedy(scores: NDArray[np.float32], pairs: Pairs) -> NDArray[np.bool_]:
    """Settles rivals: in each round those without a better living rival stay, and theirs go."""
    rank = np.empty(len(scores), np.intp)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    first_is_better = rank[pairs[:, 0]] < rank[pairs[:, 1]]
    better = np.where(first_is_better, pairs[:, 0], pairs[:, 1])
    worse = np.where(first_is_better, pairs[:, 1], pairs[:, 0])
    stays = np.ones(len(scores), np.bool_)
    while len(better):
        beaten = np.zeros(len(scores), np.bool_)
        beaten[worse] = True
        stays[worse[~beaten[better]]] = False
        # a pair is settled once either of its boxes is out, or its better box has no rival left above it
        open_pairs = beaten[better] & stays[better] & stays[worse]
        better, worse = better[open_pairs], worse[open_pairs]
    return stays
