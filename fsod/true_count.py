"""How many objects there are where so many were found, given what is known of how well they are found."""

from __future__ import annotations

from scipy.stats import binom, nbinom

from fsod.evidence import CONFIDENCE, Trials


def true_count(found: int, recall: Trials | None, precision: Trials | None) -> tuple[int, int | None] | None:
    """Between which numbers the number of objects lies with 95 % confidence or more, where all was searched.

    What is found are right ones (binomial, by the precision) and false alarms. Beside the right ones objects were missed: as
    many as a negative binomial says, by the recall. Both shares are known by their trials alone, so the ends of their
    intervals are taken. The error of 5 % is shared among all of these (Bonferroni), so it is 5 % at most.

    Args:
        found: detections.
        recall: of left-out examples; None: unknown, and then nothing can be said.
        precision: of judged detections; None: every detection counts as right.

    Returns:
        Least and most; None for the most where no example was found, as then any number may have been missed. None where the
        recall is unknown.
    """
    if recall is None:
        return None
    beyond = (1 - CONFIDENCE) / (2 if precision is None else 4)
    least, most = found, found
    if precision is not None:
        low, high = precision.bounds(1 - beyond)
        least, most = int(binom.ppf(beyond / 2, found, low)), int(binom.ppf(1 - beyond / 2, found, high))
        least, most = max(least, 0), max(most, 0)  # of no trial scipy says -1
    low, high = recall.bounds(1 - beyond)
    least += int(nbinom.ppf(beyond / 2, least, high)) if least and high < 1 else 0
    return least, None if low <= 0 else most + int(nbinom.ppf(1 - beyond / 2, most + 1, low))
