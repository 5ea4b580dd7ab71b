"""What became of every detection and every true box: hits, misses, and false alarms by their kind.

The kinds are those of TIDE (Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors"). A
detection that takes no true box (`fsod.boxes.match`, IoU 0.5) is, by the first of these that holds:

- duplicate: it has IoU 0.5 with a box of its class, which a better detection has taken;
- class: it has IoU 0.5 with a box of another class;
- localisation: it has IoU 0.1 with a box of its class;
- class and place: it has IoU 0.1 with a box of another class;
- background: it lies on nothing.

What the data set's protocol passes over (see ``passed_over``) is neither: such detections and boxes are not judged at all.

A true box is missed if no detection takes it and no class or localisation error lies on it: it was not seen at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, area_px, in_parts, intersection_px, iou, match
from fsod.data.coco_folder import CocoFolder, ImageRecord

NEAR, FOUND = 0.1, 0.5
"""IoU from which a detection has to do with a true box, and from which it has found it."""

FATES = ("hit", "duplicate", "class", "localisation", "class and place", "background")
HIT, DUPLICATE, CLASS, LOCALISATION, BOTH, BACKGROUND = range(len(FATES))


@dataclass(frozen=True)
class Answer:
    """One image's detections beside its true boxes.

    Attributes:
        truth_boxes_xyxy_px: (n, 4) float64.
        truth_class_ids: (n,) int64, counted as the detections' class ids.
        detections: in the same pixels.
    """

    truth_boxes_xyxy_px: NDArray[np.float64]
    truth_class_ids: NDArray[np.int64]
    detections: Detections

    def shown(self, scores: NDArray[np.float64]) -> Detections:
        """The detections that reach their class's score, (classes,)."""
        return self.detections.select(self.detections.scores >= scores[self.detections.class_ids])


@dataclass(frozen=True)
class Judged:
    """All detections and true boxes of many images.

    Attributes:
        scores: (m,) float64 in 0..1.
        class_ids: (m,) int64.
        fates: (m,) int64, positions in ``FATES``.
        partners: (m,) int64, the true box that a detection takes or lies on; -1 on background.
        truth_class_ids: (n,) int64.
    """

    scores: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    fates: NDArray[np.int64]
    partners: NDArray[np.int64]
    truth_class_ids: NDArray[np.int64]

    @property
    def missed(self) -> NDArray[np.bool_]:
        """(n,) true boxes that were not seen at all."""
        seen = self.partners[np.isin(self.fates, (HIT, CLASS, LOCALISATION))]
        return ~np.isin(np.arange(len(self.truth_class_ids)), seen)

    def above(self, scores: NDArray[np.float64]) -> Judged:
        """The same with only the detections that reach their class's score, (classes,).

        Fates stay true: whether a detection is a hit depends on better ones of its class alone.
        """
        kept = self.scores >= scores[self.class_ids]
        return Judged(
            self.scores[kept], self.class_ids[kept], self.fates[kept], self.partners[kept], self.truth_class_ids
        )


def answer_of(folder: CocoFolder, image: ImageRecord, detections: Detections, class_names: Sequence[str]) -> Answer:
    """An image's true boxes of the enrolled classes, with class ids as detections count them, and what was found.

    Difficult boxes, crowds, and detections that lie on nothing else, are left out.
    """
    wanted = folder.class_indices(tuple(class_names))
    passed = passed_over(image, detections, np.array(wanted, np.int64)[detections.class_ids])
    enrolled = np.isin(image.class_ids, wanted) & ~image.difficult
    class_ids = np.array([wanted.index(c) for c in image.class_ids[enrolled]], dtype=np.int64)
    return Answer(image.boxes_xyxy_px[enrolled], class_ids, detections.select(~passed))


