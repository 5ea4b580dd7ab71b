"""Overlapping scenes: an object that two of them show is one row, whatever their pixels and coordinate systems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine

from fsod.boxes import Detections
from fsod.geo.features import read_frame
from fsod.geo.georeference import Georeference
from fsod.geo.joint_layer import JointLayer, each_object_once, joint_km2
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.searched_area import SEARCHED, SearchedArea
from fsod.geo.searched_layer import SearchedLayer, write_searched

SIZE_PX, TALL_PX = (400, 400), (400, 1600)
WEST = Georeference(pyproj.CRS("EPSG:32633"), Affine(1, 0, 500_000, 0, -1, 5_000_000), (1.0, 1.0))
EAST = Georeference(pyproj.CRS("EPSG:32633"), Affine(0.5, 0, 500_300, 0, -0.5, 5_000_000), (0.5, 0.5))
LONLAT_DEG = 1e-5
FAR = Georeference(pyproj.CRS("EPSG:4326"), Affine(LONLAT_DEG, 0, -120, 0, -LONLAT_DEG, 40), (0.9, 1.1))


def scene(name: str, place: Georeference, boxes: list[tuple[float, ...]], scores: list[float], ids: list[int]) -> Layer:
    found = Detections(
        np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float32), np.array(ids, np.int64)
    )
    return Layer(found, ["ship", "car"], place, name, TALL_PX, {"weights": "a"})


def test_each_object_counts_once_on_the_ground() -> None:
    west = scene(
        "w",
        WEST,
        [(10, 10, 30, 30), (340, 100, 360, 120), (310, 200, 330, 220), (380, 300, 399, 320), (350, 350, 370, 370)],
        [0.9, 0.8, 0.3, 0.9, 0.9],
        [0, 0, 0, 0, 0],
    )
    # of half the pixel size, from 300 m east on: the same as 2 and 3, the whole of 4, another class where 5 is
    east = scene(
        "e",
        EAST,
        [(82, 200, 122, 240), (20, 400, 60, 440), (160, 600, 300, 640), (100, 700, 140, 740), (100, 700, 139, 740)],
        [0.7, 0.6, 0.5, 0.8, 0.2],
        [0, 0, 0, 1, 1],
    )
    far = scene("f", FAR, [(10, 10, 30, 30)], [0.5], [0])
    kept = each_object_once([west, east, far], 0.5, 0.9)
    assert kept[0].tolist() == [True, True, False, False, True]
    # two boxes of one scene leave each other alone, but lose to the better class of the other scene
    assert kept[1].tolist() == [False, True, True, False, False]
    assert kept[2].tolist() == [True]
    alone = each_object_once([east], 0.5, 0.9)
    assert alone[0].all()


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
def test_one_layer_keeps_the_scene_of_each(tmp_path: Path, suffix: str) -> None:
    layers = [scene("w", WEST, [(10, 10, 30, 30)], [0.9], [0]), scene("f", FAR, [(10, 10, 30, 30)], [0.5], [1])]
    path = tmp_path / f"f{suffix}"
    whole = SearchedArea({SEARCHED: shapely.box(0, 0, *SIZE_PX)}, SIZE_PX)
    parts = [SearchedLayer(whole, place, name, {"weights": "a"}) for name, place in (("w", WEST), ("e", EAST))]
    write_layer(path, JointLayer(layers, {"weights": "a"}))
    write_searched(path, JointLayer(parts, {"weights": "a"}))
    rows = read_frame(path, None, "detections")
    assert rows["scene"].tolist() == ["w", "f"]
    places = rows.to_crs("OGC:CRS84").geometry.centroid
    assert places.x.tolist() == pytest.approx([15.0, -120], abs=0.01)
    assert (
        len(
            pyogrio.read_dataframe(
                path if suffix == ".gpkg" else tmp_path / "f.searched.geojson",
                layer="searched" if suffix == ".gpkg" else None,
            )
        )
        == 2
    )
    searched_km2, total_km2 = joint_km2(parts)
    # 400 m and 200 m wide, of which 100 m are shared for 200 m
    assert searched_km2 == pytest.approx((0.16 + 0.04 - 0.02) / 0.9996**2, rel=1e-4)
    assert total_km2 == pytest.approx(searched_km2)


AT_180 = Georeference(pyproj.CRS("EPSG:4326"), Affine(LONLAT_DEG, 0, 179.998, 0, -LONLAT_DEG, 10), (1.1, 1.1))


def test_scenes_at_180_degrees_are_joined_whatever_they_call_it(tmp_path: Path) -> None:
    turned = Georeference(AT_180.crs, Affine.translation(-360, 0) @ AT_180.transform, (1.1, 1.1))
    first, again = (scene(n, place, [(190, 10, 220, 40)], [0.9], [0]) for n, place in (("a", AT_180), ("b", turned)))
    assert [kept.tolist() for kept in each_object_once([first, again], 0.5, 0.9)] == [[True], [False]]
    # a scene in metres that reaches across is in one piece, not laid around the globe
    x, y = pyproj.Transformer.from_crs(4326, 3832, always_xy=True).transform(180, 10)
    metres = Georeference(pyproj.CRS("EPSG:3832"), Affine(1, 0, x - 200, 0, -1, y), (1.0, 1.0))
    across = scene("m", metres, [(190, 10, 210, 40)], [0.9], [0])
    for path in (tmp_path / "f.fgb", tmp_path / "f.gpkg"):
        write_layer(path, JointLayer([first, across], {"weights": "a"}))
        boxes = read_frame(path, None, "detections").sort_values("scene").geometry
        assert boxes.iloc[1].area == pytest.approx(20 * 30 * LONLAT_DEG**2 * 0.8, rel=0.1)
        assert boxes.total_bounds[2] < 180.01
    whole = SearchedArea({SEARCHED: shapely.box(0, 0, *SIZE_PX)}, SIZE_PX)
    write_searched(path, JointLayer([SearchedLayer(whole, place, "s", {}) for place in (AT_180, metres)], {}))
    assert read_frame(path, "searched").geometry.area.sum() < 1e-4


def test_scenes_far_apart_stay_where_they_are(tmp_path: Path) -> None:
    japan, far_east = (
        Georeference(pyproj.CRS(crs), Affine(size, 0, x, 0, -size, y), (1.0, 1.0))
        for crs, size, x, y in (("EPSG:4326", LONLAT_DEG, 140, 35), ("EPSG:32641", 1, 300_000, 4_000_000))
    )
    layers = [
        scene(n, place, [(10, 10, 30, 30)], [0.9], [0]) for n, place in (("f", FAR), ("j", japan), ("k", far_east))
    ]
    write_layer(tmp_path / "f.gpkg", JointLayer(layers, {"weights": "a"}))
    rows = read_frame(tmp_path / "f.gpkg", None, "detections").set_index("scene").geometry.bounds
    assert rows["minx"].to_dict() == pytest.approx({"f": -120, "j": 140, "k": 60.78}, abs=0.01)
    assert (rows["maxx"] - rows["minx"]).max() < 0.001
    world = Georeference(pyproj.CRS("EPSG:4326"), Affine(0.9, 0, -180, 0, -0.1125, 90), None)
    box = scene("w", world, [(190, 10, 210, 1000)], [0.9], [0])
    assert [kept.tolist() for kept in each_object_once([box, layers[1]], 0.5, 0.9)] == [[True], [True]]
    write_layer(tmp_path / "w.gpkg", JointLayer([box, layers[2]], {"weights": "a"}))
    rows = read_frame(tmp_path / "w.gpkg", None, "detections").set_index("scene").geometry.bounds
    assert rows.loc["w", ["minx", "maxx"]].tolist() == pytest.approx([-9, 9])
