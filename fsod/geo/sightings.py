"""Boxes that remember which window saw them, and what that window could see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, area_px, longer_side_px
from fsod.geo.scene_nms import Pairs, paired_iou, touching_pairs

MOSTLY = 0.5
"""Share of its area above which a box counts as lying inside another one."""


@dataclass(frozen=True)
class Sightings:
    """Detections in the scene's frame, with their windows.

    Attributes:
        detections: n boxes in the frame that the windows lie in.
        windows_xyxy_px: (n, 4) the window that saw each.
        source_ids: (n,) int64, the number of that window.
    """

    detections: Detections
    windows_xyxy_px: NDArray[np.float64]
    source_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source_ids)

    def select(self, index: NDArray[np.bool_]) -> Sightings:
        """The sightings at ``index``, a boolean mask."""
        return Sightings(self.detections.select(index), self.windows_xyxy_px[index], self.source_ids[index])

    @staticmethod
    def of_window(detections: Detections, window_xyxy_px: NDArray[np.float64], source_id: int) -> Sightings:
        """What one window saw."""
        n = len(detections)
        return Sightings(detections, np.full((n, 4), window_xyxy_px, np.float64), np.full(n, source_id, dtype=np.int64))

    @staticmethod
    def concatenate(parts: list[Sightings]) -> Sightings:
        """All sightings of ``parts``, in order."""
        return Sightings(
            Detections.concatenate([p.detections for p in parts]),
            np.concatenate([np.zeros((0, 4)), *(p.windows_xyxy_px for p in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(p.source_ids for p in parts)]),
        )


def agreeing_pairs(first: Sightings, rest: Sightings, iou_threshold: float) -> Pairs:
    """Sightings of one object in two windows, at least one of them in ``first``.

    Two sightings of one class from different windows agree if they overlap by more than ``iou_threshold`` (IoU) where
    both windows look, i.e. each clipped to the other's window.

    Returns:
        (m, 2) positions in ``first`` followed by ``rest``; the first of a pair is the lower one, so it is in ``first``.
    """
    if not len(first):
        return np.zeros((0, 2), np.intp)
    both = Sightings.concatenate([first, rest])
    boxes = both.detections.boxes_xyxy_px
    chunks = []
    for pairs in touching_pairs(boxes, both.detections.class_ids):
        a, b = pairs[(pairs[:, 0] < len(first)) & (both.source_ids[pairs[:, 0]] != both.source_ids[pairs[:, 1]])].T
        iou = paired_iou(_clip(boxes[a], both.windows_xyxy_px[b]), _clip(boxes[b], both.windows_xyxy_px[a]))
        chunks.append(np.stack([a, b], axis=1)[iou > iou_threshold])
    return np.concatenate(chunks)


def parts_of_larger(parts: Sightings, others: Sightings, least_px: float, *, cut: bool) -> NDArray[np.bool_]:
    """Which of ``parts`` show no more than a part of an object that a wider window saw.

    That is what is at least ``least_px`` long and lies for the most part in an uncut box of its class, seen by a wider
    window, that reaches beyond the window which saw the part.

    Args:
        parts: n boxes.
        others: boxes that their windows did not cut; those of wider windows are looked at.
        least_px: smaller boxes are objects of their own.
        cut: ``parts`` were cut by their windows, so they are no whole objects, whatever reaches beyond.

    Returns:
        (n,) bool.
    """
    large = longer_side_px(parts.detections.boxes_xyxy_px) >= least_px
    part, whole = parts.select(large), others.select(_widths(others) > _widths(parts).min(initial=np.inf))
    n = len(part)
    boxes = np.concatenate([part.detections.boxes_xyxy_px, whole.detections.boxes_xyxy_px])
    widths = np.concatenate([_widths(part), _widths(whole)])
    shown = np.zeros(n, np.bool_)
    for pairs in touching_pairs(boxes, np.concatenate([part.detections.class_ids, whole.detections.class_ids])):
        a, b = pairs[(pairs[:, 0] < n) & (pairs[:, 1] >= n)].T
        shared = _clip(boxes[a], boxes[b])
        inside = area_px(shared) > MOSTLY * area_px(boxes[a])
        window = part.windows_xyxy_px[a]
        beyond = (boxes[b, :2] < window[:, :2]).any(axis=1) | (boxes[b, 2:] > window[:, 2:]).any(axis=1)
        shown[a[(widths[b] > widths[a]) & inside & (beyond | cut)]] = True
    result = np.zeros(len(parts), np.bool_)
    result[large] = shown
    return result


def join_parts(cut: Sightings, iou_threshold: float) -> Detections:
    """Cut boxes that agree, directly or through others, become their hull with the best score of them."""
    if not len(cut):
        return cut.detections
    group = _components(len(cut), agreeing_pairs(cut, cut.select(np.zeros(len(cut), np.bool_)), iou_threshold))
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    boxes, scores = cut.detections.boxes_xyxy_px[order], cut.detections.scores[order]
    hulls = np.concatenate(
        [np.minimum.reduceat(boxes[:, :2], starts), np.maximum.reduceat(boxes[:, 2:], starts)], axis=1
    )
    return Detections(hulls, np.maximum.reduceat(scores, starts), cut.detections.class_ids[order][starts])


def _clip(boxes_xyxy_px: NDArray[np.float64], windows_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
    starts = np.maximum(boxes_xyxy_px[:, :2], windows_xyxy_px[:, :2])
    return np.concatenate([starts, np.minimum(boxes_xyxy_px[:, 2:], windows_xyxy_px[:, 2:])], axis=1)


def _widths(sightings: Sightings) -> NDArray[np.float64]:
    return np.asarray(sightings.windows_xyxy_px[:, 2] - sightings.windows_xyxy_px[:, 0])


def _components(count: int, pairs: Pairs) -> NDArray[np.intp]:
    """The connected component of each of ``count`` nodes, named after its lowest node."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for a, b in pairs.tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(node) for node in range(count)], dtype=np.intp)
