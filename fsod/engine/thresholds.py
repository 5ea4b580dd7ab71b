"""From which score on detections of a class are worth showing, as its own examples tell.

Some examples are left out, rows are made of the others, and the left-out ones are looked for. The threshold proposed is
the one with the best F1 over what was found: an example that is found at an IoU of 0.5 is right; any other detection
close to an example is wrong, for there the background is known. Further away other objects of the class may stand that
nobody has marked, so nothing there counts, neither way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, match
from fsod.data.marked import Marked

FOLDS = 5
"""Of the examples, each left out once. A class of up to so many examples leaves out one at a time."""

TRAINED = 0.5
"""Of the threshold that fits what a detector was trained on. On objects that it had not seen, mean F1 over the classes at
score 0.25, at that threshold, at half of it and at the best there is: NWPU, 5 shots, training images without shots 0.35,
0.36, 0.49, 0.57; the demo's test scenes 0.58, 0.55, 0.63, 0.70."""

FLOOR = 0.005
"""What is found below this score does not count as found."""

Detect = Callable[[NDArray[np.uint8]], list[Detections]]


def propose_scores(
    marked: Marked, class_names: tuple[str, ...], detector_of: Callable[[Marked], Detect], known_margin: float
) -> dict[str, float]:
    """A threshold for each class that leaves one of its examples to be found; others are not in the result.

    Args:
        marked: examples of the classes and of their rivals.
        class_names: the reported classes; a detection's class id is a position in them.
        detector_of: makes a detector of some of the examples; it is shown (1, H, W, 3) uint8 RGB.
        known_margin: how far around its examples an image's background is known, in box sides.
    """
    tally = _Tally(marked, class_names, known_margin)
    for fold in range(folds_of(marked)):
        # the only example of a class cannot be left out
        out = {name: places[fold::FOLDS] for name, places in marked.places.items() if len(places) > 1}
        detect = detector_of(marked.without({box_id for places in out.values() for _, box_id in places}))
        tally.look(detect, out)
    return tally.best()


def propose_trained_scores(
    marked: Marked, class_names: tuple[str, ...], detect: Detect, known_margin: float
) -> dict[str, float]:
    """The same for a detector that has been trained on all of the examples, too long to do it again without some.

    What it was trained on it finds with higher scores than anything else, so half of them is proposed.
    """
    tally = _Tally(marked, class_names, known_margin)
    tally.look(detect, marked.places)
    return {name: score * TRAINED for name, score in tally.best().items()}


class _Tally:
    """Scores of right and of wrong detections by class."""

    def __init__(self, marked: Marked, class_names: tuple[str, ...], known_margin: float) -> None:
        self.marked, self.class_names, self.known_margin = marked, class_names, known_margin
        self.hits: dict[str, list[float]] = {name: [] for name in class_names}
        self.false: dict[str, list[float]] = {name: [] for name in class_names}

    def look(self, detect: Detect, places: dict[str, list[tuple[int, int]]]) -> None:
        """Looks for some of the examples."""
        for name, image, box_id in ((name, *place) for name, of_class in places.items() for place in of_class):
            found = detect(self.marked.pixels[image][None])[0]
            own, wrong = judge(self.marked, self.class_names, image, box_id, found, self.known_margin)
            if name in self.hits:
                self.hits[name].append(own)
            for class_id in np.unique(found.class_ids[wrong]):
                self.false[self.class_names[class_id]] += found.scores[wrong & (found.class_ids == class_id)].tolist()

    def best(self) -> dict[str, float]:
        """The threshold of each class of which anything was found."""
        found = [name for name, hits in self.hits.items() if max(hits, default=0) > 0]
        return {name: best_threshold(self.hits[name], self.false[name]) for name in found}


def folds_of(marked: Marked) -> int:
    """How many detectors ``propose_scores`` has made: none if every class has but one example."""
    most = max(len(places) for places in marked.places.values())
    return 0 if most == 1 else min(most, FOLDS)


def judge(
    marked: Marked, class_names: tuple[str, ...], image: int, box_id: int, found: Detections, known_margin: float
) -> tuple[float, NDArray[np.bool_]]:
    """The score that an example is found with (0 if it is not), and which detections around it are wrong, (n,) bool."""
    record = marked.folder.images[image]
    names = [marked.folder.class_names[c] for c in record.class_ids]
    classes = np.array([class_names.index(name) if name in class_names else -1 for name in names], dtype=np.int64)
    taken = match(record.boxes_xyxy_px, classes, found)
    own = record.box_ids.tolist().index(box_id)
    box = record.boxes_xyxy_px[own]
    reach = known_margin * float((box[2:] - box[:2]).max())
    centres = (found.boxes_xyxy_px[:, :2] + found.boxes_xyxy_px[:, 2:]) / 2
    close = ((centres > box[:2] - reach) & (centres < box[2:] + reach)).all(1)
    return float(found.scores[taken == own].max(initial=0)), close & (taken < 0)


def best_threshold(hits: list[float], false: list[float]) -> float:
    """The score among ``hits`` with the best F1, the highest of equals.

    Args:
        hits: score that each example is found with, 0 for one that is not found.
        false: scores of wrong detections.
    """
    right, wrong = np.array(hits), np.array(false)

    def f1(threshold: float) -> float:
        shown = (right >= threshold).sum()
        return float(2 * shown / (shown + (wrong >= threshold).sum() + len(right)))

    return max((float(score) for score in right if score > 0), key=lambda score: (f1(score), score))
