from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine

from fsod.errors import UserError
from fsod.geo.scene_frame import transformer, vertices_px, y_factor
from fsod.geo.scene_opening import open_scene

MakeRaster = Callable[..., Path]


@pytest.mark.parametrize(("y", "factor"), [((0, 5), 1), ((-5, 0), -1), ((-2, 9), 1), ((-9, 2), -1), ((0, 0), 1)])
def test_the_middle_of_a_feature_decides_which_way_y_goes(y: tuple[float, float], factor: int) -> None:
    line = geopandas.GeoSeries([shapely.LineString([(0, y[0]), (5, y[1])]), shapely.LineString([(0, 0), (1, 0)])])
    assert y_factor(Path("a"), line, np.array([1, 2])) == factor


def test_every_vertex_knows_its_geometry(make_raster: MakeRaster) -> None:
    shapes = geopandas.GeoSeries([shapely.box(10, 10, 20, 30), shapely.Polygon([(1, 1), (2, 1), (2, 5)])])
    with open_scene(make_raster(np.ones((1, 90, 120), np.uint8))) as scene:
        xy_px, owner = vertices_px(Path("a"), shapes, np.array([1, 2]), scene)
        with pytest.raises(UserError, match=r"^a: has no CRS; save it with the one"):
            transformer(Path("a"), None, scene)
    np.testing.assert_array_equal(owner, [0] * 5 + [1] * 4)
    np.testing.assert_array_equal(xy_px, shapely.get_coordinates(shapes.to_numpy()))


@pytest.mark.parametrize("left_deg", [170.0, -190.0])
def test_longitudes_are_turned_to_the_scene_and_places_beyond_its_crs_are_none(
    make_raster: MakeRaster, left_deg: float
) -> None:
    shapes = geopandas.GeoSeries(
        [shapely.box(-179, 0, -178, 1), shapely.box(179, 0, 181, 1), shapely.box(535, 0, 536, 1)], crs=4326
    )
    there = Affine(0.25, 0, left_deg, 0, -0.25, 10)
    with open_scene(make_raster(np.ones((1, 90, 120), np.uint8), crs="EPSG:4258", transform=there)) as scene:
        xy_px, owner = vertices_px(Path("a"), shapes, np.array([1, 2, 3]), scene)
    bounds = [(xy_px[owner == i].min(axis=0)[0], xy_px[owner == i].max(axis=0)[0]) for i in range(3)]
    np.testing.assert_allclose(bounds, [(44, 48), (36, 44), (20, 24)], atol=1e-6)
    infinite = geopandas.GeoSeries([shapely.Polygon([(0, 95), (1, 95), (1, 99)]), shapely.box(0, 0, 1, 1)], crs=4326)
    utm = Affine(1, 0, 500_000, 0, -1, 100)
    with open_scene(make_raster(np.ones((1, 90, 120), np.uint8), crs="EPSG:32631", transform=utm)) as scene:
        xy_px, owner = vertices_px(Path("a"), infinite, np.array([1, 2]), scene)
    assert np.isnan(xy_px[owner == 0]).all()
    assert np.isfinite(xy_px[owner == 1]).all()