def passed_over(image: ImageRecord, detections: Detections, class_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which detections are neither right nor wrong by the data set's own protocol.

    Those that take no box to be found, and have IoU 0.5 with a difficult one of their class (VOC, DOTA) or lie by half of
    their area inside a crowd of it (COCO).

    Args:
        image: with its boxes and crowds.
        detections: m of them.
        class_ids: (m,), the detections' classes counted among the folder's.

    Returns:
        (m,) bool.
    """
    in_folder = Detections(detections.boxes_xyxy_px, detections.scores, class_ids)
    easy, hard = ~image.difficult, image.difficult
    passed = match(image.boxes_xyxy_px[easy], image.class_ids[easy], in_folder, FOUND) < 0
    for part in in_parts(len(passed), len(easy) + len(image.crowd_class_ids)):
        boxes, own = detections.boxes_xyxy_px[part], class_ids[part, None]
        on_difficult = (iou(boxes, image.boxes_xyxy_px[hard]) >= FOUND) & (own == image.class_ids[hard])
        inside = intersection_px(boxes, image.crowd_boxes_xyxy_px)
        in_crowd = (inside >= FOUND * area_px(boxes)[:, None]) & (own == image.crowd_class_ids)
        passed[part] &= on_difficult.any(1) | in_crowd.any(1)
    return np.asarray(passed)


def judge(answers: Sequence[Answer]) -> Judged:
    """The fate of every detection; true boxes are counted through all images, in order."""
    offsets = np.cumsum([0, *(len(a.truth_class_ids) for a in answers)])
    fates, partners = [], []
    for answer, offset in zip(answers, offsets[:-1], strict=True):
        fate, partner = _judge_image(answer)
        fates.append(fate)
        partners.append(np.where(partner >= 0, partner + offset, -1))
    found = Detections.concatenate([a.detections for a in answers])
    none = np.zeros(0, np.int64)
    return Judged(
        found.scores.astype(np.float64),
        found.class_ids,
        np.concatenate([none, *fates]),
        np.concatenate([none, *partners]),
        np.concatenate([none, *(a.truth_class_ids for a in answers)]),
    )


def _judge_image(answer: Answer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(m,) fates and (m,) positions of true boxes, -1 for none."""
    found, truth_class_ids = answer.detections, answer.truth_class_ids
    taken = match(answer.truth_boxes_xyxy_px, truth_class_ids, found, FOUND)
    fates, partners = np.full(len(found), BACKGROUND), taken.copy()
    for part in in_parts(len(found), len(truth_class_ids)) if len(truth_class_ids) else ():
        overlap = iou(found.boxes_xyxy_px[part], answer.truth_boxes_xyxy_px)
        same_class = found.class_ids[part, None] == truth_class_ids[None]
        same, other = np.where(same_class, overlap, 0), np.where(same_class, 0, overlap)
        rules = [
            (taken[part] >= 0, HIT, taken[part]),
            (same.max(axis=1) >= FOUND, DUPLICATE, same.argmax(axis=1)),
            (other.max(axis=1) >= FOUND, CLASS, other.argmax(axis=1)),
            (same.max(axis=1) >= NEAR, LOCALISATION, same.argmax(axis=1)),
            (other.max(axis=1) >= NEAR, BOTH, other.argmax(axis=1)),
        ]
        conditions = [holds for holds, _, _ in rules]
        fates[part] = np.select(conditions, [np.full(len(overlap), fate) for _, fate, _ in rules], BACKGROUND)
        partners[part] = np.select(conditions, [partner for _, _, partner in rules], -1)
    return fates, partners


def confusion(answers: Sequence[Answer], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """What true boxes are taken for: by falling score, each detection takes the free true box that it overlaps most.

    Unlike in average precision, class plays no part in who takes whom.

    Args:
        answers: of all images.
        scores: (classes,), detections below their class's score are left out.

    Returns:
        (classes + 1, classes + 1) counts, rows are true classes, columns detected ones. The last row holds detections
        without a true box (IoU 0.5), the last column true boxes that nothing took.
    """
    classes = len(scores)
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    for answer in answers:
        found = answer.shown(scores)
        blind = Detections(found.boxes_xyxy_px, found.scores, np.zeros(len(found), np.int64))
        taken = match(answer.truth_boxes_xyxy_px, np.zeros_like(answer.truth_class_ids), blind, FOUND)
        truth = np.append(answer.truth_class_ids, classes)  # position -1 is "no true box"
        np.add.at(counts, (truth[taken], found.class_ids), 1)
        missed = np.delete(answer.truth_class_ids, taken[taken >= 0])
        counts[:classes, classes] += np.bincount(missed, minlength=classes)
    return counts
