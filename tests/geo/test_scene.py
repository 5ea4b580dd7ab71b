"""One small made raster for each thing that real rasters do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from fsod.errors import UserError
from fsod.geo.pixels import PixelRule
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene
from fsod.geo.windows import Window, window_grid

MakeRaster = Callable[..., Path]

UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}


def read_all(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The whole grid through windows of 64 px, put together by their cores."""
    rgb = np.zeros((scene.grid_height_px, scene.grid_width_px, 3), np.uint8)
    valid = np.zeros(rgb.shape[:2], np.bool_)
    for window in window_grid(scene.grid_width_px, scene.grid_height_px, 64, 32):
        pixels, mask = scene.read_window(window)
        left, top, right, bottom = window.core_xyxy_px
        x, y = left - window.left_px, top - window.top_px
        rgb[top:bottom, left:right] = pixels[y : y + bottom - top, x : x + right - left]
        valid[top:bottom, left:right] = mask[y : y + bottom - top, x : x + right - left]
    return rgb, valid


def noise(bands: int, kind: type = np.uint8, high: int = 255, size: tuple[int, int] = (90, 120)) -> np.ndarray:
    return np.random.default_rng(bands).integers(1, high, (bands, *size)).astype(kind)


def test_8_bit_rgb_passes_through(make_raster: MakeRaster) -> None:
    pixels = noise(3)
    with open_scene(make_raster(pixels, **UTM)) as scene:
        rgb, valid = read_all(scene)
        assert (scene.width_px, scene.height_px) == (120, 90)
        assert scene.georeference.gsd_m == pytest.approx(0.5, rel=1e-3)
        assert scene.warnings == ()
    np.testing.assert_array_equal(rgb, pixels.transpose(1, 2, 0))
    assert valid.all()


def test_uint16_with_nodata_is_scaled_alike_in_every_window(make_raster: MakeRaster) -> None:
    pixels = noise(3, np.uint16, high=4000)
    pixels[1] += 10_000
    pixels[:, :30, :50] = 0
    with open_scene(make_raster(pixels, nodata=0, **UTM)) as scene:
        rgb, valid = read_all(scene)
        assert scene.rule.low is not None
        assert scene.rule.high is not None
        expected = []
        for band, low, high in zip(pixels, scene.rule.low, scene.rule.high, strict=True):
            values = band[30:, 50:]
            # percentiles of valid pixels only: zeros would pull the low end to 0
            assert low == pytest.approx(np.percentile(band[band > 0], 2))
            assert high == pytest.approx(np.percentile(band[band > 0], 98))
            expected.append(np.rint(np.clip((values - low) / (high - low), 0, 1) * 255))
    np.testing.assert_array_equal(valid, pixels[0] > 0)
    np.testing.assert_array_equal(rgb[30:, 50:], np.stack(expected, axis=-1))
    assert not rgb[~valid].any()


def test_a_pixel_is_valid_if_any_band_is(make_raster: MakeRaster) -> None:
    pixels = noise(3)
    pixels[0, :10] = 0
    pixels[:, 10:20] = 0
    with open_scene(make_raster(pixels, nodata=0, **UTM)) as scene:
        _, valid = read_all(scene)
    assert valid[:10].all()
    assert not valid[10:20].any()


@pytest.mark.parametrize("nodata", [np.nan, None])
def test_float_with_nan_and_infinity(make_raster: MakeRaster, nodata: float | None) -> None:
    pixels = noise(1, np.float32, high=1000) / 1000
    pixels[0, :20] = np.nan
    pixels[0, 30, 30] = np.inf
    with open_scene(make_raster(pixels, nodata=nodata, **UTM)) as scene:
        rgb, valid = read_all(scene)
        assert "bands 1 scaled from" not in str(scene.rule) or "nan" not in str(scene.rule)
    assert not valid[:20].any()
    assert not valid[30, 30]
    assert valid.sum() == 70 * 120 - 1
    assert rgb[valid].max() == 255
    assert (rgb[..., 0] == rgb[..., 2]).all()


def test_one_bad_pixel_of_a_band_does_not_turn_it_black(make_raster: MakeRaster) -> None:
    pixels = noise(3, np.float32, high=1000)
    pixels[1, 5, 5], pixels[2, 7, 7] = np.nan, np.inf
    with open_scene(make_raster(pixels, **UTM)) as scene:
        rgb, valid = read_all(scene)
    assert valid.all()
    assert 100 < rgb[..., 1].mean() < 156
    assert 100 < rgb[..., 2].mean() < 156


