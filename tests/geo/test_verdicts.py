from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.layer_files import ON_A_MAP, write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene
from fsod.geo.verdicts import Verdicts, read_verdicts

MakeRaster = Callable[..., Path]

BOXES = np.array([[10, 20, 50, 60], [70, 5, 90, 25], [100, 70, 120, 90], [5, 70, 25, 85.0]])
UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
EAST = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_200, 0, -0.5, 5_000_000)}


def open_made(make_raster: MakeRaster, name: str, **profile: object) -> Scene:
    path = make_raster(np.ones((1, 90, 120), np.uint8), **profile)
    return open_scene(path.rename(path.with_name(name)))


def write(path: Path, scene: Scene) -> Path:
    found = Detections(BOXES, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 0, 1, 1]))
    name, size_px = Path(scene.name).name, (scene.width_px, scene.height_px)
    write_layer(path, Layer(found, ["car", "NA"], scene.georeference, name, size_px, {}, np.arange(1, 5)))
    return path


def judge(path: Path, verdicts: list[str | None]) -> Path:
    """As another program would write them, in the order of the score."""
    if path.suffix == ".csv":
        table = pd.read_csv(path, keep_default_na=False)
        table["verdict"] = [said or "" for said in verdicts]
        table.to_csv(path, index=False)
        return path
    frame = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
    frame = frame.sort_values("score", ascending=False, ignore_index=True)
    frame["verdict"] = verdicts
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        save(frame, path)
    return path


def save(frame: geopandas.GeoDataFrame, path: Path) -> Path:
    """Over an older file; GeoPackage would keep the old layer beside the new one."""
    path.unlink(missing_ok=True)
    frame.to_file(path)
    return path


def said(verdicts: Verdicts) -> tuple[list[list[float]], list[str], list[list[float]], list[str]]:
    """Boxes and names, sorted: FlatGeobuf orders features by place."""
    both: list[list[object]] = []
    for boxes in (verdicts.yes, verdicts.no):
        pairs = sorted(zip(boxes.boxes_xyxy_px.round(1).tolist(), boxes.class_names, strict=True))
        both += [[box for box, _ in pairs], [name for _, name in pairs]]
    return tuple(both)  # type: ignore[return-value]


@pytest.mark.parametrize("suffix", [*ON_A_MAP, ".csv"])
@pytest.mark.parametrize("profile", [UTM, {}], ids=["utm", "picture"])
def test_yes_and_no_are_read_from_what_predict_wrote(
    make_raster: MakeRaster, tmp_path: Path, suffix: str, profile: dict[str, object]
) -> None:
    with open_made(make_raster, "a.tif", **profile) as scene:
        path = judge(write(tmp_path / f"found{suffix}", scene), ["Yes", None, " NO", "y"])
        (verdicts,) = read_verdicts(path, [scene])
    assert said(verdicts) == ([BOXES[3].tolist(), BOXES[0].tolist()], ["NA", "car"], [BOXES[2].tolist()], ["NA"])


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_a_field_of_ticks_may_have_gaps(make_raster: MakeRaster, tmp_path: Path, suffix: str) -> None:
    with open_made(make_raster, "a.tif", **UTM) as scene:
        frame = geopandas.read_file(write(tmp_path / "found.gpkg", scene))
        ticked = frame.assign(verdict=pd.array([True, None, False, True], dtype="boolean"))
        (verdicts,) = read_verdicts(save(ticked, tmp_path / f"ticked{suffix}"), [scene])
    assert (len(verdicts.yes.features), len(verdicts.no.features)) == (2, 1)


def test_a_box_counts_as_it_is_now(make_raster: MakeRaster, tmp_path: Path) -> None:
    """Moved, redrawn as a polygon, or drawn in; attributes still say where it was found."""
    with open_made(make_raster, "a.tif", **UTM) as scene:
        path = judge(write(tmp_path / "found.gpkg", scene), ["yes", "yes", None, None])
        frame = geopandas.read_file(path)
        to_crs = scene.georeference.to_crs
        frame.loc[0, "geometry"] = shapely.affinity.translate(frame.geometry[0], 5, 0)
        frame.loc[1, "geometry"] = shapely.Polygon(to_crs(np.array([[70, 40], [90, 30], [95, 50.0]])))
        drawn = shapely.box(*to_crs(np.array([[30.0, 80.0], [40.0, 70.0]])).ravel())
        frame.loc[4, ["class", "verdict", "geometry"]] = ["car", "yes", drawn]
        save(frame, path)
        (verdicts,) = read_verdicts(path, [scene])
    assert verdicts.yes.boxes_xyxy_px.round(3).tolist() == [[20, 20, 60, 60], [70, 30, 95, 50], [30, 70, 40, 80]]
    assert verdicts.no.boxes_xyxy_px.shape == (0, 4)


def test_what_qgis_has_saved_but_not_yet_moved_into_the_file(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, "a.tif", **UTM) as scene:
        path = write(tmp_path / "found.gpkg", scene)
        open_elsewhere = sqlite3.connect(path)
        try:
            open_elsewhere.execute("PRAGMA journal_mode=WAL")
            open_elsewhere.execute("PRAGMA wal_autocheckpoint=0")
            # the triggers of the spatial index call functions that plain SQLite lacks
            for (name,) in open_elsewhere.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
                open_elsewhere.execute(f'DROP TRIGGER "{name}"')
            open_elsewhere.execute("UPDATE detections SET verdict = 'no' WHERE ask = 2")
            open_elsewhere.commit()
            assert (tmp_path / "found.gpkg-wal").stat().st_size > 0
            (verdicts,) = read_verdicts(path, [scene])
        finally:
            open_elsewhere.close()
    np.testing.assert_allclose(verdicts.no.boxes_xyxy_px, BOXES[[1]], atol=1e-6)


