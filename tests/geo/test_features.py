from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas
import pandas as pd
import pyogrio
import pytest
import shapely

from fsod.errors import UserError
from fsod.geo.features import SEARCHED, check_layer, layer_in, raise_refused, read_frame, read_polygons
from fsod.geo.raster_file import open_dataset

BOXES = geopandas.GeoDataFrame(
    {"kind": ["a", "b"]}, geometry=[shapely.box(0, 0, 1, 1), shapely.box(2, 0, 3, 1)], crs=4326
)


def test_tables_that_qgis_keeps_beside_a_layer_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    BOXES.to_file(path)
    for name in ("layer_styles", "qgis_projects"):
        pyogrio.write_dataframe(pd.DataFrame({"styleQML": ["<qgis/>"]}), path, layer=name, append=True)
    assert read_frame(path, None)["kind"].tolist() == ["a", "b"]
    assert layer_in(path, "anything") is None
    BOXES[:1].to_file(path, layer="b")
    assert layer_in(path, "b") == "b"
    assert read_frame(path, "b")["kind"].tolist() == ["a"]
    with pytest.raises(UserError, match=r"has several layers; name one of a, b \(--layer\)"):
        read_frame(path, None)
    with pytest.raises(UserError, match="no layer 'layer_styles'; it has a, b"):
        read_frame(path, "layer_styles")


def test_a_layer_that_is_in_none_of_the_files_is_refused(tmp_path: Path) -> None:
    one, found = tmp_path / "one.geojson", tmp_path / "found.gpkg"
    BOXES.to_file(one)
    BOXES.to_file(found, layer="detections")
    BOXES.to_file(found, layer=SEARCHED)
    for layer in (None, "one", "detections", SEARCHED):
        check_layer([one, found], layer)
    with pytest.raises(
        UserError, match=r"--layer x: no file .*; .*one.geojson has one; .*found.gpkg has detections, searched$"
    ):
        check_layer([one, found, tmp_path / "not_there.gpkg"], "x")
    assert layer_in(found, SEARCHED) == SEARCHED, "what was searched is not taken for what was found"
    assert [layer_in(found, "one"), layer_in(one, SEARCHED)] == [None, None]
    check_layer([tmp_path / "not_there.gpkg"], "x")  # which reading it says


@pytest.mark.parametrize("name", ["a.parquet", "a.fgb", "a.shp"])
def test_every_format_that_predict_writes_and_others(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        BOXES.to_parquet(path)
    else:
        BOXES.to_file(path)
    assert sorted(read_frame(path, layer_in(path, "x"))["kind"]) == ["a", "b"]
    assert len(read_polygons(path)) == 2


@pytest.mark.parametrize("name", ["a.parquet", "a.gpkg", "a.geojson"])
def test_what_is_no_vector_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff{nothing")
    assert layer_in(path, "x") is None
    with pytest.raises(UserError, match=f"{name}: cannot be read as a vector file") as caught:
        read_frame(path, None)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "marks.geojson")
    os.mkfifo(tmp_path / "scene.tif")
    with pytest.raises(UserError, match=r"marks\.geojson: is a pipe or a device"):
        read_frame(tmp_path / "marks.geojson", None)
    with pytest.raises(UserError, match=r"scene\.tif: is a pipe or a device"):
        open_dataset(str(tmp_path / "scene.tif"))
    with pytest.raises(UserError, match=r"^a{80}\.\.\.: not a file name"):
        open_dataset("a" * 10_000)


def test_a_coordinate_system_in_latin1_is_one_line(tmp_path: Path) -> None:
    BOXES.to_crs(32633).to_file(tmp_path / "a.shp")
    wkt = (tmp_path / "a.prj").read_text().replace("WGS_1984_UTM_Zone_33N", "Süd")
    (tmp_path / "a.prj").write_bytes(wkt.encode("latin1"))
    with pytest.raises(UserError, match=r"a\.shp: cannot be read as a vector file \('utf-8' codec can't decode"):
        read_frame(tmp_path / "a.shp", None)


def test_a_bow_tie_is_made_valid(tmp_path: Path) -> None:
    tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    geopandas.GeoSeries([tie], crs=4326).to_file(tmp_path / "a.gpkg")
    (mended,) = read_polygons(tmp_path / "a.gpkg")
    assert mended.is_valid
    assert mended.area == pytest.approx(2)


def test_few_of_many_are_named() -> None:
    raise_refused(Path("a"), {})
    with pytest.raises(UserError, match=r"^a: feature 1, 3, 4 and 1 more: no class$"):
        raise_refused(Path("a"), {1: "no class", 2: "no area", 3: "no class", 4: "no class", 5: "no class"})


def test_a_geopackage_does_nothing_but_be_read(tmp_path: Path) -> None:
    """Views are layers, triggers are not pulled, extensions that nobody knows keep nobody from the boxes."""
    path = tmp_path / "a.gpkg"
    BOXES.to_file(path, layer="a")
    with closing(sqlite3.connect(path)) as file:
        file.executescript(
            """
            CREATE VIEW only_b AS SELECT fid, geom, kind FROM a WHERE kind = 'b';
            INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES ('only_b', 'features', 'b', 4326);
            INSERT INTO gpkg_geometry_columns VALUES ('only_b', 'geom', 'POLYGON', 4326, 0, 0);
            CREATE TABLE pulled (what);
            CREATE TRIGGER one INSTEAD OF INSERT ON only_b BEGIN INSERT INTO pulled VALUES ('insert'); END;
            CREATE TRIGGER two BEFORE UPDATE ON gpkg_contents BEGIN INSERT INTO pulled VALUES ('update'); END;
            CREATE TABLE IF NOT EXISTS gpkg_extensions (table_name, column_name, extension_name, definition, scope);
            INSERT INTO gpkg_extensions VALUES ('a', 'geom', 'evil_ext', 'http://127.0.0.1:9/', 'read-write');
            """
        )
    before = path.read_bytes()
    assert read_frame(path, "only_b")["kind"].tolist() == ["b"]
    assert read_frame(path, "a")["kind"].tolist() == ["a", "b"]
    with pytest.raises(UserError, match=r"has several layers; name one of a, only_b"):
        read_frame(path, None)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "view",
    [
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS fid, NULL AS geom, x AS kind FROM n",
        "SELECT load_extension('/tmp/evil.so') AS fid, geom, kind FROM a",
        "SELECT fid, geom, kind FROM nowhere",
    ],
    ids=["without end", "extension", "of nothing"],
)
def test_a_view_that_cannot_be_read_keeps_nobody_from_the_layer(tmp_path: Path, view: str) -> None:
    path = tmp_path / "a.gpkg"
    BOXES.to_file(path, layer="a")
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"CREATE VIEW v AS {view}")
        file.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES ('v', 'features', 'v', 4326)"
        )
        file.execute("INSERT INTO gpkg_geometry_columns VALUES ('v', 'geom', 'POLYGON', 4326, 0, 0)")
        file.commit()
    assert read_frame(path, "a")["kind"].tolist() == ["a", "b"]


def test_a_ring_that_nobody_closed_is_closed(tmp_path: Path) -> None:
    open_ring, closed = [[0, 0], [0, 2], [2, 2], [2, 0]], [[4, 0], [4, 2], [6, 2], [4, 0]]
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for ring in (open_ring, closed)
    ]
    path = tmp_path / "by_hand.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert read_frame(path, None).geometry.area.tolist() == [4, 2]
