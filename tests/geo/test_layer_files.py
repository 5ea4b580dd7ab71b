from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from pyarrow import parquet
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rasterio.control import GroundControlPoint
from rasterio.warp import transform as gdal_transform

from fsod.boxes import Detections
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import ON_A_MAP, csv_bytes, write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from tests.placed_layer import ALL, BOXES, NAMES, PIXELS, PLACES, RUN, layer, place


def read(path: Path) -> geopandas.GeoDataFrame:
    """As another program would; best score first, because FlatGeobuf orders features by place."""
    frame = geopandas.read_parquet(path) if path.suffix.lower() == ".parquet" else geopandas.read_file(path)
    return frame.sort_values("score", ascending=False, ignore_index=True) if len(frame) else frame


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suffix", ON_A_MAP)
@pytest.mark.parametrize("name", PLACES)
def test_corners_land_where_a_second_library_says(tmp_path: Path, name: str, suffix: str) -> None:
    crs, transform = PLACES[name]
    path = tmp_path / f"out{suffix}"
    write_layer(path, layer(place(name)))
    # read by OGR or Arrow, brought back by GDAL: pixels must come out as they went in, to a hundredth
    frame = read(path)
    assert frame.crs == pyproj.CRS("EPSG:4326" if suffix == ".geojson" else crs)
    for geometry, box in zip(frame.geometry, BOXES.boxes_xyxy_px, strict=True):
        x, y = gdal_transform(frame.crs.to_wkt(), crs, *shapely.get_coordinates(geometry).T.tolist())
        columns, rows = ~transform @ (np.array(x), np.array(y))
        np.testing.assert_allclose([columns.min(), rows.min(), columns.max(), rows.max()], box, atol=0.01)
        assert geometry.geom_type == "Polygon"
        assert geometry.is_valid
        assert suffix != ".geojson" or shapely.is_ccw(geometry.exterior)


AS_QGIS = Affine.scale(1, -1)


WANTED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(20) @ Affine.scale(2, -2)


@pytest.mark.parametrize(
    ("profile", "wanted", "warning"),
    [
        ({"crs": "EPSG:32633", "transform": WANTED}, WANTED, "its pixel grid is rotated"),
        (
            {
                "crs": "EPSG:32633",
                "gcps": [
                    GroundControlPoint(r, c, *(WANTED @ (c, r))) for r, c in ((0, 0), (0, 100), (80, 0), (80, 100))
                ],
            },
            WANTED,
            "placed by an affine fit to its 4 ground control points",
        ),
        ({"transform": WANTED}, AS_QGIS, "has no CRS, so coordinates are pixels of the scene"),
        ({}, AS_QGIS, "has no CRS, so coordinates are pixels of the scene"),
    ],
    ids=["rotated", "ground control points", "transform alone", "nothing"],
)
@pytest.mark.parametrize("suffix", ON_A_MAP)
def test_an_odd_scene_is_warned_of_and_its_layer_lies_right(
    make_raster: Callable[..., Path], profile: dict[str, object], wanted: Affine, warning: str, suffix: str
) -> None:
    scene_path = make_raster(np.ones((3, 80, 100), np.uint8), **profile)
    path = scene_path.with_name(f"out{suffix}")
    with open_scene(scene_path) as scene:
        assert warning in scene.warnings[0]
        write_layer(path, layer(scene.georeference))
    frame = read(path)
    if wanted != AS_QGIS:
        frame = frame.to_crs(32633)
    x, y = shapely.get_coordinates(frame.geometry[1]).T
    columns, rows = ~wanted @ (x, y)
    np.testing.assert_allclose(
        [columns.min(), rows.min(), columns.max(), rows.max()], [10.25, 20.5, 30.75, 44], atol=0.01
    )


