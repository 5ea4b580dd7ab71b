from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.geometry.base import BaseGeometry

from fsod.errors import UserError
from fsod.geo.marked_areas import inside, read_marked_areas
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene

MakeRaster = Callable[..., Path]

STRAIGHT = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
ROTATED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(25) @ Affine.scale(0.5, -0.5)
CORNERS_PX = np.array([[20, 10], [80, 20], [70, 60], [30, 50.0]])


def open_made(make_raster: MakeRaster, **profile: object) -> Scene:
    return open_scene(make_raster(np.ones((1, 90, 120), np.uint8), **profile))


def save(path: Path, scene: Scene, *shapes_px: shapely.Geometry, crs: str | None = None) -> Path:
    shapes = shapely.transform(np.array(shapes_px, dtype=object), scene.georeference.to_crs)
    series = geopandas.GeoSeries(shapes, crs=scene.georeference.crs)
    path.unlink(missing_ok=True)
    (series if crs is None else series.to_crs(crs)).to_file(path)
    return path


def same(one: BaseGeometry, two: BaseGeometry) -> float:
    """Intersection over union."""
    return float(one.intersection(two).area / one.union(two).area)


@pytest.mark.parametrize("transform", [STRAIGHT, ROTATED])
@pytest.mark.parametrize(("name", "crs"), [("a.geojson", "EPSG:4326"), ("a.gpkg", "EPSG:3857"), ("a.fgb", None)])
def test_areas_come_from_any_crs(
    make_raster: MakeRaster, tmp_path: Path, transform: Affine, name: str, crs: str | None
) -> None:
    hole = shapely.Polygon(CORNERS_PX, holes=[shapely.box(40, 30, 50, 40).exterior.coords])
    several = shapely.MultiPolygon([hole, shapely.box(100, 70, 140, 110)])
    with open_made(make_raster, crs="EPSG:32633", transform=transform) as scene:
        (areas,) = read_marked_areas(save(tmp_path / name, scene, several, crs=crs), [scene])
    assert isinstance(areas, shapely.MultiPolygon)
    assert same(areas, shapely.union(hole, shapely.box(100, 70, 120, 90))) > 0.998


@pytest.mark.parametrize("upwards", [False, True])
def test_a_picture_counts_downwards_or_as_in_qgis(make_raster: MakeRaster, tmp_path: Path, upwards: bool) -> None:
    wide = shapely.box(-10, -5, 60, 70)
    drawn = shapely.transform(wide, lambda xy: xy * (1, -1)) if upwards else wide
    with open_made(make_raster) as scene:
        (areas,) = read_marked_areas(save(tmp_path / "a.gpkg", scene, drawn), [scene])
    assert same(areas, shapely.box(0, 0, 60, 70)) == pytest.approx(1)


def test_each_scene_has_its_part_and_an_area_may_reach_beyond_any_crs(make_raster: MakeRaster, tmp_path: Path) -> None:
    east = Affine(0.5, 0, 500_050, 0, -0.5, 5_000_000)
    with (
        open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as one,
        open_made(make_raster, crs="EPSG:32633", transform=east) as two,
        open_made(make_raster, crs="EPSG:32633", transform=Affine(0.5, 0, 600_000, 0, -0.5, 5_000_000)) as far,
    ):
        path = save(tmp_path / "a.gpkg", one, shapely.box(90, 20, 110, 40), shapely.box(10, 10, 20, 20))
        first, second, third = read_marked_areas(path, [one, two, far])
        assert same(first, shapely.union(shapely.box(90, 20, 110, 40), shapely.box(10, 10, 20, 20))) > 0.999
        assert same(second, shapely.box(0, 20, 10, 40)) > 0.999
        assert third.is_empty
        whole = tmp_path / "world.geojson"
        geopandas.GeoSeries([shapely.box(-180, -90, 180, 90)], crs=4326).to_file(whole)
        for areas in read_marked_areas(whole, [one, far]):
            assert same(areas, shapely.box(0, 0, 120, 90)) > 0.999


@pytest.mark.parametrize("west_deg", [179.98, -180.02])
@pytest.mark.parametrize("left_deg", [179.95, -180.05])
def test_across_180_degrees(make_raster: MakeRaster, tmp_path: Path, west_deg: float, left_deg: float) -> None:
    path = tmp_path / "a.gpkg"
    geopandas.GeoSeries([shapely.box(west_deg, 0, west_deg + 0.04, 0.05)], crs=4326).to_file(path)
    with open_made(make_raster, crs="EPSG:4326", transform=Affine(0.001, 0, left_deg, 0, -0.001, 0.05)) as scene:
        (areas,) = read_marked_areas(path, [scene])
    assert same(areas, shapely.box(30, 0, 70, 50)) > 0.999


def test_what_is_no_area_is_refused(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene, open_made(make_raster) as picture:

        def refused(match: str, of: Scene, *shapes: shapely.Geometry, scenes: int = 1) -> None:
            path = save(tmp_path / "a.gpkg", of, *shapes)
            with pytest.raises(UserError, match=match) as caught:
                read_marked_areas(path, [of] * scenes)
            assert "\n" not in str(caught.value)

        good = shapely.box(10, 10, 20, 20)
        for of in (scene, picture):
            refused(r"a.gpkg: feature 2: no polygon", of, good, shapely.Point(1, 1))
            refused(r"a.gpkg: feature 2: lies outside ", of, good, shapely.box(500, 10, 520, 20))
            refused(r"a.gpkg: feature 1: an area that holds no pixel", of, shapely.box(10.6, 10.6, 11.4, 11.4))
        refused("feature 2: lies on none of the scenes", scene, good, shapely.box(500, 10, 520, 20), scenes=2)
        empty = tmp_path / "empty.geojson"
        empty.write_text('{"type": "FeatureCollection", "features": []}')
        with pytest.raises(UserError, match="holds no features; draw at least one polygon"):
            read_marked_areas(empty, [scene])
        with pytest.raises(UserError, match="has no CRS"):
            read_marked_areas(save(tmp_path / "b.gpkg", picture, good), [scene])


def test_a_rectangle_is_rasterised_by_the_middle_of_its_pixels() -> None:
    areas = shapely.MultiPolygon([shapely.box(10.4, 5, 14.6, 7), shapely.box(0, 0, 1, 1)])
    mask = inside(areas, (8, 4, 18, 9), (5, 10))
    expected = np.zeros((5, 10), bool)
    expected[1:3, 2:7] = True  # columns 10 to 14: the middle of 10 is at 10.5
    np.testing.assert_array_equal(mask, expected)
    # seen twice as large, middles lie every half pixel: 10.25 is out, 14.25 is in, 14.75 is out
    twice = inside(areas, (8, 4, 18, 9), (10, 20))
    assert np.flatnonzero(twice.any(axis=0)).tolist() == list(range(5, 13))
    assert not inside(shapely.MultiPolygon(), (0, 0, 4, 4), (4, 4)).any()
    assert inside(shapely.box(-5, -5, 50, 50), (0, 0, 4, 4), (4, 4)).all()