@pytest.mark.parametrize("colours", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_alpha_is_a_mask_and_no_colour(make_raster: MakeRaster, colours: int, kind: type) -> None:
    pixels = noise(colours + 1, kind)
    pixels[-1] = 1
    pixels[-1, :, :40] = 0

    def last_is_alpha(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.colorinterp = [*[ColorInterp.undefined] * colours, ColorInterp.alpha]

    with open_scene(make_raster(pixels, prepare=last_is_alpha, photometric="minisblack", **UTM)) as scene:
        rgb, valid = read_all(scene)
        assert scene.rule.bands == ((1, 2, 3) if colours >= 3 else (1,))
    np.testing.assert_array_equal(valid, pixels[-1] > 0)
    assert not rgb[:, :40].any()
    if kind == np.uint8:
        np.testing.assert_array_equal(rgb[:, 40:, 0], pixels[0][:, 40:])


def test_a_mask_band_is_heeded(make_raster: MakeRaster) -> None:
    mask = np.full((90, 120), 255, np.uint8)
    mask[50:] = 0
    with open_scene(make_raster(noise(3), prepare=lambda d: d.write_mask(mask), **UTM)) as scene:
        _, valid = read_all(scene)
    np.testing.assert_array_equal(valid, mask > 0)


def test_bands_are_found_by_their_colour(make_raster: MakeRaster) -> None:
    def nir_blue_green_red(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.colorinterp = [ColorInterp.undefined, ColorInterp.blue, ColorInterp.green, ColorInterp.red]

    path = make_raster(noise(4), prepare=nir_blue_green_red, **UTM)
    with open_scene(path) as scene:
        assert scene.rule.bands == (4, 3, 2)
    with open_scene(path, bands=(1, 4, 3)) as scene:
        assert scene.rule.bands == (1, 4, 3)
    with pytest.raises(UserError, match=r"bands \[1, 5, 2\].*from 1 to 4"):
        open_scene(path, bands=(1, 5, 2))


def test_a_palette_is_looked_up(make_raster: MakeRaster) -> None:
    pixels = noise(1, high=4)
    colours = {1: (200, 10, 20), 2: (0, 255, 0), 3: (7, 8, 9)}
    path = make_raster(pixels, prepare=lambda d: d.write_colormap(1, colours), photometric="palette", **UTM)
    with open_scene(path) as scene:
        rgb, _ = read_all(scene)
    for value, colour in colours.items():
        assert (rgb[pixels[0] == value] == colour).all()


@pytest.mark.parametrize("value", [0, 700])
def test_a_zero_range_is_not_stretched(make_raster: MakeRaster, value: int) -> None:
    pixels = np.full((1, 90, 120), value, np.uint16)
    with open_scene(make_raster(pixels, **UTM)) as scene:
        rgb, valid = read_all(scene)
    assert not rgb.any()
    assert valid.all()


def test_a_nearly_empty_scene_is_scaled_by_what_is_there(make_raster: MakeRaster) -> None:
    pixels = np.zeros((1, 90, 120), np.uint16)
    pixels[0, 40:43, 40:43] = 3000
    with open_scene(make_raster(pixels, **UTM)) as scene:
        rgb, _ = read_all(scene)
    assert (rgb[40:43, 40:43] == 255).all()
    assert rgb.sum() == 9 * 3 * 255


def test_all_nodata(make_raster: MakeRaster) -> None:
    with open_scene(make_raster(np.zeros((1, 90, 120), np.uint16), nodata=0, **UTM)) as scene:
        rgb, valid = read_all(scene)
    assert not valid.any()
    assert not rgb.any()


def test_a_scene_without_crs_keeps_its_pixels_and_says_so(make_raster: MakeRaster) -> None:
    path = make_raster(noise(3))
    with open_scene(path, gsd_m=0.1) as scene:
        assert scene.georeference.crs is None
        assert scene.georeference.gsd_m is None
        assert (scene.grid_width_px, scene.grid_height_px) == (120, 90)
        assert "scene.tif: has no CRS, so coordinates are pixels" in scene.warnings[0]
        assert "read at its own, not at 0.1 m" in scene.warnings[1]


def test_a_crs_of_no_place_is_not_used(make_raster: MakeRaster) -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    with open_scene(make_raster(noise(3), crs=local, transform=UTM["transform"])) as scene:
        assert scene.georeference.crs is None
        assert "its CRS cannot be used" in scene.warnings[0]


def test_ground_control_points_give_the_transform(make_raster: MakeRaster) -> None:
    wanted = Affine.translation(500_000, 5_000_000) @ Affine.rotation(20) @ Affine.scale(2, -2)
    gcps = [GroundControlPoint(row, col, *(wanted @ (col, row))) for row in (0, 45, 90) for col in (0, 60, 120)]
    with open_scene(make_raster(noise(1), gcps=gcps, crs="EPSG:32633")) as scene:
        assert scene.georeference.transform.almost_equals(wanted, 1e-5)
        assert scene.georeference.gsd_m == pytest.approx(2, rel=1e-3)
        assert "9 ground control points; the worst of them is off by 0.0 px" in scene.warnings[0]


def test_a_rotated_scene_has_its_true_gsd(make_raster: MakeRaster) -> None:
    transform = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    with open_scene(make_raster(noise(1), crs="EPSG:32633", transform=transform)) as scene:
        assert scene.georeference.gsd_xy_m == pytest.approx((0.5, 0.5), rel=1e-3)
        assert "rotated" in scene.warnings[0]


@pytest.mark.parametrize("latitude", [0.0, 45.0, 60.0])
def test_gsd_is_measured_on_the_ground(make_raster: MakeRaster, latitude: float) -> None:
    # expected: the radii of curvature of the ellipsoid, worked out apart from the geodesic code under test
    a, e2, phi = 6_378_137.0, 0.00669437999014, np.radians(latitude)
    across = a / np.sqrt(1 - e2 * np.sin(phi) ** 2) * np.cos(phi)
    along = a * (1 - e2) / (1 - e2 * np.sin(phi) ** 2) ** 1.5
    step = 1e-5
    degrees = Affine(step, 0, 10 - 60 * step, 0, -step, latitude + 45 * step)
    with open_scene(make_raster(noise(3), crs="EPSG:4326", transform=degrees)) as scene:
        assert scene.file_georeference.gsd_xy_m == pytest.approx(np.radians(step) * np.array([across, along]), rel=1e-6)
        across_m, along_m = scene.georeference.gsd_xy_m or (0, 1)
        assert across_m == pytest.approx(along_m, rel=0.02)  # seen square
    y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(10, latitude)[1]
    mercator = Affine(2, 0, 1e6, 0, -2, y + 90)
    with open_scene(make_raster(noise(3), crs="EPSG:3857", transform=mercator)) as scene:
        assert scene.georeference.gsd_m == pytest.approx(2 * np.cos(phi), rel=5e-3)


def checks() -> np.ndarray:
    """A scene of 4 px squares, each of one grey."""
    greys = np.random.default_rng(5).integers(0, 255, (60, 80)).astype(np.uint8)
    return np.repeat(np.kron(greys, np.ones((4, 4), np.uint8))[None], 3, axis=0)


@pytest.mark.parametrize("gsd_m", [0.5, 1.0, 1.3, 2.0, 0.3])
def test_a_target_gsd_gives_windows_of_the_resampled_scene(make_raster: MakeRaster, gsd_m: float) -> None:
    path = make_raster(checks(), **UTM)
    with open_scene(path, gsd_m=gsd_m) as scene:
        assert scene.grid_width_px == pytest.approx(320 * 0.5 / gsd_m, abs=1)
        assert scene.grid_gsd_m == pytest.approx(gsd_m, rel=5e-3)
        rgb, valid = read_all(scene)
        whole, _ = scene.read_reduced(10_000)
    assert valid.all()
    # windows join without a trace: what they hold does not depend on where they start
    np.testing.assert_array_equal(rgb, whole)
    if gsd_m == 2.0:
        np.testing.assert_array_equal(rgb, checks()[:, ::4, ::4].transpose(1, 2, 0))


def test_geographic_pixels_become_square_on_the_ground(make_raster: MakeRaster) -> None:
    degrees = Affine(1e-5, 0, 10, 0, -1e-5, 60)
    with open_scene(make_raster(noise(3), crs="EPSG:4326", transform=degrees), gsd_m=1.114) as scene:
        assert (scene.grid_width_px, scene.grid_height_px) == (60, 90)
        assert scene.grid_gsd_m == pytest.approx(1.114, rel=0.01)


def test_nodata_does_not_bleed_into_a_resampled_scene(make_raster: MakeRaster) -> None:
    pixels = np.full((1, 90, 120), 1000, np.uint16)
    pixels[0, :, 60:] = 2000
    pixels[0, :45] = 0
    with open_scene(make_raster(pixels, nodata=0, **UTM), gsd_m=0.8) as scene:
        rgb, valid = read_all(scene)
    assert set(np.unique(rgb[valid])) <= {0, 255, *range(60, 200)}
    # along the border to nodata, values are of either side, not mixed with nodata's 0: the bright half stays bright
    border = int(valid[:, -1].argmax())
    assert rgb[border, -20:].min() == 255


def test_a_gsd_out_of_reach_is_refused(make_raster: MakeRaster) -> None:
    path = make_raster(noise(3), **UTM)
    with pytest.raises(UserError, match=r"scene.tif: its pixels are 0.5 m, too coarse to look for objects at 0.05 m"):
        open_scene(path, gsd_m=0.05)
    with pytest.raises(UserError, match=r"scene.tif: its pixels are 0.5 m, too fine to look for objects at 40 m"):
        open_scene(path, gsd_m=40)
    with pytest.raises(UserError, match="positive number"):
        open_scene(path, gsd_m=-1)


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}])
def test_a_truncated_file_names_file_and_pixels(make_raster: MakeRaster, layout: dict[str, object]) -> None:
    path = make_raster(noise(3, size=(256, 256)), **layout, **UTM)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - size // 4)
    first = Window(0, 0, 64, 64, (0, 0, 64, 64), (-np.inf, -np.inf, np.inf, np.inf))
    last = Window(192, 192, 64, 64, (192, 192, 256, 256), (-np.inf, -np.inf, np.inf, np.inf))
    with open_scene(path) as scene:
        scene.read_window(first)
        with pytest.raises(
            UserError, match=r"scene.tif: damaged or cut short: pixels of columns 192 to 256, rows 192 to"
        ):
            scene.read_window(last)


