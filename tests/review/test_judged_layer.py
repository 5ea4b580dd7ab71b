"""Verdicts, boxes and areas go into the files at once, whatever the format, and each can be taken back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
import shapely.affinity

from fsod.errors import UserError
from fsod.geo.geopackage_file import NAME
from fsod.geo.marked_areas import read_marked_areas
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene
from fsod.geo.verdicts import read_verdicts
from fsod.report.found_layer import read_found
from fsod.review.judged_layer import open_rows
from fsod.review.session import Session
from tests.labelled_scene import ROTATED
from tests.review.made_review import SIZE_PX, grid_boxes, make_layer, on_disk, opened, verdicts

FORMATS = (".gpkg", ".geojson")
PLACES = ("EPSG:32633", None)


def scene_of(path: Path) -> Scene:
    return open_scene(path.parent / "scene.tif")


def test_a_geojson_has_no_layer_of_a_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--layer x: .*found.geojson has no layers"):
        open_rows(make_layer(tmp_path / "found.geojson"), "x")


@pytest.mark.parametrize("crs", PLACES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_layer_is_read_in_the_order_of_ask_with_its_boxes(tmp_path: Path, suffix: str, crs: str | None) -> None:
    layer = opened(make_layer(tmp_path / f"found{suffix}", 5, crs))
    assert [one.ask for one in layer.found.values()] == [1, 2, 3, 4, 5]
    boxes = np.array([one.box_xyxy_px for one in layer.found.values()])
    assert boxes == pytest.approx(grid_boxes(5)[::-1], abs=0.01)
    assert layer.run == {"weights": "0123456789ab", "bank": "ba9876543210", "scene": "scene.tif"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_was_drawn_comes_first(tmp_path: Path, suffix: str) -> None:
    layer = opened(make_layer(tmp_path / f"found{suffix}", 3))
    drawn = [layer.draw("barge", np.array([x, 120.0, x + 30, 150.0])) for x in (100.0, 150.0)]
    layer.read()
    first, second, *others = layer.found.values()
    assert [first.id, second.id] == drawn[::-1]
    assert [one.ask for one in others] == [1, 2, 3]


def test_detections_that_have_lost_their_scores_keep_their_order(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3)
    geopandas.read_file(path, layer=NAME).drop(columns="score").assign(ask=[2, 3, 1]).to_file(path, layer=NAME)
    assert [one.ask for one in opened(path).found.values()] == [1, 2, 3]


@pytest.mark.parametrize("crs", PLACES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_change_is_in_the_file_and_undo_takes_it_back(tmp_path: Path, suffix: str, crs: str | None) -> None:
    path = make_layer(tmp_path / f"found{suffix}", 3, crs)
    layer = opened(path)
    first, second, third = layer.found
    states = [on_disk(path)]

    def done() -> None:
        states.append(on_disk(path))
        assert repr(states[-1]) != repr(states[-2])

    layer.judge(first, "no")
    assert verdicts(path).count("no") == 1
    done()
    layer.mend(second, np.array([30.0, 4.0, 52.0, 40.0]))
    done()
    drawn = layer.draw("ship", np.array([100.0, 120.0, 140.0, 150.0]))
    assert on_disk(path)["class"].count("ship") == states[0]["class"].count("ship") + 1
    done()
    layer.judge(third, "yes")
    done()
    layer.erase(drawn)
    assert len(on_disk(path)["class"]) == 3
    # a reader of its own sees what finetune will
    judged = read_verdicts(path, [scene_of(path)])[0]
    assert judged.no.boxes_xyxy_px.tolist() == [pytest.approx(grid_boxes(3)[2], abs=0.01)]
    assert sorted(map(tuple, judged.yes.boxes_xyxy_px.round(2).tolist())) == [(5, 5, 25, 25), (30, 4, 52, 40)]
    for what, state in zip(("removed", "verdict", "drawn", "mended", "verdict"), reversed(states), strict=True):
        undone = layer.undo()
        assert undone is not None
        assert undone.what.startswith(what)
        assert repr(on_disk(path)) == repr(state)  # nothing is unlike itself, written out
    assert layer.undo() is None
    assert layer.found == opened(path).found


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_drawn_object_is_an_example_on_a_rotated_scene(tmp_path: Path, suffix: str) -> None:
    path = make_layer(tmp_path / f"found{suffix}", 2, transform=ROTATED)
    box = np.array([100.0, 120.0, 140.0, 150.0])
    opened(path).draw("hangar", box)
    judged = read_verdicts(path, [open_scene(path.parent / "scene.tif", north_up=False)])[0]
    assert judged.yes.class_names == ("hangar",)
    assert judged.yes.boxes_xyxy_px[0] == pytest.approx(box, abs=0.02)
    assert len(read_found(path).scores) == 2  # it is no detection, so a report does not show it as one


def test_of_a_layer_on_several_pictures_those_of_this_one_are_shown(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.geojson", 3, None)
    content = json.loads(path.read_text())
    content["features"][1]["properties"]["scene"] = "other.png"
    path.write_text(json.dumps(content))
    layer = opened(path)
    assert list(layer.found) == [3, 1]
    layer.judge(1, "yes")
    assert verdicts(path) == ["yes", "", ""]


def test_what_lies_on_another_scene_alone_is_said(tmp_path: Path) -> None:
    """Of a layer that `fsod predict --together` wrote a review shows one scene, and what others share with it."""
    path = make_layer(tmp_path / "found.gpkg", 4)
    frame = geopandas.read_file(path, layer=NAME)
    frame["scene"] = ["scene.tif", "scene.tif", "b.tif", "b.tif"]
    frame.geometry = [*frame.geometry[:3], shapely.affinity.translate(frame.geometry[3], 5000)]
    frame.to_file(path, layer=NAME)
    assert opened(path).elsewhere == {"b.tif": 1}
    said = Session(path, None, None).warnings()
    assert f"{path}: detections on b.tif are not shown (1); --scene names the scene to judge on" in said


def test_a_geojson_that_another_program_has_written_is_not_written_over(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.geojson", 3)
    layer = opened(path)
    layer.judge(1, "yes")
    content = json.loads(path.read_text())
    assert content["run"]["weights"] == "0123456789ab"
    content["features"] = content["features"][::-1]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="another program has changed it; reload the page"):
        layer.judge(2, "no")
    layer.read()
    assert layer.undoable == ""
    assert [layer.found[i].verdict for i in (1, 2, 3)] == ["", "", "yes"]
    layer.judge(2, "no")
    assert verdicts(path) == ["", "no", "yes"]


@pytest.mark.parametrize("crs", PLACES)
def test_areas_are_those_that_finetune_reads(tmp_path: Path, crs: str | None) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3, crs)
    layer = opened(path)
    ring = np.array([[10.0, 10], [200, 10], [200, 100], [10, 100]])
    layer.draw_area(ring)
    layer.draw_area(np.array([[300.0, 200], [500, 200], [500, 400]]))
    areas = tmp_path / "found.areas.geojson"
    found = read_marked_areas(areas, [scene_of(path)])[0]
    assert found.area == pytest.approx(190 * 90 + 0.5 * 100 * 100, rel=0.01)
    assert found.bounds[2:] == pytest.approx(SIZE_PX, abs=0.01)
    again = opened(path).areas.polygons_px
    assert [one.area for one in again] == pytest.approx([190 * 90, 5000], rel=0.01)
    layer.erase_area(0)
    assert layer.undo()
    layer.undo()
    layer.undo()
    assert not areas.exists()
    with pytest.raises(UserError, match="holds no pixel"):
        layer.draw_area(np.array([[-50.0, -50], [-10, -50], [-10, -10]]))


@pytest.mark.parametrize("crs", PLACES)
def test_areas_keep_their_holes_and_their_parts(tmp_path: Path, crs: str | None) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3, crs)
    layer = opened(path)
    holes = [shapely.box(20, 20, 60, 60), shapely.box(100, 20, 160, 60)]
    drawn = shapely.Polygon(shapely.box(10, 10, 200, 100).exterior, [hole.exterior for hole in holes])
    layer.areas.write([drawn])
    layer = opened(path)
    layer.draw_area(np.array([[300.0, 200], [500, 200], [500, 400]]))
    found = read_marked_areas(tmp_path / "found.areas.geojson", [scene_of(path)])[0]
    assert found.area == pytest.approx(drawn.area + 5000, rel=0.01)
    assert [one.area for one in opened(path).areas.polygons_px] == pytest.approx([drawn.area, 5000], rel=0.01)


@pytest.mark.parametrize("crs", PLACES)
def test_an_area_that_crosses_itself_stays_in_the_file(tmp_path: Path, crs: str | None) -> None:
    """With a hole, as QGIS lets people draw it; another one is drawn then."""
    path = make_layer(tmp_path / "found.gpkg", 3, crs)
    layer = opened(path)
    bow = shapely.Polygon([(10, 10), (200, 200), (200, 10), (10, 200)], [[(20, 60), (30, 60), (30, 80), (20, 80)]])
    layer.areas.polygons_px.append(bow)
    layer.draw_area(np.array([[300.0, 200], [500, 200], [500, 400]]))
    kept = opened(path).areas.polygons_px
    assert sum(one.area for one in kept) == pytest.approx(95 * 95 * 2 - 20 * 10 + 5000, rel=0.01)


def test_what_cannot_be_judged_says_what_to_do(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.gpkg", 3)
    layer = opened(path)
    with pytest.raises(UserError, match="say no to a detection"):
        layer.erase(1)
    with pytest.raises(UserError, match="lies outside the scene"):
        layer.draw("ship", np.array([500.0, 10, 520, 20]))
    with pytest.raises(UserError, match="smaller than a pixel"):
        layer.draw("ship", np.array([50.0, 10, 50.5, 20]))
    with pytest.raises(UserError, match="needs a class"):
        layer.draw(" ", np.array([50.0, 10, 70, 20]))
    with pytest.raises(UserError, match="feature 77 is not there any more"):
        layer.judge(77, "yes")
    assert len(verdicts(path)) == 3
    for name, why in {"gone.gpkg": "no such layer", "found.fgb": r"write \.gpkg or \.geojson"}.items():
        with pytest.raises(UserError, match=why):
            opened(tmp_path / name)
    plain = tmp_path / "plain.gpkg"
    pyogrio.write_dataframe(geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32633), plain)
    with pytest.raises(UserError, match="no attribute 'verdict'"):
        opened(plain)
    points = geopandas.read_file(path)
    points.set_geometry(points.centroid).to_file(tmp_path / "points.gpkg")
    with pytest.raises(UserError, match="none of its features is a polygon"):
        opened(tmp_path / "points.gpkg")
    pyogrio.write_dataframe(points.drop(columns="geometry"), tmp_path / "table.gpkg")
    with pytest.raises(UserError, match="has no layer with geometry"):
        opened(tmp_path / "table.gpkg")
    (tmp_path / "text.geojson").write_text("{}")
    with pytest.raises(UserError, match="cannot be read as GeoJSON"):
        opened(tmp_path / "text.geojson")
    away = tmp_path / "away"
    away.mkdir()
    shutil.copy(path, away)
    make_layer(away / "other.gpkg", 1, "EPSG:32636")
    with pytest.raises(UserError, match=r"nothing in it lies on .*scene.tif; name the scene"):
        opened(away / "found.gpkg")
