"""Shares of a few trials, their intervals, and what is said of them."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from experiments.searched.coverage import covered, scores_of
from fsod.evidence import Evidence, Trials, evidence_of, in_words, origin_of


def test_the_interval_is_that_of_the_books() -> None:
    # Newcombe, Two-sided confidence intervals for the single proportion, Stat. Med. 17 (1998), table I, method 5
    for hits, count, low, high in (
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ):
        assert Trials(hits, count).interval == pytest.approx((low, high), abs=6e-5)
    assert Trials(29, 29).interval[1] == 1
    assert in_words(Trials(9, 12)) == "9 of 12 trials (42 to 95 %)"
    assert Trials(0, 3).percent == "0 to 71 %"


@pytest.mark.parametrize("count", [3, 5, 12, 40])
def test_intervals_hold_the_truth_whatever_it_is(count: int) -> None:
    inside = []
    for share in np.linspace(0.02, 0.98, 97):
        held = [low <= share <= high for low, high in (Trials(hits, count).interval for hits in range(count + 1))]
        chances = [comb(count, hits) * share**hits * (1 - share) ** (count - hits) for hits in range(count + 1)]
        inside.append(np.dot(held, chances))
    assert min(inside) >= 0.95


@pytest.mark.parametrize("k", [5, 12])
def test_recall_holds_the_truth_in_200_draws_though_its_score_hangs_on_them(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = scores_of("low", 0.8, rng)
    assert np.mean([covered(scores, k, rng, None) for _ in range(200)]) >= 0.9


def test_what_is_said_has_its_count_and_interval() -> None:
    known = Evidence(12, (0.9,) * 9 + (0.2, 0.0, 0.0), 7, 3)
    assert known.said(0.5) == (
        "an object like your 12 examples would have been found in 9 of 12 trials (42 to 95 %); "
        "7 of 10 judged detections were right (34 to 94 %)"
    )
    assert "10 of 12 trials" in known.said(0.1)
    assert known.numbers(0.5)["recall"] == {"hits": 9, "trials": 12, "low": 0.4281, "high": 0.9451}
    assert Evidence(1).said(0.5) == "what would have been missed is unknown, as no example was left out"
    assert Evidence(1).numbers(0.5) == {"examples": 1, "score": 0.5}


def test_a_file_keeps_it() -> None:
    known = evidence_of({"examples": 3, **origin_of([0.51234, 0, 0.25], (2, 1))})
    assert known == Evidence(3, (0.5123, 0.0, 0.25), 2, 1)
    assert evidence_of({}) == Evidence()
    assert origin_of([], None) == {}