def test_what_is_no_raster_is_refused(tmp_path: Path, make_raster: MakeRaster) -> None:
    text = tmp_path / "notes.tif"
    text.write_text("not a raster")
    with pytest.raises(UserError, match=r"notes.tif: cannot be opened as a raster"):
        open_scene(text)
    with pytest.raises(UserError, match=r"missing.tif: cannot be opened as a raster \(.*No such file"):
        open_scene(tmp_path / "missing.tif")
    with pytest.raises(UserError, match="complex pixels"):
        open_scene(make_raster(noise(1, np.complex64), **UTM))


def test_a_reopened_scene_reads_the_same(make_raster: MakeRaster) -> None:
    with open_scene(make_raster(noise(3, np.uint16, high=5000), **UTM)) as scene:
        again = scene.reopen()
        with again:
            np.testing.assert_array_equal(read_all(again)[0], read_all(scene)[0])
        read_all(scene)  # still open


@pytest.mark.parametrize("name", ["scene.png", "scene.jpg"])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_truncated_picture_is_no_scene_with_an_empty_half(tmp_path: Path, name: str, bands: int) -> None:
    # read at once, as it is smaller than a window
    path = tmp_path / name
    pixels = np.random.default_rng(0).integers(0, 255, (200, 240, bands)).astype(np.uint8)
    Image.fromarray(pixels.squeeze()).save(path)
    with open_scene(path) as scene:
        assert scene.read_rectangle((0, 0, 240, 200))[1].all()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (
        pytest.raises(UserError, match=rf"{name}: damaged or cut short: pixels of columns 0 to 240, rows 0 to 200"),
        open_scene(path) as scene,
    ):
        scene.read_rectangle((0, 0, 240, 200))


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_16_bit_is_scaled_by_table_as_by_arithmetic(kind: type[np.integer]) -> None:
    bounds = np.iinfo(kind)
    raw = np.random.default_rng(0).integers(bounds.min, bounds.max, (3, 50, 60), endpoint=True).astype(kind)
    rule = PixelRule((1, 2, 3), (100.0, -70.5, 9.0), (9000.0, 20_000.25, 9.0))  # the last band has no range
    valid = raw[0] > 0
    np.testing.assert_array_equal(rule.to_rgb(raw, valid), rule.to_rgb(raw.astype(np.float64), valid))