def test_each_scene_gets_its_own(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, "a.tif", **UTM) as west, open_made(make_raster, "b.tif", **EAST) as east:
        path = judge(write(tmp_path / "found.gpkg", east), ["yes", None, "no", None])
        first, second = read_verdicts(path, [west, east])
    assert not len(first.yes.features)
    assert not len(first.no.features)
    np.testing.assert_allclose(second.yes.boxes_xyxy_px, BOXES[[0]], atol=1e-6)
    np.testing.assert_allclose(second.no.boxes_xyxy_px, BOXES[[2]], atol=1e-6)


def test_what_is_drawn_in_by_hand_is_on_the_one_picture_of_its_layer(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, "a.tif") as one, open_made(make_raster, "b.tif") as other:
        path = judge(write(tmp_path / "found.gpkg", other), [None, None, None, None])
        frame = geopandas.read_file(path)
        frame.loc[4, ["class", "verdict", "geometry"]] = ["car", "yes", shapely.box(30, 70, 40, 80)]
        save(frame, path)
        first, second = read_verdicts(path, [one, other])
        assert not len(first.yes.features)
        assert second.yes.boxes_xyxy_px.tolist() == [[30, 70, 40, 80]]
        frame.loc[0, "scene"] = "a.tif"
        with pytest.raises(UserError, match=r"feature 5: is a verdict on no scene, not on a.tif, b.tif"):
            read_verdicts(save(frame, path), [one, other])


def test_verdicts_on_a_picture_are_not_placed_on_a_map(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, "a.tif") as picture, open_made(make_raster, "b.tif", **UTM) as scene:
        path = judge(write(tmp_path / "found.gpkg", picture), ["yes", None, None, None])
        with pytest.raises(UserError, match=r"feature 1: is a verdict on a.tif, not on b.tif"):
            read_verdicts(path, [scene])


def test_a_table_is_read_without_what_made_it_safe(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, "-v.tif", **UTM) as scene:
        found = Detections(BOXES[:1], np.array([0.9], np.float32), np.array([0]))
        path = tmp_path / "found.csv"
        write_layer(path, Layer(found, ["-crane"], scene.georeference, "-v.tif", (120, 90), {}, np.array([1])))
        assert "'-crane" in path.read_text()
        (verdicts,) = read_verdicts(judge(path, ["yes"]), [scene])
    assert verdicts.yes.class_names == ("-crane",)


def test_what_is_no_verdict_is_one_line(make_raster: MakeRaster, tmp_path: Path) -> None:
    with (
        open_made(make_raster, "a.tif", **UTM) as scene,
        open_made(make_raster, "b.tif", **EAST) as other,
        open_made(make_raster, "c.png") as picture,
        open_made(make_raster, "d.png") as other_picture,
    ):

        def refused(path: Path, scene: Scene, match: str) -> None:
            with pytest.raises(UserError, match=match) as caught:
                read_verdicts(path, [scene])
            assert str(caught.value).startswith(str(path))
            assert "\n" not in str(caught.value)

        path = judge(write(tmp_path / "found.gpkg", scene), ["yes", "maybe\x1b[2J", None, "yes"])
        refused(path, scene, r"feature 2: verdict 'maybe\\x1b\[2J' is neither yes nor no; leave it empty")
        refused(write(tmp_path / "new.gpkg", scene), scene, "no verdict given; set verdict to yes or no")
        refused(judge(path, [None] * 4), scene, "no verdict given; set verdict to yes or no in one feature at least$")
        two = write(tmp_path / "two.gpkg", scene)
        geopandas.read_file(two).assign(verdict="yes").to_file(two)  # geopandas adds a layer of the file's name
        refused(
            two, scene, "least of the layer 'detections', or name another one with --layer; .* has detections, two$"
        )
        refused(
            judge(path, ["yes", None, "no", None]), other, r"feature 1, 3: lies outside .*b.tif .* verdicts on a.tif"
        )
        table = write(tmp_path / "found.csv", scene)
        refused(judge(table, ["yes", "", "no", ""]), other, "feature 1, 3: is a verdict on a.tif, not on b.tif")
        pixels = judge(write(tmp_path / "found.fgb", picture), ["no"] * 4)
        refused(pixels, other_picture, r"1, 2, 3 and 1 more: is a verdict on c.png, not on d.png; name its own scene")

        plain = geopandas.read_file(path)
        plain.drop(columns="verdict").to_file(tmp_path / "plain.gpkg")
        refused(tmp_path / "plain.gpkg", scene, "has no attribute 'verdict', so it is not a layer that `fsod predict`")
        drawn = judge(path, ["yes", "no", "yes", None])
        frame = geopandas.read_file(drawn)
        frame.loc[2, "class"] = None
        frame.loc[3, ["class", "geometry"]] = [None, None]  # nobody judged it
        frame.to_file(tmp_path / "drawn.gpkg")
        refused(tmp_path / "drawn.gpkg", scene, "feature 3: no class in its attribute class")
        (tmp_path / "excel.csv").write_text(
            "class;verdict;x1_px;y1_px;x2_px;y2_px\ncar;yes;1;2;3;4\ncar;no;1,5;2;3,5;4\n"
        )
        refused(tmp_path / "excel.csv", scene, "columns are separated by ';'; save it with commas")
        (tmp_path / "bad.csv").write_text("verdict,class\nyes,car\n")
        refused(tmp_path / "bad.csv", scene, "not a layer that `fsod predict` wrote: .*x1_px")
        refused(tmp_path / "missing.csv", scene, "no such vector file")
