from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.warp import transform as gdal_transform

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.georeference import Georeference
from fsod.geo.vector import write_geojson

BOXES = Detections(
    np.array([[0, 0, 100, 80], [10.25, 20.5, 30.75, 44], [99, 79, 100, 80]], dtype=np.float64),
    np.array([0.9, 0.5, 0.25], np.float32),
    np.array([0, 1, 1]),
)
NAMES = ["storage tank", "Straße"]

PLACES = {
    "utm": ("EPSG:32633", Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)),
    "nad83": ("EPSG:26913", Affine(0.15, 0, 519_467, 0, -0.15, 4_311_669)),
    "web mercator": ("EPSG:3857", Affine(2, 0, 2_086_982, 0, -2, 7_239_030)),
    "world mercator": ("EPSG:3395", Affine(0.1, 0, 13_467_532, 0, -0.1, 1_632_019)),
    "degrees": ("EPSG:4326", Affine(1e-5, 0, -115, 0, -1e-5, 36)),
    "south up": ("EPSG:32733", Affine(0.5, 0, 500_000, 0, 0.5, 5_000_000)),
    "rotated": (
        "EPSG:32633",
        Affine.translation(500_000, 5_000_000) @ Affine.rotation(35) @ Affine.scale(0.5, -0.5),
    ),
}


def place(crs: str, transform: Affine) -> Georeference:
    return Georeference(pyproj.CRS(crs), transform, None)


@pytest.mark.parametrize("name", PLACES)
def test_corners_land_where_a_second_library_says(tmp_path: Path, name: str) -> None:
    crs, transform = PLACES[name]
    path = tmp_path / "out.geojson"
    write_geojson(path, BOXES, NAMES, place(crs, transform), "scene.tif", {"gsd_m": 0.5})
    # read by OGR, brought back by OGR's side of the world: pixels must come out as they went in, to a hundredth
    layer = geopandas.read_file(path)
    assert layer.crs.to_epsg() == 4326
    for geometry, box in zip(layer.geometry, BOXES.boxes_xyxy_px, strict=True):
        lon, lat = shapely.get_coordinates(geometry).T
        x, y = gdal_transform("EPSG:4326", crs, lon.tolist(), lat.tolist())
        columns, rows = ~transform @ (np.array(x), np.array(y))
        np.testing.assert_allclose([columns.min(), rows.min(), columns.max(), rows.max()], box, atol=0.01)
        assert shapely.is_ccw(geometry.exterior)
        assert geometry.is_valid
        assert geometry.exterior.is_closed


def test_known_lon_lat(tmp_path: Path) -> None:
    path = tmp_path / "out.geojson"
    write_geojson(path, BOXES, NAMES, place(*PLACES["degrees"]), "scene.tif", {})
    ring = json.loads(path.read_text())["features"][0]["geometry"]["coordinates"][0]
    expected = {(-115, 36), (-114.999, 36), (-114.999, 35.9992), (-115, 35.9992)}
    assert {tuple(round(v, 7) for v in corner) for corner in ring} == expected
    assert ring[0] == ring[-1]
    assert len(ring) == 5


def test_properties_and_attributes_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.geojson"
    run = {"weights_sha256": "ab" * 32, "gsd_m": 0.5, "bank_sha256": None}
    write_geojson(path, BOXES, NAMES, place(*PLACES["utm"]), "scene.tif", run)
    text = json.loads(path.read_text(encoding="utf-8"))
    assert "crs" not in text
    assert text["run"] == {"scene": "scene.tif", **run}
    assert text["features"][1]["properties"] == {
        "class": "Straße",
        "score": 0.5,
        "box_xyxy_px": [10.25, 20.5, 30.75, 44.0],
        "scene": "scene.tif",
        **run,
    }
    layer = geopandas.read_file(path)
    assert layer["class"].tolist() == ["storage tank", "Straße", "Straße"]
    assert layer["weights_sha256"].unique().tolist() == ["ab" * 32]


def test_an_empty_layer_is_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "out.geojson"
    write_geojson(path, Detections.empty(), NAMES, place(*PLACES["utm"]), "scene.tif", {"gsd_m": 0.5})
    assert json.loads(path.read_text())["run"]["gsd_m"] == 0.5
    assert len(geopandas.read_file(path)) == 0


def test_without_a_crs_coordinates_are_pixels_and_the_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "out.geojson"
    write_geojson(path, BOXES, NAMES, Georeference(None, Affine.identity(), None), "scene.tif", {})
    text = json.loads(path.read_text())
    assert text["coordinate_frame"].startswith("pixels of the scene")
    assert geopandas.read_file(path).geometry[1].bounds == (10.25, 20.5, 30.75, 44.0)


def test_a_box_across_the_antimeridian_is_cut_there(tmp_path: Path) -> None:
    path = tmp_path / "out.geojson"
    across = place("EPSG:3832", Affine(100, 0, 3_335_000, 0, -100, 0))  # centred on 150 E: 180 E at x = 3,339,584
    write_geojson(path, BOXES, NAMES, across, "scene.tif", {})
    whole = geopandas.read_file(path).geometry[0]
    assert whole.geom_type == "MultiPolygon"
    west, east = sorted(whole.geoms, key=lambda part: part.bounds[0])
    assert (west.bounds[0], east.bounds[2]) == (-180, 180)
    assert west.bounds[2] < -179
    assert east.bounds[0] > 179
    assert all(shapely.is_ccw(part.exterior) for part in whole.geoms)


def test_failure_leaves_the_old_file_and_no_half_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.geojson"
    path.write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        write_geojson(path, BOXES, NAMES, place(*PLACES["utm"]), "scene.tif", {"gsd_m": float("nan")})

    def disk_full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(UserError, match=r"out.geojson: cannot be written \(No space left on device\)"):
        write_geojson(path, BOXES, NAMES, place(*PLACES["utm"]), "scene.tif", {})
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.geojson"]
    with pytest.raises(UserError, match="cannot be written"):
        write_geojson(path / "below.geojson", BOXES, NAMES, place(*PLACES["utm"]), "scene.tif", {})


def test_rasterio_and_pyproj_agree_on_the_crs(tmp_path: Path) -> None:
    # the CRS travels as WKT between the two; a swapped axis order or lost datum would show here
    path = tmp_path / "scene.tif"
    crs, transform = PLACES["nad83"]
    profile = {"driver": "GTiff", "width": 100, "height": 80, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as dataset:
        dataset.write(np.ones((1, 80, 100), np.uint8))
        (lon,), (lat,) = gdal_transform(dataset.crs, "EPSG:4326", *[[v] for v in transform @ (50, 40)])
        ours = Georeference(pyproj.CRS.from_wkt(dataset.crs.to_wkt()), transform, None)
    np.testing.assert_allclose(ours.to_lonlat(np.array([[50.0, 40.0]])), [[lon, lat]], atol=1e-9)
