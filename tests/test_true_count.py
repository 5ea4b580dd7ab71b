"""How many objects there are, against what is known of simple cases."""

from __future__ import annotations

import pytest
from scipy.stats import nbinom

from fsod.evidence import Trials
from fsod.true_count import true_count

MANY = 1_000_000
CERTAIN = Trials(MANY, MANY)


def test_nothing_is_said_where_the_recall_is_unknown() -> None:
    assert true_count(7, None, None) is None
    assert true_count(7, None, Trials(3, 3)) is None


def test_who_finds_everything_has_counted_it() -> None:
    assert true_count(40, CERTAIN, None) == (0, 40), "but nobody knows that what is found is right"
    assert true_count(40, CERTAIN, None, 7) == (7, 40)
    assert true_count(40, CERTAIN, CERTAIN) == (40, 40)
    assert true_count(0, CERTAIN, None) == (0, 0)


@pytest.mark.parametrize(("found", "share"), [(100, 0.5), (30, 0.9), (400, 0.25)])
def test_a_recall_that_is_known_well_gives_the_negative_binomial(found: int, share: float) -> None:
    """Of N objects each is found with that share; what is missed until ``found`` are found is negative binomial."""
    interval = true_count(found, Trials(round(share * MANY), MANY), CERTAIN)
    assert interval is not None
    least, most = interval
    assert most is not None
    assert least == pytest.approx(found + nbinom(found, share).ppf(0.025), rel=0.02)
    assert most == pytest.approx(found + nbinom(found + 1, share).ppf(0.975), rel=0.02)


def test_half_of_what_was_judged_was_wrong() -> None:
    interval = true_count(1000, CERTAIN, Trials(MANY // 2, MANY))
    assert interval is not None
    assert interval == pytest.approx((500 - 31, 500 + 31), abs=4)  # 1.96 sqrt(1000 / 4)


def test_without_a_hit_any_number_may_have_been_missed() -> None:
    least, most = true_count(5, Trials(0, 10), CERTAIN) or (-1, -1)
    assert 5 < least < 5 / 0.2  # a recall of 0.31 at most makes more of five
    assert most is None
    assert true_count(5, Trials(0, 10), Trials(0, 4)) == (0, None)


def test_the_less_is_known_the_wider() -> None:
    widths = []
    for trials in (4, 40, 400):
        least, most = true_count(50, Trials(trials * 3 // 4, trials), CERTAIN) or (0, 0)
        assert most is not None
        assert least <= 50 / 0.75 <= most
        widths.append(most - least)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 3 * widths[2]
    assert true_count(50, Trials(3, 4), CERTAIN) == true_count(50, Trials(3, 4), CERTAIN)  # no chance from call to call
