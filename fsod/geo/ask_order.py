"""In which order an analyst's verdicts on detections teach most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, in_parts, iou

NOTHING = np.zeros((0, 4))

SAME_OBJECT_IOU = 0.5
"""A detection that overlaps a told box more is of the same object."""

EPSILON = 1e-6
"""Scores are kept this far from 0 and 1, where the logit has no end."""


def ask_order(
    detections: Detections, proposed_scores: Sequence[float], told_xyxy_px: NDArray[np.float64] = NOTHING
) -> NDArray[np.int64]:
    """Ranks of detections: the most doubtful one is 1.

    Doubt is the distance between the logits of a detection's score and of the score that is proposed for its class: what
    lies closest to the line between shown and not shown may be either. That is uncertainty sampling (Lewis and Gale 1994,
    arXiv cmp-lg/9407020). Of two that are equally doubtful the better score comes first. What the analyst has told already comes
    last.

    Args:
        detections: n of a scene.
        proposed_scores: by class id, 0..1.
        told_xyxy_px: (m, 4) boxes of the scene that were marked or judged before.

    Returns:
        (n,) ranks 1..n, each once.
    """
    if not len(detections):
        return np.zeros(0, np.int64)
    lines = np.asarray(proposed_scores, np.float64)[detections.class_ids]
    scores = detections.scores.astype(np.float64)
    boxes, parts = detections.boxes_xyxy_px, in_parts(len(detections), len(told_xyxy_px))
    told = np.concatenate([(iou(boxes[part], told_xyxy_px) >= SAME_OBJECT_IOU).any(axis=1) for part in parts])
    order = np.lexsort((-scores, np.abs(_logit(scores) - _logit(lines)).round(9), told))
    ranks = np.empty(len(detections), np.int64)
    ranks[order] = np.arange(1, len(detections) + 1)
    return ranks


def _logit(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = np.clip(scores, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(scores / (1 - scores)))
