"""A layer of a GeoPackage is changed feature by feature: what else the file holds, and what others do to it, stays."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
import shapely.affinity

from fsod.errors import UserError
from fsod.geo.features import SEARCHED, read_frame
from fsod.geo.geopackage_file import NAME
from fsod.review.geopackage_rows import SQL_FUNCTIONS
from tests.review.made_review import grid_boxes, make_layer, opened, verdicts


def test_other_layers_of_a_container_and_edits_of_others_stay(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3)
    mine = geopandas.GeoDataFrame({"note": ["mine"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32633")
    pyogrio.write_dataframe(mine, path, layer="mine")
    layer = opened(path)
    with closing(sqlite3.connect(path)) as other:  # as QGIS holds it
        for name, function in SQL_FUNCTIONS.items():
            other.create_function(name, 1, function)
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE detections SET verdict = 'yes' WHERE fid = 1")
        other.commit()
        layer.judge(2, "no")
        layer.read()
        assert [layer.found[i].verdict for i in (1, 2, 3)] == ["yes", "no", ""]
        other.execute("BEGIN IMMEDIATE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fsod.review.geopackage_rows.WAIT_S", 0.1)
            with pytest.raises(UserError, match="another program keeps it locked"):
                layer.judge(3, "no")
        other.rollback()
    assert layer.found[3].verdict == ""
    assert geopandas.read_file(path, layer="mine")["note"].tolist() == ["mine"]


def test_verdicts_in_a_checkbox_are_what_was_said(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3)
    frame = geopandas.read_file(path, layer=NAME)
    frame["verdict"] = pd.array([None] * 3, dtype="boolean")
    frame.to_file(path, layer=NAME)
    layer = opened(path)
    layer.judge(1, "yes")
    layer.judge(2, "no")
    layer.judge(3, "no")
    layer.undo()
    layer.read()
    assert [layer.found[i].verdict for i in (1, 2, 3)] == ["yes", "no", ""]
    assert read_frame(path, NAME)["verdict"].dropna().tolist() == [True, False]


def test_a_layer_that_was_saved_again_without_its_boxes_in_pixels_can_be_mended(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3)
    frame = geopandas.read_file(path, layer=NAME)
    frame[["class", "score", "verdict", "ask", "scene", "geometry"]].to_file(path, layer=NAME)
    layer = opened(path)
    mended = np.array([50.0, 60.0, 90.0, 80.0])
    layer.mend(2, mended)
    layer.read()
    assert verdicts(path) == ["", "yes", ""]
    assert np.array(layer.found[2].box_xyxy_px) == pytest.approx(mended, abs=0.01)
    layer.undo()
    layer.read()
    assert verdicts(path) == ["", "", ""]
    assert np.array(layer.found[2].box_xyxy_px) == pytest.approx(grid_boxes(3)[1], abs=0.01)


def test_a_circle_can_be_mended_and_comes_back_as_a_circle(tmp_path: Path) -> None:
    """QGIS draws circles as curves, and keeps them in layers whose geometry is a CurvePolygon."""
    path = make_layer(tmp_path / "found.gpkg", 3)
    with closing(sqlite3.connect(path)) as file:
        for name, function in SQL_FUNCTIONS.items():
            file.create_function(name, 1, function)
        (blob,) = file.execute("SELECT geom FROM detections WHERE fid = 1").fetchone()
        x1, x2, y1, y2 = struct.unpack_from("<4d", blob, 8)
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        around = (x1, y, x, y2, x2, y, x, y1, x1, y)
        circle = blob[:40] + struct.pack("<BIIBII10d", 1, 10, 1, 1, 8, 5, *around)  # a CurvePolygon of a CircularString
        file.execute("UPDATE detections SET geom = ? WHERE fid = 1", (circle,))
        file.commit()
        layer = opened(path)
        layer.judge(1, "yes")
        assert np.array(layer.found[1].box_xyxy_px) == pytest.approx(grid_boxes(1)[0], abs=0.1)
        layer.mend(1, np.array([50.0, 60.0, 90.0, 80.0]))
        layer.read()
        assert layer.found[1].box_xyxy_px == pytest.approx((50, 60, 90, 80), abs=0.01)
        layer.undo()
        assert file.execute("SELECT geom FROM detections WHERE fid = 1").fetchone() == (circle,)
    assert verdicts(path) == ["yes", "", ""]
    assert len(pyogrio.read_dataframe(path, layer=NAME, bbox=(x1, y1, x2, y2))) == 1


def test_undo_goes_on_behind_a_feature_that_another_program_has_removed(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3)
    layer = opened(path)
    layer.judge(1, "yes")
    layer.judge(2, "no")
    layer.rows.remove(2)  # as QGIS does
    layer.read()
    with pytest.raises(UserError, match="feature 2 is not there any more"):
        layer.undo()
    layer.undo()
    assert verdicts(path) == ["", ""]
    assert layer.undoable == ""


def test_the_index_of_a_geopackage_follows_what_is_drawn(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3)
    layer = opened(path)
    layer.draw("ship", np.array([380.0, 280.0, 400.0, 300.0]))
    corner = tuple(layer.scene.georeference.to_crs(np.array([[370.0, 300.0], [400.0, 270.0]])).ravel())
    assert len(pyogrio.read_dataframe(path, layer=NAME, bbox=corner)) == 1
    info = pyogrio.read_info(path, layer=NAME, force_total_bounds=True)
    assert info["features"] == 4
    assert info["total_bounds"][2] == pytest.approx(500_000 + 0.5 * 400)
    layer.undo()
    assert len(pyogrio.read_dataframe(path, layer=NAME, bbox=corner)) == 0
    assert pyogrio.read_info(path, layer=NAME)["features"] == 3


def test_a_layer_of_another_name_is_found_beside_what_was_searched(tmp_path: Path) -> None:
    """As `fsod finetune --verdicts` finds it."""
    path = make_layer(tmp_path / "found.gpkg", 3)
    frame = geopandas.read_file(path, layer=NAME)
    path.unlink()
    frame.to_file(path, layer="cars 2026")
    frame.to_file(path, layer=SEARCHED)
    assert opened(path).rows.layer == "cars 2026"
