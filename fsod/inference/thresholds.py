"""Proposed scores: the score from which detections of a class are worth showing, estimated from its examples.

Some examples are left out, rows are made of the others, and the left-out ones are looked for. The proposal is a fixed part of
the mean score with which they are found. A handful of examples supports no more: the threshold of best F1 near the examples
would depend on single scores, and farther away nobody knows what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, match
from fsod.data.marked import Marked

FOLDS = 5
"""Parts of the examples; each is left out once. A class with at most this many examples leaves out one at a time."""

LEFT_OUT = 0.6
"""Share of the mean score of left-out examples. People mark clear examples, so it is below 1: experiments/real_tasks."""

TRAINED = 0.6
"""Share of the mean score with which a detector finds its own training examples."""

FLOOR = 0.005
"""Detections below this score do not count as found."""

Detect = Callable[[NDArray[np.uint8]], list[Detections]]


def proposed_of(trials: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The score proposed for each class: ``LEFT_OUT`` times the mean of the scores that its left-out examples are found with.

    Classes of which none is found are not in the result.

    Args:
        trials: of each class, see ``left_out_scores``.
    """
    found = {name: [score for score in scores if score > 0] for name, scores in trials.items()}
    return {name: LEFT_OUT * fmean(scores) for name, scores in found.items() if scores}


def left_out_scores(
    marked: Marked, class_names: tuple[str, ...], detector_of: Callable[[Marked], Detect]
) -> dict[str, list[float]]:
    """For each class the scores that its examples are found with by detectors of the others, 0 for one that is not found.

    A class with one example has none to leave out.

    Args:
        marked: examples of the classes and of their distractors.
        class_names: the reported classes; a detection's class id is a position in them.
        detector_of: makes a detector of some of the examples; it is shown (1, H, W, 3) uint8 RGB.
    """
    scores: dict[str, list[float]] = {name: [] for name in class_names}
    for out, detect in folds(marked, detector_of):
        for name, found in found_scores(marked, class_names, detect, out).items():
            missed = len(out.get(name, [])) - len(found)
            scores[name] += [*found, *[0.0] * missed]
    return scores


def propose_trained_scores(marked: Marked, class_names: tuple[str, ...], detect: Detect) -> dict[str, float]:
    """The scores proposed for a detector that has been trained on all of the examples, too long to do it again without some.

    What it was trained on it finds with higher scores than anything else, so a part of the mean is proposed.
    """
    scores = found_scores(marked, class_names, detect, marked.places)
    return {name: TRAINED * fmean(found) for name, found in scores.items() if found}


def folds(
    marked: Marked, detector_of: Callable[[Marked], Detect], most: int | None = None
) -> Iterator[tuple[dict[str, list[tuple[int, int]]], Detect]]:
    """Places of the examples that are left out, and a detector of the others; each of a class's first ``most`` is out once."""
    for fold in range(folds_of(marked)):
        # the only example of a class cannot be left out
        out = {name: places[:most][fold::FOLDS] for name, places in marked.places.items() if len(places) > 1}
        yield out, detector_of(marked.without({box_id for places in out.values() for _, box_id in places}))


def folds_of(marked: Marked) -> int:
    """How many detectors ``folds`` makes: none if every class has but one example."""
    most = max(len(places) for places in marked.places.values())
    return 0 if most == 1 else min(most, FOLDS)


def found_scores(
    marked: Marked, class_names: tuple[str, ...], detect: Detect, places: dict[str, list[tuple[int, int]]]
) -> dict[str, list[float]]:
    """Of each class the scores of those of its examples in ``places`` that are found at an IoU of 0.5."""
    scores: dict[str, list[float]] = {name: [] for name in class_names}
    in_image: dict[int, list[tuple[str, int]]] = {}
    for name in scores:
        for image, box_id in places.get(name, []):
            in_image.setdefault(image, []).append((name, box_id))
    for image, examples in in_image.items():
        record, found = marked.folder.images[image], detect(marked.pixels[image][None])[0]
        names = [marked.folder.class_names[c] for c in record.class_ids]
        classes = np.array([class_names.index(name) if name in class_names else -1 for name in names], dtype=np.int64)
        taken, box_ids = match(record.boxes_xyxy_px, classes, found), record.box_ids.tolist()
        for name, box_id in examples:
            scores[name] += found.scores[taken == box_ids.index(box_id)].tolist()
    return scores
