"""The working scale: the size at which examples are best told from their surroundings.

How well a detector sees an object depends on its size in pixels. So the surroundings of the examples are searched at several
sizes. Each time some examples are left out and looked for with rows of the others, as in ``left_out_scores``. The best
scale is the one at which the left-out examples rank highest among all detections.

That is one scale for all classes. Those whose objects are too large for it are seen coarser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import area_px, iou
from fsod.data.marked import Marked
from fsod.inference.thresholds import Detect, folds

ENLARGEMENTS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""What is tried: half an octave apart."""

SMALLEST_PX, LARGEST_PX = 24.0, 200.0
"""Sides down to which the median example is shrunk, and up to which it is enlarged."""

IOUS = (0.5, 0.6, 0.7)
"""Ranks are taken for each: of boxes that overlap the example at least so much. Where boxes fit closely the size is right."""

RELUCTANCE = 0.5
"""So many standard errors another size has to be better than the scene's own: of a few marks a mean is uncertain."""

NOT_FOUND = 5000
"""The rank of a left-out example that is not found at all."""

MOST_EXAMPLES = 20
"""Of a class, so many are left out in turn."""


MOST_REDUCED = 64.0
"""What ``fsod.geo.passes`` takes."""

TOO_LARGE_PX, LARGE_PX = 160.0, 100.0
"""A class of longer objects is seen so much coarser that these are no longer than the second."""


def reductions_of(marked: Marked, class_names: tuple[str, ...]) -> dict[str, float]:
    """How many times coarser than the examples' images each class is to be seen, in half octaves.

    The network has never been shown a box around anything longer than its own training images. On NWPU VHR-10 the ground track
    field, 243 px, is found with an AP50 of 0.01 as it is, and of 0.65 in images reduced by 2.8 (experiments/nwpu_fewshot).

    Args:
        marked: the examples.
        class_names: the classes; each goes by the median size of its examples.
    """
    reductions = {}
    for name in class_names:
        side_px = float(np.median(np.sqrt(area_px(_boxes(marked, name)))))
        halvings = np.ceil(2 * np.log2(side_px / LARGE_PX)) if side_px > TOO_LARGE_PX else 0
        reductions[name] = min(float(2 ** (halvings / 2)), MOST_REDUCED)
    return reductions


def best_enlargement(marked: Marked, class_names: tuple[str, ...], detector_of: Callable[[Marked], Detect]) -> float:
    """How many times as large as it is a scene should be searched for the classes of some examples.

    The measure is the mean logarithm of the rank of each left-out example, by score, among all detections of its class
    around the left-out examples, averaged over ``IOUS``. Objects that nobody has marked are among them, but at every scale
    alike. On tasks made of NWPU images and on real ones it chooses better than ranks at 0.5 alone (experiments/real_tasks).
    Another size than the scene's own has to be better by ``RELUCTANCE`` standard errors of the difference.

    Args:
        marked: the examples; with one example of each reported class there is nothing to leave out, and the answer is 1.
        class_names: the reported classes; a detection's class id is a position in them.
        detector_of: makes a detector of some of the examples; see ``left_out_scores``.
    """
    if all(len(marked.places[name]) == 1 for name in class_names):
        return 1.0
    sides = np.sqrt(area_px(np.concatenate([_boxes(marked, name) for name in class_names])))
    middle = float(np.median(sides))
    largest = max(LARGEST_PX / middle, ENLARGEMENTS[0])
    tried = [e for e in ENLARGEMENTS if (e >= 1 or e * middle >= SMALLEST_PX) and e <= largest]
    if len(tried) == 1:
        return tried[0]

    return best_of({e: log_ranks(marked.enlarged(e), class_names, detector_of) for e in tried})


def best_of(ranks: Mapping[float, NDArray[np.float64]]) -> float:
    """The enlargement with the least mean, which has to be better than 1 by more than chance may make it.

    Args:
        ranks: enlargement -> (n,) ``log_ranks``; n at least 2.
    """
    best = min(sorted(ranks, key=lambda e: abs(np.log(e))), key=lambda e: ranks[e].mean())  # of equals the nearest to 1
    if 1.0 not in ranks:
        return best
    gains = ranks[1.0] - ranks[best]
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return best if gains.mean() > RELUCTANCE * error else 1.0


def log_ranks(
    marked: Marked, class_names: tuple[str, ...], detector_of: Callable[[Marked], Detect]
) -> NDArray[np.float64]:
    """(n,) of each example that is left out: the less, the better it is told from the rest. The order does not depend on sizes."""
    of_examples: dict[str, list[list[float]]] = {name: [] for name in class_names}
    of_all: dict[str, list[NDArray[np.float32]]] = {name: [] for name in class_names}
    for out, detect in folds(marked, detector_of, MOST_EXAMPLES):
        for class_id, name in enumerate(class_names):
            for image, box_id in out.get(name, []):
                found = detect(marked.pixels[image][None])[0]
                own = found.select(found.class_ids == class_id)
                overlaps = iou(marked.box_xyxy_px(image, box_id)[None], own.boxes_xyxy_px)[0]
                of_examples[name].append([float(own.scores[overlaps >= least].max(initial=0)) for least in IOUS])
                of_all[name].append(own.scores)
    ranks = [
        [(np.concatenate(of_all[name]) >= score).sum() if score > 0 else NOT_FOUND for score in scores]
        for name, examples in of_examples.items()
        for scores in examples
    ]
    return np.asarray(np.log(ranks).mean(axis=1), np.float64)


def _boxes(marked: Marked, name: str) -> NDArray[np.float64]:
    """(n, 4) of a class's examples."""
    return np.array([marked.box_xyxy_px(*place) for place in marked.places[name]], np.float64).reshape(-1, 4)
