"""How many objects there are where so many were found, given what is known of how well they are found."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fsod.evidence import CONFIDENCE, Trials

SAMPLES = 2000
LEAST_RECALL = 1e-6
"""Below this there is no number of missed objects that anybody could use."""


@cache
def true_count(
    found: int, recall: Trials | None, precision: Trials | None, sure: int = 0
) -> tuple[int, int | None] | None:
    """Between which numbers the number of objects lies with 95 % confidence or more, where all was searched.

    What is found are right ones (binomial, by the precision) and false alarms. Beside the right ones objects were missed: as
    many as a negative binomial says, by the recall. Both shares are known by their trials alone, so they are drawn from the
    distributions whose quantiles are the ends of the exact interval (``Trials.bounds``), which are confidence
    distributions. Without chance in the rest that is the exact interval itself.
    The draws are the same for the same numbers.

    Args:
        found: detections.
        recall: of left-out examples; None: unknown, and then nothing can be said.
        precision: of judged detections; None: unknown, so that any detection may be wrong, and all may be right.
        sure: detections that were judged right, themselves.

    Returns:
        Least and most; None for the most where no example was found, as then any number may have been missed. None where the
        recall is unknown.
    """
    if recall is None:
        return None
    rng = np.random.default_rng(0)
    beyond = (1 - CONFIDENCE) / 2
    right = _right(found, precision, sure, rng, upper=False)
    fewest = right + rng.negative_binomial(np.maximum(right, 1), _shares(recall, rng, upper=True)) * (right > 0)
    least = max(int(np.quantile(fewest, beyond, method="lower")), sure)
    if not recall.hits:
        return least, None
    right = _right(found, precision, found, rng, upper=True)
    most = right + rng.negative_binomial(right + 1, _shares(recall, rng, upper=False))
    return least, int(np.quantile(most, 1 - beyond, method="higher"))


def _right(
    found: int, precision: Trials | None, unknown: int, rng: np.random.Generator, *, upper: bool
) -> NDArray[np.int64]:
    """Draws (SAMPLES,) of how many detections are right; ``unknown`` of them where no precision is known."""
    if precision is None:
        return np.full(SAMPLES, unknown, np.int64)
    return rng.binomial(found, _shares(precision, rng, upper=upper))


def _shares(trials: Trials, rng: np.random.Generator, *, upper: bool) -> NDArray[np.float64]:
    """Draws (SAMPLES,) of a share, whose upper or lower quantiles are ends of its exact interval."""
    hits, misses = trials.hits + upper, trials.count - trials.hits + (not upper)
    if not hits or not misses:
        return np.full(SAMPLES, float(bool(hits)))
    return rng.beta(hits, misses, SAMPLES).clip(LEAST_RECALL, 1)
