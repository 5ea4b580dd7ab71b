from __future__ import annotations

import numpy as np

from fsod.data.photographs.standing_out import find_things, unlikeness
from tests.made_photographs import RECTANGLE, made_photograph


def test_everything_that_stands_out_is_found_once_and_nothing_else() -> None:
    things = find_things(made_photograph(0))
    centres = sorted(tuple(thing.centre_px.round().astype(int).tolist()) for thing in things)
    expected = sorted([(32, 36), (80, 24), (100, 60), (70, 95), (28, 90)])
    assert len(centres) == 5
    assert np.abs(np.array(centres) - expected).max() <= 1


def test_a_contour_keeps_to_the_edge_of_its_thing() -> None:
    things = find_things(made_photograph(0))
    box = np.array(RECTANGLE) - 0.5  # the first pixel's middle is 0
    rectangle = min(things, key=lambda thing: float(np.abs(thing.centre_px - (box[:2] + box[2:]) / 2).sum()))
    found = np.concatenate([rectangle.contour_px.min(0), rectangle.contour_px.max(0)])
    assert np.abs(found - box).max() < 1
    sides, turn_rad = rectangle.lying
    assert np.abs(sides - (24, 12)).max() < 1.5
    assert abs(np.sin(turn_rad)) < 0.1


def test_things_of_five_pixels_are_found() -> None:
    image = np.full((96, 96, 3), 110, np.uint8)
    for x in (20, 45, 70):
        image[40:43, x : x + 5] = (215, 215, 220)
    found = sorted(thing.centre_px.round().astype(int).tolist() for thing in find_things(image))
    assert np.abs(np.array(found) - [[22, 41], [47, 41], [72, 41]]).max() <= 1


def test_an_even_photograph_holds_nothing() -> None:
    noise = np.random.default_rng(0).normal(0, 3, (96, 96, 3))
    assert find_things(np.clip(120 + noise, 0, 255).astype(np.uint8)) == []


def test_what_is_alike_is_nearer_than_what_is_not() -> None:
    things = find_things(made_photograph(0))
    discs = [thing for thing in things if 10 < thing.longer_px < 18]
    others = [thing for thing in things if not 10 < thing.longer_px < 18]
    assert len(discs) == 3
    assert unlikeness(discs, discs[0]).max() < 1
    assert unlikeness(others, discs[0]).min() > 4
    assert unlikeness(discs, discs[0], enlarged=2.0).min() > 1.5