@pytest.mark.parametrize("suffix", ON_A_MAP)
def test_every_feature_says_what_it_is_and_where_it_is_from(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "deep" / f"out{suffix.upper()}"
    write_layer(path, layer(place("utm")))
    frame = read(path)
    assert " ".join(frame.columns) == (
        "class score verdict ask scene x1_px y1_px x2_px y2_px weights bank gsd_m time geometry"
    )
    assert frame["verdict"].tolist() == ["", "", ""]
    assert frame["ask"].tolist() == [2, 3, 1]
    assert frame["ask"].dtype.kind == "i"
    assert frame["class"].tolist() == [NAMES[0], NAMES[1], NAMES[1]]
    assert frame["score"].tolist() == [0.9, 0.5, 0.25]
    np.testing.assert_array_equal(frame[["x1_px", "y1_px", "x2_px", "y2_px"]], BOXES.boxes_xyxy_px)
    assert set(frame["scene"]) == {"scène.tif"}
    assert set(frame["gsd_m"]) == {0.5}
    assert set(frame["bank"]) == {"cd34"}
    # GeoJSON's reader knows a time when it sees one
    assert {str(time).replace(" ", "T")[:19] for time in frame["time"]} == {"2026-11-23T01:02:03"}


def test_geojson_is_plain_rfc_7946(tmp_path: Path) -> None:
    path = tmp_path / "out.geojson"
    write_layer(path, layer(place("degrees")))
    text = json.loads(path.read_text(encoding="utf-8"))
    assert "crs" not in text
    assert "coordinate_frame" not in text
    assert text["run"] == {"scene": "scène.tif", **RUN}
    ring = text["features"][0]["geometry"]["coordinates"][0]
    expected = {(-115, 36), (-114.999, 36), (-114.999, 35.9992), (-115, 35.9992)}
    assert {tuple(round(v, 7) for v in corner) for corner in ring} == expected
    assert ring[0] == ring[-1]
    assert len(ring) == 5


@pytest.mark.parametrize("suffix", ALL)
def test_an_empty_layer_is_a_layer(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write_layer(path, layer(place("utm"), Detections.empty()))
    if suffix in ON_A_MAP:
        assert len(read(path)) == 0
    if suffix == ".csv":
        assert path.read_text().startswith("class,score,verdict,ask,scene,")
    elif suffix in (".geojson", ".json"):
        text = json.loads(path.read_text())
        assert text["info" if suffix == ".json" else "run"]["bank"] == "cd34"
    elif suffix == ".gpkg":
        assert pyogrio.read_info(path)["layer_metadata"]["bank"] == "cd34"


@pytest.mark.parametrize("suffix", ON_A_MAP)
def test_without_a_crs_coordinates_are_pixels_and_the_file_says_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write_layer(path, layer(PIXELS))
    # QGIS lays the top edge of a picture on y = 0 and counts upwards
    assert read(path).geometry[1].bounds == (10.25, -44.0, 30.75, -20.5)
    assert read(path)[["x1_px", "y1_px", "x2_px", "y2_px"]].to_numpy()[1].tolist() == [10.25, 20.5, 30.75, 44.0]
    if suffix != ".geojson":  # whose readers take WGS84 for granted
        assert read(path).crs is None
    if suffix == ".geojson":
        assert json.loads(path.read_text())["coordinate_frame"].startswith("pixels of the scene as QGIS lays it")
    if suffix == ".gpkg":
        assert pyogrio.read_info(path)["layer_metadata"]["coordinate_frame"].startswith(
            "pixels of the scene as QGIS lays it"
        )


def test_what_is_unknown_is_nothing_in_every_format(tmp_path: Path) -> None:
    unknown = Layer(BOXES, NAMES, PIXELS, "a.tif", (100, 80), {"gsd_m": None})
    for suffix in ALL:
        write_layer(tmp_path / f"out{suffix}", unknown)
        if suffix in ON_A_MAP:
            assert read(tmp_path / f"out{suffix}")["gsd_m"].isna().all()
    assert json.loads((tmp_path / "out.json").read_text())["info"] == {"gsd_m": None}
    assert [row["gsd_m"] for row in read_csv(tmp_path / "out.csv")] == ["", "", ""]


def test_a_box_across_the_antimeridian_is_cut_in_geojson_only(tmp_path: Path) -> None:
    across = Affine(100, 0, 3_335_000, 0, -100, 0)  # centred on 150 E: 180 E lies at x = 3,339,584
    there = Georeference(pyproj.CRS("EPSG:3832"), across, None)
    for suffix in (".geojson", ".gpkg"):
        write_layer(tmp_path / f"out{suffix}", layer(there))
    whole = read(tmp_path / "out.geojson").geometry[0]
    west, east = sorted(whole.geoms, key=lambda part: part.bounds[0])
    assert (west.bounds[0], east.bounds[2]) == (-180, 180)
    assert west.bounds[2] < -179
    assert east.bounds[0] > 179
    assert all(shapely.is_ccw(part.exterior) for part in whole.geoms)
    assert read(tmp_path / "out.gpkg").geometry[0].bounds == (3_335_000, -8_000, 3_345_000, 0)


def test_a_place_that_is_not_on_the_globe_has_no_geometry(tmp_path: Path) -> None:
    # the corner of a picture of the whole Earth shows space
    full_disk = Georeference(pyproj.CRS("ESRI:102038"), Affine(2e5, 0, -1e7, 0, -1e5, 4e6), None)
    for suffix in (".geojson", ".csv"):
        write_layer(tmp_path / f"out{suffix}", layer(full_disk))
    frame = read(tmp_path / "out.geojson")
    assert frame.geometry[0] is None
    assert frame["x2_px"][0] == 100


@pytest.mark.parametrize("suffix", ALL)
def test_a_layer_that_nobody_is_to_judge_has_no_place_for_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write_layer(path, Layer(BOXES, NAMES, place("utm"), "a.tif", (100, 80), {}))
    assert b"verdict" not in path.read_bytes()
    write_layer(path, layer(place("utm")))
    assert (b"verdict" in path.read_bytes()) == (suffix != ".json")


def test_coco_is_what_pycocotools_reads(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_layer(path, layer(place("utm")))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
    assert coco.imgs[1] == {"id": 1, "file_name": "scène.tif", "width": 100, "height": 80}
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(NAMES)
    found = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert [a["bbox"] for a in found] == [[0, 0, 100, 80], [10.25, 20.5, 20.5, 23.5], [99, 79, 1, 1]]
    assert [(a["category_id"], a["score"]) for a in found] == [(1, 0.9), (2, 0.5), (2, 0.25)]
    assert found[1]["area"] == 20.5 * 23.5


def test_coco_results_beside_it_are_what_load_res_takes(tmp_path: Path) -> None:
    write_layer(tmp_path / "out.json", layer(place("utm")))
    with contextlib.redirect_stdout(io.StringIO()):
        data_set = COCO(tmp_path / "out.json")
        with pytest.raises(AssertionError, match="results in not an array of objects"):
            data_set.loadRes(str(tmp_path / "out.json"))
        results = data_set.loadRes(str(tmp_path / "out.results.json"))
        scored = COCOeval(data_set, results, "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    assert [a["score"] for a in results.loadAnns(results.getAnnIds())] == [0.9, 0.5, 0.25]
    assert scored.stats[1] == pytest.approx(1), "what was found is where it was found"
    plain = json.loads((tmp_path / "out.results.json").read_text())
    assert [set(one) for one in plain] == [{"image_id", "category_id", "bbox", "score"}] * 3
    write_layer(tmp_path / "none.json", layer(place("utm"), BOXES.select(np.zeros(3, bool))))
    assert json.loads((tmp_path / "none.results.json").read_text()) == []


@pytest.mark.parametrize("where", ["utm", "pixels"])
def test_geoparquet_says_where_each_box_lies_before_it_is_read(tmp_path: Path, where: str) -> None:
    path = tmp_path / "out.parquet"
    write_layer(path, layer(PIXELS if where == "pixels" else place(where)))
    about = json.loads(parquet.read_schema(path).metadata[b"geo"])
    assert about["version"] == "1.1.0"
    assert about["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert (about["columns"]["geometry"]["crs"] is None) == (where == "pixels")
    first = geopandas.read_parquet(path).geometry[2].bounds
    assert geopandas.read_parquet(path, bbox=first)["score"].tolist() == [0.9, 0.25]
    assert "bbox" not in read(path), "the column is the format's own"


def test_csv_has_pixels_and_where_the_centre_is(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_layer(path, layer(place("degrees")))
    rows = read_csv(path)
    assert [row["class"] for row in rows] == [NAMES[0], NAMES[1], NAMES[1]]
    boxes = [[float(row[key]) for key in ("x1_px", "y1_px", "x2_px", "y2_px")] for row in rows]
    np.testing.assert_array_equal(boxes, BOXES.boxes_xyxy_px)
    np.testing.assert_allclose([float(rows[0]["lon"]), float(rows[0]["lat"])], [-114.9995, 35.9996], atol=1e-9)
    write_layer(path, layer(PIXELS))
    assert "lon" not in read_csv(path)[0]


def test_rasterio_and_pyproj_agree_on_the_crs(make_raster: Callable[..., Path]) -> None:
    # the CRS travels as WKT between the two; a swapped axis order or lost datum would show here
    crs, transform = PLACES["nad83"]
    path = make_raster(np.ones((1, 80, 100), np.uint8), crs=crs, transform=transform)
    with rasterio.open(path) as dataset, open_scene(path) as scene:
        (lon,), (lat,) = gdal_transform(dataset.crs, "EPSG:4326", *[[v] for v in transform @ (50, 40)])
        np.testing.assert_allclose(scene.georeference.to_lonlat(np.array([[50.0, 40.0]])), [[lon, lat]], atol=1e-9)


def test_no_column_is_a_formula_and_no_wide_sign_begins_one() -> None:
    table = pd.DataFrame({"=1+1": [1.5], "name": ["\uff1d1+1"], "plain": ["\n=1"]})
    lines = csv_bytes(table).decode().splitlines()
    assert lines[0] == "'=1+1,name,plain"
    assert lines[1].startswith("1.5,'\uff1d1+1,\"'")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://a","b")'])
def test_a_class_is_no_formula_for_a_spreadsheet(tmp_path: Path, name: str) -> None:
    path, found = tmp_path / "found.csv", layer(place("utm"))
    write_layer(path, replace(found, class_names=(name, *found.class_names[1:]), scene=f"{name}.tif"))
    rows = read_csv(path)
    assert f"'{name}" in {row["class"] for row in rows}
    assert {row["scene"] for row in rows} == {f"'{name}.tif"}
    assert [float(row["x2_px"]) for row in rows] == found.detections.boxes_xyxy_px[:, 2].tolist(), "no number is a text"
