from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.resume import ResumeFrom
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import SceneResult, predict_scene

MakeRaster = Callable[..., Path]

REAL = Path(os.environ.get("FSOD_SHARED", "../shared")) / "data" / "geotiff"
UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
UTM_60_AT_180_M = 833_978.557
"""Easting of 180 degrees at the equator."""
CORNER_PX = [(120.0, 60.0), (330.0, 90.0), (300.0, 280.0), (140.0, 260.0)]


def everywhere(images: NDArray[np.uint8]) -> list[Detections]:
    """Boxes of 8 px on a lattice of 16 px, whatever the pixels say."""
    x, y = (a.ravel() for a in np.meshgrid(*[np.arange(4.0, images.shape[1] - 8, 16)] * 2))
    boxes = np.stack([x, y, x + 8, y + 8], axis=1)
    one = Detections(boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int64))
    return [one for _ in images]


def centres(result: SceneResult) -> NDArray[np.float64]:
    boxes = result.detections.boxes_xyxy_px
    return (boxes[:, :2] + boxes[:, 2:]) / 2


@pytest.fixture
def scene(make_raster: MakeRaster) -> Path:
    return make_raster(np.random.default_rng(0).integers(0, 255, (3, 400, 500)).astype(np.uint8), **UTM)


def save_area(path: Path, corners_px: list[tuple[float, float]], crs: str) -> Path:
    ring = [Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000) @ corner for corner in corners_px]
    geopandas.GeoSeries([shapely.Polygon(ring)], crs="EPSG:32633").to_crs(crs).to_file(path)
    return path


@pytest.mark.parametrize("gsd_m", [None, 0.8])
@pytest.mark.parametrize(
    ("name", "crs"), [("a.geojson", "EPSG:4326"), ("a.gpkg", "EPSG:3857"), ("a.shp", "EPSG:32632")]
)
def test_only_the_area_is_searched(scene: Path, tmp_path: Path, name: str, crs: str, gsd_m: float | None) -> None:
    seen: list[int] = []

    def counted(images: NDArray[np.uint8]) -> list[Detections]:
        seen.append(sum(image.any() for image in images))
        return everywhere(images)

    whole = predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, gsd_m=gsd_m))
    aoi = save_area(tmp_path / name, CORNER_PX, crs)
    result = predict_scene(scene, counted, ScenePlan(window_px=64, overlap_px=32, gsd_m=gsd_m, aoi=aoi))
    assert sum(seen) == result.windows_run < 0.7 * whole.windows_run
    assert result.windows_run + result.windows_outside == whole.windows_run
    inside = shapely.contains_xy(shapely.Polygon(CORNER_PX), centres(whole))
    expected = whole.detections.boxes_xyxy_px[inside]
    assert sorted(result.detections.boxes_xyxy_px.tolist()) == sorted(expected.tolist())
    assert len(expected) > 50


@pytest.mark.parametrize("west_deg", [179.9992, -180.0])
def test_a_window_across_the_antimeridian_is_reached(make_raster: MakeRaster, tmp_path: Path, west_deg: float) -> None:
    across = Affine(1, 0, UTM_60_AT_180_M - 100, 0, -1, 200)
    scene = make_raster(
        np.random.default_rng(0).integers(0, 255, (3, 128, 200)).astype(np.uint8), crs="EPSG:32660", transform=across
    )
    aoi = tmp_path / "a.geojson"
    geopandas.GeoSeries([shapely.box(west_deg, 0, west_deg + 0.0005, 0.01)], crs="EPSG:4326").to_file(aoi)
    result = predict_scene(scene, everywhere, ScenePlan(window_px=256, overlap_px=32, aoi=aoi))
    assert (result.windows_run, result.windows_outside) == (1, 0)
    east = centres(result)[:, 0] > 100
    assert len(east)
    assert east.all() if west_deg < 0 else not east.any()


