from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import ON_A_MAP, write_layer
from fsod.geo.layer_table import Layer
from fsod.report.found_layer import read_found

FOUND = Detections(
    np.array([[0, 0, 100, 80], [10.25, 20.5, 30.75, 44]]), np.array([0.9, 0.5], np.float32), np.array([0, 1])
)
NAMES = ("NA", 'Straße, "x" <&>')
UTM = Georeference(pyproj.CRS("EPSG:32633"), Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), None)
NOWHERE = Georeference(None, Affine.identity(), None)


def written(path: Path, found: Detections, georeference: Georeference) -> Path:
    write_layer(path, Layer(found, NAMES, georeference, "scène.tif", (100, 80), {"gsd_m": 0.5}))
    return path


@pytest.mark.parametrize("suffix", [*ON_A_MAP, ".json", ".csv"])
@pytest.mark.parametrize("georeference", [UTM, NOWHERE], ids=["utm", "no CRS"])
def test_what_was_written_is_read_back(tmp_path: Path, suffix: str, georeference: Georeference) -> None:
    layer = read_found(written(tmp_path / f"found{suffix}", FOUND, georeference))
    best_first = np.argsort(-layer.scores)
    assert layer.scene == "scène.tif"
    assert layer.class_names[best_first].tolist() == list(NAMES)
    assert layer.scores[best_first] == pytest.approx([0.9, 0.5])
    assert np.allclose(layer.boxes_xyxy_px[best_first], FOUND.boxes_xyxy_px, atol=0.006)
    if georeference is NOWHERE or suffix == ".json":
        assert layer.lonlat is None
    else:
        assert layer.lonlat is not None
        centres = UTM.to_lonlat(np.array([[50, 40], [20.5, 32.25]]))
        assert np.allclose(layer.lonlat[best_first], centres, atol=1e-6)


@pytest.mark.parametrize("suffix", [*ON_A_MAP, ".json", ".csv"])
def test_an_empty_layer(tmp_path: Path, suffix: str) -> None:
    layer = read_found(written(tmp_path / f"found{suffix}", Detections.empty(), UTM))
    assert len(layer.scores) == len(layer.class_names) == len(layer.boxes_xyxy_px) == 0


def test_a_box_on_the_date_line_is_where_it_is(tmp_path: Path) -> None:
    fiji = Georeference(pyproj.CRS("EPSG:3832"), Affine(100, 0, 3_334_000, 0, -100, -1_900_000), None)
    layer = read_found(written(tmp_path / "found.geojson", FOUND.select(np.array([0])), fiji))
    assert layer.lonlat is not None
    assert abs(layer.lonlat[0, 0]) > 179.9


@pytest.mark.parametrize("upwards", [True, False])
def test_a_layer_of_pixels_that_was_saved_again_has_no_degrees(tmp_path: Path, upwards: bool) -> None:
    """QGIS leaves out the member that says so; older layers have y downwards. One box was moved."""
    path = written(tmp_path / "found.geojson", FOUND.select(np.array([0, 1, 1])), NOWHERE)
    frame = geopandas.read_file(path)
    if not upwards:
        frame.geometry = frame.geometry.scale(1, -1, origin=(0, 0))
    frame.loc[2, "geometry"] = frame.geometry[2].buffer(3)
    frame.set_crs(4326, allow_override=True).to_file(path)
    assert "coordinate_frame" not in path.read_text()
    assert read_found(path).lonlat is None


