"""The tone that a network sees scenes in, and who sees them so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.band_rule import BandRule
from fsod.boxes import Detections
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene
from fsod.geo.tone import CONTRAST, MIDDLE, STRONGEST, Tone, tone_of
from fsod.image_look import LUMINANCE

MakeRaster = Callable[..., Path]
ALL = np.ones((64, 64), bool)


def ground(mean: float, deviation: float, side: int = 64) -> NDArray[np.uint8]:
    """(side, side, 3) grey noise."""
    grey = np.random.default_rng(0).normal(mean, deviation, (side, side, 1))
    return np.repeat(grey, 3, axis=2).clip(4, 251).astype(np.uint8)


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
    assert seen.std() == pytest.approx(gain * (rgb @ LUMINANCE).std(), rel=0.05)


def test_colours_stay_what_they_are() -> None:
    rgb = np.zeros((1, 1, 3), np.uint8) + np.array([60, 50, 40], np.uint8)
    assert Tone(50.0, 2.0).of(rgb, np.ones((1, 1), bool)).tolist() == [[[147, 127, 107]]]


@pytest.mark.parametrize(("mean", "gain"), [(127, 4.0), (40, 4.0), (220, 3.0), (65, 1.0), (0, 1.0), (255, 1.0)])
def test_what_differs_goes_on_to_differ(mean: float, gain: float) -> None:
    """Rare bright ground in a dark scene does not become one white."""
    table = Tone(mean, gain).table.astype(int)
    assert (np.diff(table) >= 0).all()
    assert (table[12::24][1:] > table[12::24][:-1]).all()
    assert table[round(min(max(mean, 20), 235))] == pytest.approx(127, abs=gain * 20)


def test_rare_bright_ground_is_not_pushed_out_of_the_range() -> None:
    sea, land = ground(40, 5), ground(150, 20)
    tone = tone_of([(sea, ALL)] * 15 + [(land, ALL)])
    assert tone is not None
    assert tone.gain < 2  # 4 for the sea alone
    seen = tone.of(land, ALL)
    assert seen.std() > 10
    assert (seen == 255).mean() < 0.1


def test_what_is_no_ground_does_not_count() -> None:
    rgb, valid = ground(90, 20), ALL.copy()
    alone = tone_of([(rgb, valid)])
    filled = np.concatenate([rgb, np.full_like(rgb, 2), np.full_like(rgb, 254), np.full_like(rgb, 7)])
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


def test_a_scene_that_is_mostly_empty_has_the_tone_of_what_it_shows(make_raster: MakeRaster) -> None:
    """Between the first squares that are looked at, which are 936 px apart."""
    shown = (20 + np.random.default_rng(0).integers(0, 40, (3, 500, 500))).astype(np.uint8)
    pixels = np.zeros((3, 3000, 3000), np.uint8)
    pixels[:, 300:800, 300:800] = shown
    with open_scene(make_raster(pixels, nodata=0), toned=True) as sparse:
        whole = tone_of([(shown.transpose(1, 2, 0), np.ones((500, 500), np.bool_))])
        assert sparse.tone is not None
        assert whole is not None
        assert (sparse.tone.mean, sparse.tone.gain) == pytest.approx((whole.mean, whole.gain), rel=0.01)


def test_the_tone_does_not_depend_on_the_size_that_is_searched_at(make_raster: MakeRaster) -> None:
    path = make_raster(np.moveaxis(ground(140, 30, 700), 2, 0))
    with open_scene(path, toned=True) as own, open_scene(path, toned=True, enlargement=0.5) as smaller:
        assert own.tone == smaller.tone == smaller.reduced(2).tone


def test_a_scene_is_toned_where_the_examples_were(make_raster: MakeRaster) -> None:
    path = make_raster(np.moveaxis(ground(140, 30), 2, 0))
    plain = BandRule(bands=(1, 2, 3), count=3, chosen="default")
    toned = plain.model_copy(update={"toned": True})
    for like, asked, wanted in (
        ((plain, toned), True, False),
        ((toned, plain), None, True),
        ((toned,), False, False),
    ):
        with open_scene(path, like=like, toned=asked) as scene:
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


def test_a_window_that_shows_something_is_searched_though_the_tone_makes_it_one_white(
    make_raster: MakeRaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone = Tone(40.0, STRONGEST)
    assert tone.table[250] == tone.table[251]
    monkeypatch.setattr("fsod.geo.scene_opening.tone_of", lambda squares: tone)
    pixels = np.full((3, 256, 256), 40, np.uint8)
    pixels[:, :, ::2] = 44
    pixels[:, 128:, 128:] = 250
    pixels[:, 160:170, 160:170] = 251
    seen: list[int] = []

    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        seen.extend(int(image.max()) for image in images)
        return [Detections(np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(images)

    plan = ScenePlan(
        window_px=128, overlap_px=32, batch=1, like=(BandRule(bands=(1, 2, 3), count=3, chosen="tags", toned=True),)
    )
    result = predict_scene(make_raster(pixels), detect, plan)
    assert result.windows_blank == 0
    assert len(seen) == result.windows_run > 4
    assert "contrast x" in result.pixels
