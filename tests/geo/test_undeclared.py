"""Values that stand for nothing though no tag says so: what is recognised, what is only said, and what stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.geo.scene_opening import open_scene
from tests.geo.rasters import UTM, MakeRaster, all_pixels, noise


@pytest.mark.parametrize(
    ("kind", "value"), [(np.float32, -9999), (np.uint16, 65535), (np.uint16, 0), (np.int16, -32768), (np.float32, 1e20)]
)
def test_an_undeclared_collar_is_recognised(make_raster: MakeRaster, kind: type, value: float) -> None:
    pixels = noise(3, kind, 200)
    pixels[:, :, :30] = value
    with open_scene(make_raster(pixels, "declared.tif", nodata=value, **UTM)) as scene:
        wanted, wanted_valid = all_pixels(scene)
        assert scene.warnings == ()
    undeclared = make_raster(pixels, "undeclared.tif", **UTM)
    for nodata in (None, float(value)):
        with open_scene(undeclared, nodata=nodata) as scene, scene.reopen() as again:
            for rgb, valid in (all_pixels(scene), all_pixels(again)):
                assert (valid == wanted_valid).all()
                assert (rgb == wanted).all()
            assert scene.files == (str(undeclared),)
            assert scene.driver == "GTiff"
            assert ("25% of it and is taken for nodata" in " ".join(scene.warnings)) == (nodata is None)
    with open_scene(undeclared, nodata=float("nan")) as scene:
        assert all_pixels(scene)[1].all()
        assert scene.warnings == ()


@pytest.mark.parametrize(("kind", "value"), [(np.int64, -(2**63)), (np.uint64, 2**64 - 1), (np.int64, -9999)])
def test_an_undeclared_collar_of_64_bit_integers_is_recognised(make_raster: MakeRaster, kind: type, value: int) -> None:
    pixels: NDArray[np.generic] = noise(3, np.uint16, 200).astype(kind)
    pixels[:, :, :30] = value  # the greatest has no float of its own
    undeclared = make_raster(pixels, **UTM)
    for nodata in (None, float(value)):
        with open_scene(undeclared, nodata=nodata) as scene:
            valid = all_pixels(scene)[1]
            assert not valid[:, :30].any()
            assert valid[:, 30:].all()
            assert ("25% of it and is taken for nodata" in " ".join(scene.warnings)) == (nodata is None)


def test_what_is_no_collar_stays(make_raster: MakeRaster) -> None:
    few = noise(3, np.uint16, 200)
    few[:, 0, :2] = 65535  # less than 2 %
    one_band = noise(3, np.uint16, 200)
    one_band[0, :, :30] = 0  # there is something in the others
    for pixels in (few, one_band):
        with open_scene(make_raster(pixels, **UTM)) as scene:
            assert scene.nodata is None
            assert all_pixels(scene)[1].all()
            assert scene.warnings == ()


def test_a_nodata_value_that_cannot_be_is_said(make_raster: MakeRaster) -> None:
    with open_scene(make_raster(noise(3), **UTM), nodata=-9999) as scene:
        assert "no pixel can be the nodata value -9999" in scene.warnings[0]
        assert all_pixels(scene)[1].all()
        assert scene.shown.nodata is None
    for kind, cannot in ((np.uint16, 70_000), (np.int16, -3.4e38), (np.uint16, 0.5), (np.float32, 1e300)):
        pixels = noise(3, kind, 200)
        pixels[:, :, :30] = real = 65535 if kind == np.uint16 else -9999
        with open_scene(make_raster(pixels, **UTM), nodata=cannot) as scene:
            assert f"no pixel can be the nodata value {cannot:g}" in scene.warnings[0]
            assert f"{real} fills 25% of it and is taken for nodata" in scene.warnings[1]
            assert scene.nodata == real
            assert not all_pixels(scene)[1][:, :30].any()


def ground(kind: type, low: float, high: float, bands: int = 3, size: int = 200) -> np.ndarray:
    """Hills with some noise on them, alike in all bands."""
    random = np.random.default_rng(0)
    hills = cv2.GaussianBlur(random.normal(size=(size, size)), (0, 0), 6)
    hills = np.stack([hills / hills.std() + 0.2 * random.normal(size=hills.shape) for _ in range(bands)])
    return (low + (hills - hills.min()) * (high - low) / np.ptp(hills)).astype(kind)


def with_holes(pixels: np.ndarray, value: float, bands: slice = slice(None)) -> np.ndarray:
    pixels = pixels.copy()
    pixels[bands, 20:60, 30:80] = pixels[bands, 150:190, 100:180] = value  # 13 %
    return pixels


@pytest.mark.parametrize(
    ("kind", "low", "high", "value"),
    [
        (np.uint16, 0, 20_000, 9999),
        (np.uint16, 0, 60_000, 32767),
        (np.int32, -60_000, 60_000, -32768),
        (np.float32, -20_000, 5000, -9999),
        (np.float64, 100, 7000, 9999),  # beyond the others, and not far
        (np.float32, 100, 900, -5555),  # unknown, but far away
    ],
)
@pytest.mark.parametrize(("bands", "times"), [(1, 1), (3, 1), (1, 21)])  # the longest is seen reduced
def test_a_sentinel_amid_the_values_is_recognised(
    make_raster: MakeRaster, kind: type, low: float, high: float, value: float, bands: int, times: int
) -> None:
    holes = with_holes(ground(kind, low, high, bands), value).repeat(times, axis=2)
    with open_scene(make_raster(holes, "declared.tif", nodata=value, **UTM)) as scene:
        wanted = scene.rule
    with open_scene(make_raster(holes, **UTM)) as scene:
        assert scene.nodata == value
        assert f"{value} fills 13% of it and is taken for nodata" in scene.warnings[0]
        for ends in ((scene.rule.low, wanted.low), (scene.rule.high, wanted.high)):
            own, other = np.array(ends, np.float64)
            assert np.allclose(own, other, atol=0.01 * (high - low))
        assert (all_pixels(scene)[1] == (holes != value).any(axis=0)).all()


def test_what_is_left_out_of_the_brightness_is_said(make_raster: MakeRaster) -> None:
    plain = ground(np.uint16, 100, 3000)
    collar = with_holes(plain, 0)
    collar[:, :, 190:] = 65535  # the other end
    one_band = with_holes(plain, 9999, slice(1, 2))
    for pixels, given, said in (
        (collar, {}, "65535 fills 5% of it and is left out of its brightness; --nodata 65535 if it alone"),
        (with_holes(plain, 65535), {"nodata": 0}, "65535 fills 13% of it and is left out"),
        (one_band, {}, "9999 fills 13% of it in band 2 and is left out of that band's brightness"),
    ):
        with open_scene(make_raster(pixels, **given, **UTM)) as scene, open_scene(make_raster(plain, "p.tif")) as own:
            assert said in scene.warnings[-1]
            for ends in ((scene.rule.low, own.rule.low), (scene.rule.high, own.rule.high)):
                own_end, other = np.array(ends, np.float64)
                assert np.allclose(own_end, other, atol=100)
    # a value that was asked for keeps others from nothing but becoming invalid
    with open_scene(make_raster(with_holes(plain, 65535), **UTM), nodata=9999) as scene:
        assert "65535 fills 13% of it and is left out" in scene.warnings[0]
        assert all_pixels(scene)[1].all()


def test_declared_holes_of_one_band_set_no_brightness(make_raster: MakeRaster) -> None:
    plain = ground(np.float32, 100, 3000)
    holes = with_holes(plain, -9999, slice(1, 2))
    with open_scene(make_raster(holes, nodata=-9999, **UTM)) as scene:
        assert all_pixels(scene)[1].all()
        assert min(scene.rule.low or (0,)) > 100


def test_real_values_are_hidden_by_no_rule(make_raster: MakeRaster) -> None:
    cut_off = np.minimum(ground(np.uint16, 0, 14_000), 9999)
    terrain = ground(np.float32, -300, 900, 1)
    lake = np.where(np.abs(terrain - 321) < 20, np.float32(321), terrain)
    for pixels in (cut_off, lake, ground(np.uint16, 0, 40), ground(np.int16, -9, 9), ground(np.uint16, 1, 9000)):
        with open_scene(make_raster(pixels, **UTM)) as scene:
            assert scene.nodata is None
            assert scene.warnings == ()
    # nothing, perhaps: that is for the user to say
    for pixels, value in (
        (with_holes(ground(np.float32, -3, 3), 0), 0),
        (with_holes(ground(np.uint16, 100, 900), 20), 20),
    ):
        with open_scene(make_raster(pixels, **UTM)) as scene:
            assert scene.nodata is None
            assert f"{value} fills 13% of it, with sharp edges" in scene.warnings[0]
            assert f"--nodata {value} if" in scene.warnings[0]
