"""From which score on detections of a class are worth showing, as its own examples tell.

Some examples are left out, rows are made of the others, and the left-out ones are looked for. Proposed is a part of the mean
of the scores that they are found with. A handful of examples says no more than that: the threshold with the best F1 over
what is found at them and close around them hangs on single scores, and further away nobody knows what stands there.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, match
from fsod.data.marked import Marked

FOLDS = 5
"""Of the examples, each left out once. A class of up to so many examples leaves out one at a time."""

LEFT_OUT = 0.8
"""Of the mean that examples left out are found with: who marks examples takes clear ones. Five examples a class, one class a
bank, shipped weights, mean F1 on objects that were no examples, at 0.6, 0.8 and 1.0 of the mean, at the best F1 around the
examples, and at the best there is: another drawn scene (21 classes) 0.36, 0.40, 0.38, 0.34, 0.48 enrolled and 0.30, 0.38,
0.42, 0.33, 0.55 finetuned; 60 training images of NWPU, few of which show the class (experiments/proposed_scores) 0.07, 0.11,
0.14, 0.08, 0.24 and 0.05, 0.08, 0.10, 0.07, 0.25; the parking lot of experiments/vehicles_story 0.59, 0.51, 0.38, 0.44, 0.61
and 0.68, 0.60, 0.23, 0.62, 0.73."""

TRAINED = 0.6
"""Of the mean that a detector finds its own training examples with. Mean F1 of NWPU's ten classes on training images without
shots at score 0.25, at 0.5, 0.6 and 0.7 of the mean, and at the best there is: of five shots 0.65, 0.70, 0.73, 0.71, 0.78; of
ten 0.63, 0.68, 0.71, 0.73, 0.80."""

FLOOR = 0.005
"""What is found below this score does not count as found."""

Detect = Callable[[NDArray[np.uint8]], list[Detections]]


def propose_scores(
    marked: Marked, class_names: tuple[str, ...], detector_of: Callable[[Marked], Detect]
) -> dict[str, float]:
    """A threshold for each class that leaves one of its examples to be found; others are not in the result.

    Args:
        marked: examples of the classes and of their rivals.
        class_names: the reported classes; a detection's class id is a position in them.
        detector_of: makes a detector of some of the examples; it is shown (1, H, W, 3) uint8 RGB.
    """
    scores: dict[str, list[float]] = {}
    for fold in range(folds_of(marked)):
        # the only example of a class cannot be left out
        out = {name: places[fold::FOLDS] for name, places in marked.places.items() if len(places) > 1}
        detect = detector_of(marked.without({box_id for places in out.values() for _, box_id in places}))
        for name in class_names:
            found = found_scores(marked, class_names, detect, out.get(name, []))
            scores[name] = scores.get(name, []) + found
    return {name: LEFT_OUT * fmean(found) for name, found in scores.items() if found}


def propose_trained_scores(marked: Marked, class_names: tuple[str, ...], detect: Detect) -> dict[str, float]:
    """The same for a detector that has been trained on all of the examples, too long to do it again without some.

    What it was trained on it finds with higher scores than anything else, so a part of the mean is proposed.
    """
    looked_for = {name: marked.places.get(name, []) for name in class_names}
    scores = {name: found_scores(marked, class_names, detect, places) for name, places in looked_for.items()}
    return {name: TRAINED * fmean(found) for name, found in scores.items() if found}


def folds_of(marked: Marked) -> int:
    """How many detectors ``propose_scores`` has made: none if every class has but one example."""
    most = max(len(places) for places in marked.places.values())
    return 0 if most == 1 else min(most, FOLDS)


def found_scores(
    marked: Marked, class_names: tuple[str, ...], detect: Detect, places: list[tuple[int, int]]
) -> list[float]:
    """The scores of those examples that are found at an IoU of 0.5; ``places`` as in ``Marked``, of one class."""
    scores = []
    for image, box_id in places:
        record = marked.folder.images[image]
        names = [marked.folder.class_names[c] for c in record.class_ids]
        classes = np.array([class_names.index(name) if name in class_names else -1 for name in names], dtype=np.int64)
        found = detect(marked.pixels[image][None])[0]
        own = match(record.boxes_xyxy_px, classes, found) == record.box_ids.tolist().index(box_id)
        scores += found.scores[own].tolist()
    return scores