def test_a_layer_saved_in_the_projects_crs_is_listed_in_degrees(tmp_path: Path) -> None:
    path = written(tmp_path / "found.geojson", FOUND, UTM)
    before = read_found(path).lonlat
    geopandas.read_file(path).to_crs(32633).to_file(path, RFC7946="NO")
    assert '"crs"' in path.read_text()
    after = read_found(path).lonlat
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("crs", [None, {}, {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}])
def test_metres_without_their_crs_are_no_degrees(tmp_path: Path, crs: object) -> None:
    path = written(tmp_path / "found.geojson", FOUND, UTM)
    geopandas.read_file(path).to_crs(32633).to_file(path, RFC7946="NO")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"crs": crs}))
    with pytest.raises(UserError, match=r"found.geojson: its coordinates such as \d+, \d+ are no degrees"):
        read_found(path)


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such layer"):
        read_found(tmp_path / "nothing.geojson")
    other = tmp_path / "examples.geojson"
    feature = {"type": "Feature", "properties": {"class": "x"}, "geometry": {"type": "Point", "coordinates": [0, 0]}}
    other.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(
        UserError, match=r"examples.geojson: not a layer that `fsod predict` wrote: it has no attribute 'score'"
    ):
        read_found(other)
    other.write_text(json.dumps({"features": [feature | {"geometry": {"type": "", "coordinates": [0, 0]}}]}))
    with pytest.raises(UserError, match=r"examples.geojson: .*geometry type"):
        read_found(other)
    huge = {"class": "x", "score": 1, "scene": "s", "x1_px": 10**400, "y1_px": 0, "x2_px": 1, "y2_px": 1}
    other.write_text(json.dumps({"features": [feature | {"properties": huge}]}))
    with pytest.raises(UserError, match=r"examples.geojson: not a layer .* too large"):
        read_found(other)
    for name, content in {"a.geojson": "{", "b.json": "[]", "c.gpkg": "x", "d.parquet": "x", "e.fgb": "x"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(
            UserError, match=f"{name}: (not a layer that `fsod predict` wrote|cannot be read)"
        ) as raised:
            read_found(tmp_path / name)
        assert "\n" not in str(raised.value)
    (tmp_path / "f.tif").write_text("x")
    with pytest.raises(UserError, match=r"f.tif: not a layer of detections; known: .geojson"):
        read_found(tmp_path / "f.tif")
    (tmp_path / "excel.csv").write_text(
        "class;score;scene;x1_px;y1_px;x2_px;y2_px\na;0,5;s;0;0;5;5\na;0,5;s;1,5;0;5;5\n"
    )
    with pytest.raises(UserError, match="its columns are separated by ';'; save it with commas"):
        read_found(tmp_path / "excel.csv")
    (tmp_path / "g.csv").write_text("class,score,scene,x1_px,y1_px,x2_px,y2_px\na,0.5,s,0,0,nan,5\n")
    with pytest.raises(UserError, match="feature 1: no finite box"):
        read_found(tmp_path / "g.csv")


def test_the_layer_that_predict_writes_is_read_of_several(tmp_path: Path) -> None:
    """Also where it is not the first; another one if it is named."""
    path = tmp_path / "found.gpkg"
    geopandas.GeoDataFrame({"class": ["road"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32633).to_file(path, layer="a")
    written(path, FOUND, UTM)
    assert read_found(path).class_names.tolist() == list(NAMES)
    geopandas.read_file(path, layer="detections")[1:].to_file(path, layer="judged")
    assert read_found(path, "judged").class_names.tolist() == [NAMES[1]]
    with pytest.raises(UserError, match=f"^{path}: no layer 'b'; it has a, detections, judged"):
        read_found(path, "b")
    with pytest.raises(UserError, match=r"--layer b: .*found.csv has no layers"):
        read_found(written(tmp_path / "found.csv", FOUND, UTM), "b")


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
@pytest.mark.parametrize("verdict", ["yes", "Yes", "no", ""])
def test_what_was_drawn_by_hand_is_no_detection(tmp_path: Path, suffix: str, verdict: str) -> None:
    path = written(tmp_path / f"found{suffix}", FOUND, UTM)
    frame = geopandas.read_file(path)
    frame.loc[2, ["class", "verdict", "geometry"]] = ["NA", verdict, frame.geometry[0]]
    frame["verdict"] = frame["verdict"].fillna("")
    path.unlink()
    frame.to_file(path, **({"layer": "detections"} if suffix == ".gpkg" else {}))
    assert len(read_found(path).scores) == 2


def test_a_layer_of_several_scenes_is_not_drawn_on_one_of_them(tmp_path: Path) -> None:
    """As `fsod predict --together` writes one, and as QGIS merges layers."""
    path = written(tmp_path / "found.gpkg", FOUND, UTM)
    frame = geopandas.read_file(path)
    frame["scene"] = ["a.tif", "b.tif"]
    frame.to_file(path, layer="detections")
    with pytest.raises(UserError, match=r"found.gpkg: is of several scenes \(a.tif, b.tif\), and a report shows one"):
        read_found(path)


def test_what_is_wrong_is_said_of_the_feature_by_its_number_in_the_file(tmp_path: Path) -> None:
    """Where objects that were drawn by hand come before it."""
    path = written(tmp_path / "found.gpkg", FOUND, UTM)
    frame = geopandas.read_file(path)
    frame["verdict"] = "yes"
    frame.loc[0, "score"] = np.nan
    frame.loc[1, "x2_px"] = np.nan
    frame.to_file(path, layer="detections")
    with pytest.raises(UserError, match="feature 2: no finite box in its attributes"):
        read_found(path)


def test_a_detection_whose_class_is_gone_has_no_name_of_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "found.gpkg", FOUND, UTM)
    frame = geopandas.read_file(path)
    frame["class"] = [None, 3.0]
    frame.to_file(path, layer="detections")
    with pytest.raises(UserError, match="feature 1: no class in its attribute class"):
        read_found(path)
    frame[1:].to_file(path, layer="detections")
    assert read_found(path).class_names.tolist() == ["3"]


def test_an_object_drawn_where_nothing_was_found(tmp_path: Path) -> None:
    path = written(tmp_path / "found.geojson", Detections.empty(), UTM)
    content = json.loads(path.read_text())
    shape = {"type": "Polygon", "coordinates": [[[15, 45], [15.1, 45], [15.1, 45.1], [15, 45]]]}
    content["features"] = [{"type": "Feature", "geometry": shape, "properties": {"class": "NA", "verdict": "yes"}}]
    path.write_text(json.dumps(content))
    assert len(read_found(path).scores) == 0


def test_a_class_in_a_table_is_called_what_it_was(tmp_path: Path) -> None:
    names, path = ("007", "-crane"), tmp_path / "found.csv"
    write_layer(path, Layer(FOUND, names, UTM, "-v.tif", (100, 80), {}))
    assert read_found(path).class_names.tolist() == ["007", "-crane"]
    assert read_found(path).scene == "-v.tif"
