"""What a detector sees in scenes whose marks it has learned: what it is sure of, and from which score on it may be believed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, iou
from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from fsod.data.mark_views import View, classes_of_marks
from fsod.inference.infer import BatchDetector
from fsod.model.baked import bake
from fsod.model.detector import Detector

DOUBTFUL = 0.4
"""What is found with less than this share of what is worth taking is background."""

LOOK_FLOOR = 0.01
"""Detections below this are not looked at."""

STEEP, MOST = 1.35, 0.95
"""See ``worth_taking``."""

SHOWN, ENOUGH, LESS = 0.75, 5, 0.1
"""Of the mean score that the marks are found with: from there on detections are worth showing. For each mark that a class has
less than five, it is so much less: few marks are known by heart, and others of their kind are not found nearly as well."""


def look(
    detector: Detector,
    views: Sequence[View],
    trusted: int,
    settings: EvaluateSettings,
    machine: Machine,
    beat: Callable[[], None],
) -> list[View]:
    """The views with what a detector is sure of, one way or the other; see ``View.looked_at``.

    Args:
        detector: that looks.
        views: of the scenes, with the marks that it has learned.
        trusted: objects for each mark that it may add, those with the best scores.
        settings: of suppression.
        machine: where to compute.
        beat: called before each view; may raise to stop.
    """
    detect = searching(detector, settings, machine, LOOK_FLOOR)
    found: list[Detections] = []
    for view in views:
        beat()
        found.append(detect(view.rgb[None])[0])
    worth = worth_taking(_mark_scores(views, found, len(detector.learned_bias)))
    likely = worth.copy()
    scores, class_ids = (np.concatenate([getattr(own, part) for own in found]) for part in ("scores", "class_ids"))
    marked = np.concatenate([view.class_ids for view in views])
    for class_id in range(len(likely)):
        most = (1 + trusted) * int((marked == class_id).sum())
        best = np.sort(scores[class_ids == class_id])[::-1]
        likely[class_id] = max([likely[class_id], *np.nextafter(best[most : most + 1], 2)])
    return [view.looked_at(own, DOUBTFUL * worth, likely) for view, own in zip(views, found, strict=True)]


def worth_taking(mark_scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(classes,) the least score of a detection that a look takes for an object.

    A part of the mean score that the marks are found with: the larger, the better they are found. A detector that finds them
    with 0.7 has everything of their kind close to that; one that finds them with 0.2 knows them, and little else, by heart.
    """
    return mark_scores * np.minimum(STEEP * mark_scores, MOST)


def proposed_scores(
    detector: Detector, views: Sequence[View], marks: Sequence[int], settings: EvaluateSettings, machine: Machine
) -> list[float]:
    """From which score on detections of each class are worth showing: a part of the mean that the marks are found with.

    Args:
        detector: that has learned the marks of ``views``.
        views: of the scenes, with all marks.
        marks: (classes,) how many each class has.
        settings: of suppression.
        machine: where to compute.
    """
    detect = searching(copy.deepcopy(detector).to(machine.device), settings, machine, LOOK_FLOOR, around=True)
    found = [detect(view.rgb[None])[0] for view in views]
    shares = SHOWN - LESS * np.maximum(ENOUGH - np.array(marks), 0)
    return list((shares * _mark_scores(views, found, len(detector.learned_bias))).clip(LOOK_FLOOR, 1).tolist())


def _mark_scores(views: Sequence[View], found: Sequence[Detections], classes: int) -> NDArray[np.float64]:
    """(classes,) mean score that the marks of each class are found with, each where it is found best."""
    best, class_of = best_scores(views, found), classes_of_marks(views)
    scores = [[score for mark, score in best.items() if class_of[mark] == class_id] for class_id in range(classes)]
    return np.array([np.mean(of_class) if of_class else 0.0 for of_class in scores])


def best_scores(views: Sequence[View], found: Sequence[Detections]) -> dict[int, float]:
    """Of each mark the best score that it is found with in any view; 0 where it is found in none."""
    best: dict[int, float] = {}
    for view, own in zip(views, found, strict=True):
        hits = iou(view.shown_xyxy_px, own.boxes_xyxy_px) >= 0.5
        hits &= view.class_ids[:, None] == own.class_ids[None]
        for mark, of_mark in zip(view.mark_ids.tolist(), hits, strict=True):
            best[mark] = max(best.get(mark, 0.0), float(own.scores[of_mark].max(initial=0)))
    return best


def searching(
    detector: Detector, settings: EvaluateSettings, machine: Machine, floor: float, *, around: bool = False
) -> BatchDetector:
    """The inference form of a detector for the classes that it has learned; it looks at images once, or all ``around``."""
    # what several looks find is compared box by box, so memory grows with the square
    plenty = settings.model_copy(update={"max_detections": 1000 if around else 3000})
    network = bake(detector.eval(), detector.learned_rows().detach(), machine.trunk_dtype)
    return BatchDetector(network, machine, floor, plenty, around)
