"""Boxes as arrays: the detections container and the arithmetic that every floor shares.

Pixel boxes are ``xyxy``: left, top, right, bottom in pixels from the image's top left corner, where the first pixel
covers 0..1. So a box's width is ``x2 - x1``, without the "+1" of older benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError

if TYPE_CHECKING:
    import supervision

MOST_PAIRS = 2**22
"""Of boxes, whose IoUs are taken at once: that needs a quarter of a gigabyte."""


@dataclass(frozen=True)
class Detections:
    """Boxes found in one image, window or scene.

    Attributes:
        boxes_xyxy_px: (n, 4) float64, pixels.
        scores: (n,) float32 in 0..1.
        class_ids: (n,) int64, index into the class names of whoever made the detections.
        missed: of nothing at all, the best score that there was and its class id, where whoever made the detections says so.
        class_names: by class id, where whoever made the detections says so.
    """

    boxes_xyxy_px: NDArray[np.float64]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    missed: tuple[float, int] | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.boxes_xyxy_px)
        if self.boxes_xyxy_px.shape != (n, 4) or self.scores.shape != (n,) or self.class_ids.shape != (n,):
            raise ValueError(
                f"detections do not fit together: boxes {self.boxes_xyxy_px.shape}, scores {self.scores.shape}, "
                f"class ids {self.class_ids.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        """The detections at ``index``, a boolean mask or integer positions."""
        boxes, scores, class_ids = self.boxes_xyxy_px[index], self.scores[index], self.class_ids[index]
        return Detections(boxes, scores, class_ids, class_names=self.class_names)

    def of_classes(self, class_ids: Sequence[int]) -> Detections:
        """The detections of these classes."""
        return self.select(np.isin(self.class_ids, class_ids))

    def scaled(self, x: float, y: float) -> Detections:
        """The same detections in a frame whose pixels are so many times smaller along each axis."""
        return replace(self, boxes_xyxy_px=self.boxes_xyxy_px * np.array([x, y, x, y], dtype=np.float64))

    def shift(self, dx_px: float, dy_px: float) -> Detections:
        """The same detections in a frame whose origin lies at (-dx_px, -dy_px) of this one."""
        offset = np.array([dx_px, dy_px, dx_px, dy_px], dtype=np.float64)
        return Detections(self.boxes_xyxy_px + offset, self.scores, self.class_ids, class_names=self.class_names)

    def to_supervision(self) -> supervision.Detections:
        """The same for supervision, which is imported here alone: its ``class_name`` data hold the names, if there are any.

        Raises:
            UserError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise UserError("to_supervision needs the package supervision: pip install supervision") from error
        names = np.array([self.class_names[i] for i in self.class_ids] if self.class_names else [], dtype=str)
        data = {"class_name": names} if self.class_names else {}
        boxes = self.boxes_xyxy_px.astype(np.float32)
        return supervision.Detections(boxes, confidence=self.scores, class_id=self.class_ids, data=data)

    @staticmethod
    def empty() -> Detections:
        """No detections at all."""
        return Detections(np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @staticmethod
    def concatenate(parts: list[Detections]) -> Detections:
        """All detections of ``parts``, in order."""
        if not parts:
            return Detections.empty()
        return Detections(
            np.concatenate([p.boxes_xyxy_px for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.class_ids for p in parts]),
        )


def area_px(boxes_xyxy_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Areas of (n, 4) boxes in square pixels; 0 for boxes that are turned inside out."""
    sides = np.clip(boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2], 0, None).astype(np.float64)
    return np.asarray(sides[:, 0] * sides[:, 1])


def longer_side_px(boxes_xyxy_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """The longer side of each of (n, 4) boxes, in pixels."""
    return np.asarray((boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).max(axis=1).astype(np.float64))


def intersection_px(a_xyxy_px: NDArray[np.floating], b_xyxy_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection areas of every box of a (n, 4) with every box of b (m, 4): (n, m) square pixels."""
    a, b = a_xyxy_px.astype(np.float64), b_xyxy_px.astype(np.float64)
    # side by side, as arrays of two numbers a pair take several times as long
    width, height = (
        np.clip(np.minimum.outer(a[:, end], b[:, end]) - np.maximum.outer(a[:, start], b[:, start]), 0, None)
        for start, end in ((0, 2), (1, 3))
    )
    return np.asarray(width * height)


def iou(a_xyxy_px: NDArray[np.floating], b_xyxy_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of every box of a (n, 4) with every box of b (m, 4): (n, m) in 0..1."""
    inter = intersection_px(a_xyxy_px, b_xyxy_px)
    union = area_px(a_xyxy_px)[:, None] + area_px(b_xyxy_px)[None] - inter
    return inter / np.maximum(union, 1e-12)


def in_parts(count: int, others: int) -> Iterator[slice]:
    """Parts of so many boxes, at least one, each of which makes at most ``MOST_PAIRS`` with so many others."""
    step = max(1, MOST_PAIRS // max(others, 1))
    return (slice(start, start + step) for start in range(0, max(count, 1), step))


def nms(detections: Detections, iou_threshold: float, *, across_classes: bool = False) -> Detections:
    """Greedy non-maximum suppression, best score first.

    Args:
        detections: boxes of one image (thousands, not a scene's worth: the cost is quadratic in the worst case).
        iou_threshold: a box is dropped when its IoU with a better one exceeds this (0..1).
        across_classes: let boxes of different classes suppress each other too.
    """
    if not len(detections):
        return detections
    xywh = detections.boxes_xyxy_px.copy()
    xywh[:, 2:] -= xywh[:, :2]
    classes = np.zeros_like(detections.class_ids) if across_classes else detections.class_ids
    # lists: OpenCV's type information knows sequences only, and it copies arrays into vectors element by element anyway
    keep = cv2.dnn.NMSBoxesBatched(xywh.tolist(), detections.scores.tolist(), classes.tolist(), 0.0, iou_threshold)
    return detections.select(np.asarray(keep, dtype=np.intp).reshape(-1))


def best_of_rivals(detections: Detections, iou_threshold: float, most: int) -> Detections:
    """At most so many detections, best first: where boxes of two classes overlap more than the threshold the better stays."""
    kept = nms(detections, iou_threshold, across_classes=True)
    return kept.select(np.argsort(-kept.scores, kind="stable")[:most])


def match(
    truth_boxes_xyxy_px: NDArray[np.float64],
    truth_class_ids: NDArray[np.int64],
    detections: Detections,
    iou_threshold: float = 0.5,
) -> NDArray[np.int64]:
    """Who found whom, as COCO does it: by falling score, each takes the free box of its class that it overlaps most.

    Args:
        truth_boxes_xyxy_px: (n, 4), pixels.
        truth_class_ids: (n,), counted as the detections' class ids.
        detections: m of them, of the same image.
        iou_threshold: least overlap that counts as found, 0..1.

    Returns:
        (m,) position of the true box that a detection takes, -1 where it takes none.
    """
    taken, free = np.full(len(detections), -1, np.int64), np.ones(len(truth_boxes_xyxy_px), bool)
    order = np.argsort(-detections.scores, kind="stable")
    for part in in_parts(len(order), len(free)):
        overlap = iou(detections.boxes_xyxy_px[order[part]], truth_boxes_xyxy_px)
        overlap[detections.class_ids[order[part], None] != truth_class_ids[None]] = 0
        for i, own in zip(order[part], overlap, strict=True):
            still_free = np.where(free, own, 0)
            if still_free.size and still_free.max() >= iou_threshold:
                taken[i] = still_free.argmax()
                free[taken[i]] = False
    return taken
