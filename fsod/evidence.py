"""Evidence of how well a class is found: left-out examples, and verdicts.

Every share comes with its count and its interval. After a handful of trials, the share alone says next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import betaincinv

CONFIDENCE = 0.95
"""Of every interval."""


@dataclass(frozen=True)
class Trials:
    """So many hits of so many trials, one at least.

    Attributes:
        hits: of the trials.
        count: of them.
    """

    hits: int
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies with 95 % confidence or more, each end in 0..1; see ``bounds``."""
        return self.bounds(CONFIDENCE)

    def bounds(self, confidence: float) -> tuple[float, float]:
        """The exact interval of the true share, each end in 0..1.

        C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
        Biometrika 26 (1934), 404-413. Shorter ones (Wilson's) miss the truth in 17 % of the draws of some shares, and who is
        told that little was missed should not be told so wrongly.
        """
        misses, beyond = self.count - self.hits, (1 - confidence) / 2
        low = float(betaincinv(self.hits, misses + 1, beyond)) if self.hits else 0.0
        return low, float(betaincinv(self.hits + 1, misses, 1 - beyond)) if misses else 1.0

    @property
    def percent(self) -> str:
        """The interval in words, rounded outwards: ``42 to 95 %``."""
        low, high = self.interval
        return f"{math.floor(100 * low + 1e-9)} to {math.ceil(100 * high - 1e-9)} %"


@dataclass(frozen=True)
class Evidence:
    """What a file knows of one class.

    Attributes:
        examples: that it was made of; 0 where the file does not say.
        trials: of each example that was left out, the score that it was found with, 0 where it was not.
        yes: detections of this class that were judged right, whatever they were found by.
        no: those that were judged wrong.
    """

    examples: int = 0
    trials: tuple[float, ...] = ()
    yes: int = 0
    no: int = 0

    def recall(self, score: float) -> Trials | None:
        """How many of the examples left out are found where detections are shown from a score on; None without a trial."""
        return Trials(sum(found >= score for found in self.trials), len(self.trials)) if self.trials else None

    @property
    def precision(self) -> Trials | None:
        """How many judged detections were right; None where none was judged."""
        return Trials(self.yes, self.yes + self.no) if self.yes + self.no else None

    def said(self, score: float) -> str:
        """What would have been missed, and what judged detections were worth, in words."""
        recall, precision = self.recall(score), self.precision
        if recall is None:
            words = "what would have been missed is unknown, as no example was left out"
        else:
            like = f"your {self.examples} examples" if self.examples > 1 else "your examples"
            words = f"an object like {like} would have been found in {in_words(recall)}"
        if precision is None:
            return words
        right = f"{precision.hits} of {precision.count} judged detections were right ({precision.percent})"
        return f"{words}; {right}"

    def numbers(self, score: float) -> dict[str, Any]:
        """The same as JSON values."""
        own: dict[str, Any] = {"examples": self.examples, "score": round(score, 4)}
        for name, trials in (("recall", self.recall(score)), ("precision", self.precision)):
            if trials is not None:
                low, high = trials.interval
                own[name] = {"hits": trials.hits, "trials": trials.count, "low": round(low, 4), "high": round(high, 4)}
        return own


def in_words(trials: Trials) -> str:
    """``9 of 12 trials (42 to 95 %)``."""
    return f"{trials.hits} of {trials.count} trials ({trials.percent})"


def evidence_of(origin: Mapping[str, Any]) -> Evidence:
    """What a file says of a class, see ``ClassBank.origins``."""
    yes, no = origin.get("judged") or (0, 0)
    return Evidence(int(origin.get("examples") or 0), tuple(origin.get("trials") or ()), yes, no)


def origin_of(trials: Sequence[float], judged: tuple[int, int] | None) -> dict[str, Any]:
    """What a file is to say of a class, beside the number of its examples."""
    known: dict[str, Any] = {"trials": [round(float(score), 4) for score in trials]} if trials else {}
    return {**known, "judged": list(judged)} if judged and sum(judged) else known


def evidence_in(numbers: Mapping[str, Any]) -> tuple[Trials | None, Trials | None]:
    """Recall and precision out of what ``Evidence.numbers`` wrote."""
    recall, precision = (
        Trials(int(own["hits"]), int(own["trials"])) if (own := numbers.get(name)) else None
        for name in ("recall", "precision")
    )
    return recall, precision