@pytest.mark.parametrize("west_deg", [-160.0, 200.0])
@pytest.mark.parametrize("left_deg", [-160.0, 200.0])
def test_longitudes_beyond_180_are_the_same_places(
    make_raster: MakeRaster, tmp_path: Path, west_deg: float, left_deg: float
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 128, 256)).astype(np.uint8)
    scene = make_raster(pixels, crs="EPSG:4326", transform=Affine(1e-5, 0, left_deg, 0, -1e-5, 0))
    aoi = tmp_path / "a.gpkg"
    geopandas.GeoSeries([shapely.box(west_deg, -1, west_deg + 100e-5, 1)], crs="EPSG:4326").to_file(aoi)
    found = centres(predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=aoi)))
    whole = centres(predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32)))
    assert len(found) == (whole[:, 0] < 100).sum() > 20
    assert (found[:, 0] < 100).all()


def test_progress_counts_the_windows_of_the_area(scene: Path, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    aoi = save_area(tmp_path / "a.gpkg", CORNER_PX, "EPSG:32633")
    result = predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, batch=1, aoi=aoi), on_progress=lambda done, total: progress.append((done, total)))  # fmt: skip
    assert progress == [(i + 1, result.windows_run) for i in range(result.windows_run)]


def test_several_polygons_and_one_that_reaches_beyond_the_crs(scene: Path, tmp_path: Path) -> None:
    aoi = tmp_path / "a.geojson"
    whole = predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32))
    geopandas.GeoSeries([shapely.box(-180, -90, 180, 90)], crs=4326).to_file(aoi)
    result = predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=aoi))
    assert len(result.detections) == len(whole.detections)
    assert result.windows_outside == 0
    with open_scene(scene) as opened:
        corners = np.array([[0, 0], [60, 60], [440, 340], [500, 400]], dtype=np.float64)
        (x1, y2), (x2, y1), (x3, y4), (x4, y3) = opened.georeference.to_lonlat(corners).tolist()
    two = [shapely.box(x1, y1, x2, y2), shapely.box(x3, y3, x4, y4)]
    geopandas.GeoSeries(two, crs=4326).to_file(aoi)
    found = centres(predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=aoi)))
    expected = (centres(whole) < 60).all(axis=1) | (centres(whole) > [440, 340]).all(axis=1)
    assert len(found) == expected.sum() > 20
    assert ((found < 60).all(axis=1) | (found > [440, 340]).all(axis=1)).all()


def test_an_area_elsewhere_runs_nothing_and_says_so(scene: Path, tmp_path: Path) -> None:
    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        raise AssertionError("nothing to search")

    for number, crs in enumerate(("EPSG:4326", "EPSG:2193")):
        aoi = tmp_path / f"{number}.gpkg"
        geopandas.GeoSeries([shapely.box(170, -42, 171, -41)], crs="EPSG:4326").to_crs(crs).to_file(aoi)
        result = predict_scene(scene, detect, ScenePlan(window_px=64, overlap_px=32, aoi=aoi))
        assert len(result.detections) == 0
        assert f"lies outside {aoi}" in result.warnings[-1]


@pytest.mark.parametrize("upwards", [False, True])
def test_a_scene_without_crs_takes_pixels(make_raster: MakeRaster, tmp_path: Path, upwards: bool) -> None:
    path = make_raster(np.random.default_rng(0).integers(0, 255, (3, 400, 500)).astype(np.uint8))
    aoi = tmp_path / "a.geojson"
    y_px = (-150, -100) if upwards else (100, 150)  # as QGIS lays out a picture
    geopandas.GeoSeries([shapely.box(100, y_px[0], 200, y_px[1])]).to_file(aoi)
    found = centres(predict_scene(path, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=aoi)))
    assert len(found) > 10
    assert (found >= [100, 100]).all()
    assert (found <= [200, 150]).all()


