"""Why a detector scores what it scores: precision-recall curves, what each kind of error costs, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsod.evaluation.judge import BACKGROUND, BOTH, CLASS, DUPLICATE, HIT, LOCALISATION, Judged

Floats = NDArray[np.float64]

COSTS = ("class", "localisation", "class and place", "duplicate", "background", "missed")
"""Kinds of errors, in the order of what ``ap50_costs`` returns."""

_MENDED = {"class": CLASS, "localisation": LOCALISATION}
_DROPPED = {"class and place": BOTH, "duplicate": DUPLICATE, "background": BACKGROUND}


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one class as the score threshold falls.

    Attributes:
        recall: (m,) float64, rising, 0..1.
        precision: (m,) float64, 0..1.
        scores: (m,) float64, falling: the threshold of each point.
    """

    recall: Floats
    precision: Floats
    scores: Floats

    @property
    def ap50(self) -> float:
        """Mean of the best precision at or beyond 101 recalls, as pycocotools computes it; 0 without detections."""
        if not len(self.recall):
            return 0.0
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        at = np.searchsorted(self.recall, np.linspace(0, 1, 101), side="left")
        return float(np.append(best, 0.0)[at].mean())

    @property
    def best(self) -> int:
        """The point with the best F1, the harmonic mean of precision and recall; for a curve that has points."""
        return int(np.argmax(self.precision * self.recall / np.maximum(self.precision + self.recall, 1e-12)))


def curve(scores: Floats, hit: NDArray[np.bool_], objects: int) -> Curve:
    """A class's curve from (m,) scores of its detections and which of them hit; ``objects`` is how many to find."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(hit[order])
    return Curve(hits / max(objects, 1), hits / np.arange(1, len(scores) + 1), scores[order])


def class_curve(judged: Judged, class_id: int) -> Curve:
    """The curve of one class that has objects."""
    own = judged.class_ids == class_id
    objects = int((judged.truth_class_ids == class_id).sum())
    return curve(judged.scores[own], judged.fates[own] == HIT, objects)


def ap50_costs(judged: Judged, classes: int) -> Floats:
    """How much AP at IoU 0.5 each class would gain if one kind of error were gone, after TIDE (see `fsod.evaluation.judge`).

    Class and localisation errors are mended: the detection becomes a hit of the true box it lies on, and of all that claim a
    box the best score stays. The other false alarms are dropped. Missed boxes are no longer asked for. As every kind is
    repaired alone, costs do not add up to 1 - AP.

    Args:
        judged: of all images, with detections down to a score near 0.
        classes: how many there are.

    Returns:
        (len(COSTS), classes), NaN for a class without objects.
    """
    costs = np.full((len(COSTS), classes), np.nan)
    for c in np.unique(judged.truth_class_ids):
        now = class_curve(judged, c).ap50
        costs[:, c] = [_without(judged, c, kind).ap50 - now for kind in COSTS]
    return costs


def _without(judged: Judged, class_id: int, kind: str) -> Curve:
    """The curve of a class if there were no errors of a kind."""
    own, truth = judged.class_ids == class_id, judged.truth_class_ids == class_id
    if kind == "missed":
        return curve(judged.scores[own], judged.fates[own] == HIT, int((truth & ~judged.missed).sum()))
    if kind in _DROPPED:
        left = own & (judged.fates != _DROPPED[kind])
        return curve(judged.scores[left], judged.fates[left] == HIT, int(truth.sum()))
    alarms = judged.scores[own & ~np.isin(judged.fates, (HIT, _MENDED[kind]))]
    hits = _best_claims(judged, class_id, _MENDED[kind])
    hit = np.arange(len(hits) + len(alarms)) < len(hits)
    return curve(np.concatenate([hits, alarms]), hit, int(truth.sum()))


def _best_claims(judged: Judged, class_id: int, mended: int) -> Floats:
    """Scores of a class's hits, with the errors of one kind counted as hits of the boxes they lie on."""
    best = np.full(len(judged.truth_class_ids), -1.0)
    claims = np.isin(judged.fates, (HIT, mended))
    np.maximum.at(best, judged.partners[claims], judged.scores[claims])
    return best[(judged.truth_class_ids == class_id) & (best >= 0)]


@dataclass(frozen=True)
class Reliability:
    """How often detections of a score are right.

    Attributes:
        scores: (bins,) mean score of the detections in each bin, NaN in an empty one.
        precision: (bins,) share of them that hit.
        counts: (bins,) how many they are.
    """

    scores: Floats
    precision: Floats
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: distance of score and precision, averaged over detections; NaN without any."""
        full = self.counts > 0
        if not full.any():
            return float("nan")
        distance = np.abs(self.scores[full] - self.precision[full])
        return float(np.average(distance, weights=self.counts[full]))


def reliability(scores: Floats, hit: NDArray[np.bool_], bins: int = 10) -> Reliability:
    """Reliability of (m,) scores in 0..1 of which ``hit`` were right, in bins of equal width."""
    index = np.minimum((scores * bins).astype(np.int64), bins - 1)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(index, weights=scores, minlength=bins) / counts
        precision = np.bincount(index, weights=hit.astype(np.float64), minlength=bins) / counts
    return Reliability(means, precision, counts)
