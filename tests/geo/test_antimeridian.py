from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from fsod.geo.antimeridian import lonlat_polygons


def rings(*corners: list[tuple[float, float]]) -> NDArray[np.float64]:
    return np.array([[*ring, ring[0]] for ring in corners], dtype=np.float64)


def one(corners: list[tuple[float, float]]) -> BaseGeometry:
    polygon = lonlat_polygons(rings(corners))[0]
    west, _, east, _ = polygon.bounds
    assert -180 <= west < east <= 180
    assert polygon.is_valid
    return polygon


@pytest.mark.parametrize("shift", [0.0, 360.0, -360.0])
def test_a_box_in_the_middle_of_the_map_stays_one_polygon(shift: float) -> None:
    found = one([(10 + shift, 50), (11 + shift, 50), (11 + shift, 49), (10 + shift, 49)])
    assert found.geom_type == "Polygon"
    assert found.bounds == (10, 49, 11, 50)


@pytest.mark.parametrize("east", [-178.0, 182.0])
def test_across_180_there_is_a_part_on_either_side(east: float) -> None:
    found = one([(179, 1), (east, 1), (east, -1), (179, -1)])
    assert found.geom_type == "MultiPolygon"
    assert sorted(part.bounds for part in shapely.get_parts(found)) == [(-180, -1, -178, 1), (179, -1, 180, 1)]


def test_small_boxes_across_180_stay_small() -> None:
    """Longitudes that jump come back one digit off: such a ring's spike once made the rest of the globe of one box in nine."""
    generator = np.random.default_rng(0)
    west, north = 179.9998 + generator.uniform(0, 0.0002, 2000), generator.uniform(-80, 80, 2000)
    width, height = generator.uniform(0.0003, 0.001, (2, 2000))
    east, south = west + width - 360, north - height
    boxes = np.stack([west, north, east, north - 1e-5, east, south, west, south, west, north], 1).reshape(2000, 5, 2)
    found = lonlat_polygons(boxes)
    assert shapely.is_valid(found).all()
    assert np.abs(shapely.area(found) - width * height).max() < 1e-5 * 0.001


@pytest.mark.parametrize("at", [180.0, -180.0])
def test_a_box_that_ends_at_180_is_not_cut(at: float) -> None:
    found = one([(179, 1), (at, 1), (at, -1), (179, -1)])
    assert found.geom_type == "Polygon"
    assert found.bounds == (179, -1, 180, 1)


@pytest.mark.parametrize("latitude", [89.0, -89.0])
@pytest.mark.parametrize("first", [-45.0, 0.0, 135.0])
def test_a_box_around_a_pole_holds_the_pole(latitude: float, first: float) -> None:
    corners = [((first + 90 * i + 180) % 360 - 180, latitude) for i in range(4)]
    found = one(corners)
    assert found.area == pytest.approx(360)
    assert found.intersects(shapely.Point(33, np.sign(latitude) * 89.999))


def test_beside_a_pole_the_short_way_is_taken() -> None:
    # 140 degrees wide, over 180: an extent of longitudes alone would take it for the other side of the globe
    found = one([(100, 89), (170, 89.5), (-120, 89), (170, 88)])
    assert found.intersects(shapely.Point(-170, 89))
    assert not found.intersects(shapely.Point(0, 89))


def test_others_are_left_as_they_are_and_what_is_nowhere_is_none() -> None:
    plain = [(0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0)]
    lost = [(np.inf, 1.0), (1.0, 1.0), (1.0, np.nan), (0.0, 0.0)]
    found = lonlat_polygons(rings(plain, lost, plain))
    assert found[1] is None
    assert found[0].equals(shapely.box(0, 0, 1, 1))
    assert len(lonlat_polygons(np.zeros((0, 5, 2)))) == 0
