"""The tone that a network sees scenes in, and who sees them so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.band_rule import BandRule
from fsod.geo.scene_opening import open_scene
from fsod.geo.tone import CONTRAST, MIDDLE, STRONGEST, Tone, tone_of
from fsod.image_look import LUMINANCE

MakeRaster = Callable[..., Path]
ALL = np.ones((64, 64), bool)


def ground(mean: float, deviation: float, side: int = 64) -> NDArray[np.uint8]:
    """(side, side, 3) grey noise."""
    grey = np.random.default_rng(0).normal(mean, deviation, (side, side, 1))
    return np.repeat(grey, 3, axis=2).clip(1, 254).astype(np.uint8)


@pytest.mark.parametrize(
    ("mean", "deviation", "gain"), [(90, 20, CONTRAST / 20), (160, 25, 2.0), (120, 60, 1.0), (100, 3, STRONGEST)]
)
def test_a_scene_gets_the_usual_brightness_and_no_less_contrast(mean: float, deviation: float, gain: float) -> None:
    rgb = ground(mean, deviation)
    tone = tone_of([(rgb, ALL)])
    assert tone is not None
    assert tone.gain == pytest.approx(gain, rel=0.03)
    seen = tone.of(rgb, ALL) @ LUMINANCE
    assert seen.mean() == pytest.approx(MIDDLE, abs=2)
    assert seen.std() == pytest.approx(min(gain * (rgb @ LUMINANCE).std(), 255), rel=0.05)


def test_colours_stay_what_they_are() -> None:
    rgb = np.zeros((1, 1, 3), np.uint8) + np.array([60, 50, 40], np.uint8)
    assert Tone(50.0, 2.0).of(rgb, np.ones((1, 1), bool)).tolist() == [[[147, 127, 107]]]


def test_what_is_no_ground_does_not_count() -> None:
    rgb, valid = ground(90, 20), ALL.copy()
    alone = tone_of([(rgb, valid)])
    filled = np.concatenate([rgb, np.zeros_like(rgb), np.full_like(rgb, 255), np.full_like(rgb, 7)])
    valid = np.concatenate([ALL, ALL, ALL, ~ALL])
    assert tone_of([(filled, valid)]) == alone
    assert alone is not None
    assert not alone.of(filled, valid)[~valid].any()


def test_nothing_has_no_tone() -> None:
    assert tone_of([]) is None
    assert tone_of([(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool)), (ground(90, 20), ~ALL)]) is None


def test_a_dark_scene_is_seen_like_a_bright_one(make_raster: MakeRaster) -> None:
    bright = np.moveaxis(ground(140, 30, 700), 2, 0)
    dark = (0.5 * bright).astype(np.uint8)
    seen = []
    for name, pixels in {"bright.tif": bright, "dark.tif": dark}.items():
        with open_scene(make_raster(pixels, name=name), toned=True) as scene:
            seen.append(scene.read_seen((100, 50, 400, 350))[0].astype(int))
            # people see it as it is
            assert (np.moveaxis(scene.read_rectangle((100, 50, 400, 350))[0], 2, 0) == pixels[:, 50:350, 100:400]).all()
            assert "brightness" in scene.pixels
            assert "contrast x" in scene.pixels
    assert np.abs(seen[0] - seen[1]).mean() < 2


def test_the_tone_does_not_depend_on_the_size_that_is_searched_at(make_raster: MakeRaster) -> None:
    path = make_raster(np.moveaxis(ground(140, 30, 700), 2, 0))
    with open_scene(path, toned=True) as own, open_scene(path, toned=True, enlargement=0.5) as smaller:
        assert own.tone == smaller.tone == smaller.reduced(2).tone


def test_a_scene_is_toned_where_the_examples_were(make_raster: MakeRaster) -> None:
    path = make_raster(np.moveaxis(ground(140, 30), 2, 0))
    plain = BandRule(bands=(1, 2, 3), count=3, chosen="default")
    toned = plain.model_copy(update={"toned": True})
    for like, wanted in (((plain, toned), False), ((toned, plain), True)):
        with open_scene(path, like=like, toned=not wanted) as scene:
            assert (scene.tone is not None) == scene.shown.toned == wanted
    with open_scene(path) as scene:
        assert scene.tone is None
        assert scene.pixels == str(scene.rule)


def test_what_cannot_be_read_has_no_say(make_raster: MakeRaster) -> None:
    pixels = np.moveaxis(ground(140, 30, 768), 2, 0)
    pixels[:, :256] = 250
    path = make_raster(pixels, tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    whole = path.read_bytes()
    with open_scene(path, toned=True) as scene:
        of_all = scene.tone
    # the first row of blocks is the least to hold: it is broken
    path.write_bytes(whole[:300] + bytes(200) + whole[500:])
    with open_scene(path, toned=True) as scene:
        assert of_all is not None
        assert scene.tone is not None
        assert scene.tone.mean < of_all.mean