def test_what_is_no_area_is_refused(scene: Path, tmp_path: Path) -> None:
    def refused(match: str, *shapes: shapely.Geometry, crs: int | None = 4326) -> None:
        aoi = tmp_path / "a.gpkg"
        aoi.unlink(missing_ok=True)
        geopandas.GeoSeries(shapes, crs=crs).to_file(aoi)
        with pytest.raises(UserError, match=match):
            predict_scene(scene, everywhere, ScenePlan(aoi=aoi))

    refused(r"a.gpkg: feature 2: no polygon", shapely.box(0, 0, 1, 1), shapely.Point(1, 1))
    refused(r"a.gpkg: feature 1: a coordinate .* larger than any place", shapely.Polygon([(0, 0), (3e150, -1), (1, 1)]))
    refused(r"a.gpkg: has no CRS", shapely.box(0, 0, 1, 1), crs=None)
    with pytest.raises(UserError, match=r"missing.gpkg: no such vector file"):
        predict_scene(scene, everywhere, ScenePlan(aoi=tmp_path / "missing.gpkg"))


def test_exchanged_coordinates_are_said_where_they_are_no_latitudes(make_raster: MakeRaster, tmp_path: Path) -> None:
    place = {"crs": "EPSG:32654", "transform": Affine(0.5, 0, 400_000, 0, -0.5, 3_900_000)}
    scene = make_raster(np.random.default_rng(0).integers(0, 255, (3, 400, 500)).astype(np.uint8), **place)
    box = geopandas.GeoSeries([shapely.box(400_050, 3_899_900, 400_100, 3_899_950)], crs=32654).to_crs(4326)
    turned = shapely.transform(np.asarray(box), lambda xy: xy[:, ::-1])
    geopandas.GeoSeries(turned, crs=4326).to_file(tmp_path / "a.geojson")
    with pytest.raises(UserError, match=r"latitudes of 139.* are nowhere on the globe; .*; exchange the two"):
        predict_scene(scene, everywhere, ScenePlan(aoi=tmp_path / "a.geojson"))


def test_a_layer_of_several_is_named(scene: Path, tmp_path: Path) -> None:
    aoi = save_area(tmp_path / "a.gpkg", CORNER_PX, "EPSG:32633")
    geopandas.GeoSeries([shapely.box(500_000, 4_999_950, 500_050, 5_000_000)], crs=32633).to_file(aoi, layer="corner")
    with pytest.raises(UserError, match=r"has several layers; name one of a, corner \(--layer\)"):
        predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=aoi))
    found = centres(
        predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=aoi, aoi_layer="corner"))
    )
    assert len(found) > 10
    assert (found <= 100).all()


def test_another_area_is_another_run(scene: Path, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"
    first = save_area(tmp_path / "a.gpkg", CORNER_PX, "EPSG:32633")
    predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=first), resume=ResumeFrom(journal))
    again = predict_scene(
        scene, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=first), resume=ResumeFrom(journal)
    )
    assert again.windows_resumed == again.windows_run > 0
    other = save_area(tmp_path / "b.gpkg", CORNER_PX[:3], "EPSG:32633")
    with pytest.raises(UserError, match="differs in aoi"):
        predict_scene(scene, everywhere, ScenePlan(window_px=64, overlap_px=32, aoi=other), resume=ResumeFrom(journal))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"real rasters are not here: {REAL}")
def test_on_a_real_mercator_scene(tmp_path: Path) -> None:
    path, aoi = REAL / "bridge_vehicles_3395.tif", tmp_path / "a.geojson"
    with open_scene(path) as scene:
        corners = scene.georeference.to_lonlat(np.array([[600, 700], [1400, 700], [1400, 1300.0]]))
    geopandas.GeoSeries([shapely.Polygon(corners)], crs=4326).to_file(aoi)
    found = centres(predict_scene(path, everywhere, ScenePlan(window_px=256, overlap_px=64, aoi=aoi)))
    assert len(found) > 100
    triangle = shapely.Polygon([(600, 700), (1400, 700), (1400, 1300)])
    assert shapely.distance(triangle, shapely.points(found)).max() < 0.1
