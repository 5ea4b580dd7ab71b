from __future__ import annotations

import math

import pytest

from fsod.band_rule import BandRule, Chosen


def rule(bands: tuple[int, ...], count: int, chosen: Chosen = "default", names: tuple[str, ...] = ()) -> BandRule:
    return BandRule(bands=bands, count=count, chosen=chosen, names=names)


BY_NAME = rule((3, 2, 1), 4, "descriptions", ("Red", "Green", "Blue"))
FALSE = rule((4, 3, 2), 4, "option", ("NIR", "Red", "Green"))
PLAIN, GREY, EIGHT = rule((1, 2, 3), 3), rule((1,), 1), rule((1, 2, 3), 8)


@pytest.mark.parametrize(
    ("shown", "own", "names", "wanted"),
    [
        # red, green and blue are followed by their meaning
        (BY_NAME, PLAIN, ["", "", ""], (1, 2, 3)),
        (PLAIN, BY_NAME, ["Blue", "Green", "Red", "NIR"], (3, 2, 1)),
        (PLAIN, rule((1,), 1, "palette"), [""], (1,)),
        (rule((3, 2, 1), 3, "option", ("red", "green", "blue")), PLAIN, ["", "", ""], (1, 2, 3)),
        # what has a name by its name, wherever it is
        (FALSE, BY_NAME, ["Blue", "Green", "Red", "NIR"], (4, 3, 2)),
        (FALSE, PLAIN, ["NIR", "Red", "Green"], (1, 2, 3)),
        (FALSE, BY_NAME, ["Blue", "Green", "Red", "RedEdge"], None),
        # the rest by number, in a raster of as many bands
        (BY_NAME, rule((1, 2, 3), 4), [""] * 4, (3, 2, 1)),
        (rule((5, 3, 2), 8, "option"), EIGHT, [""] * 8, (5, 3, 2)),
        (EIGHT, EIGHT, [""] * 8, (1, 2, 3)),
        (rule((5, 3, 2), 8, "option"), PLAIN, [""] * 3, None),
        (PLAIN, EIGHT, [""] * 8, None),
        (EIGHT, PLAIN, [""] * 3, None),
        # grey is not colour
        (GREY, GREY, [""], (1,)),
        (GREY, PLAIN, [""] * 3, None),
        (PLAIN, GREY, [""], None),
    ],
)
def test_a_raster_shows_the_same_where_it_can(
    shown: BandRule, own: BandRule, names: list[str], wanted: tuple[int, ...] | None
) -> None:
    assert shown.bands_on(own, names) == wanted


def test_it_is_written_and_read() -> None:
    for nodata in (None, -9999.0, math.nan):
        before = BY_NAME.model_copy(update={"nodata": nodata})
        for after in (
            BandRule.model_validate_json(before.model_dump_json()),
            BandRule.model_validate(before.model_dump(mode="json")),
        ):
            assert repr(after) == repr(before)
    assert str(BY_NAME) == "red, green and blue (bands 3,2,1 of 4, called Red, Green, Blue)"
