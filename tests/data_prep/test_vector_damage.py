"""What cannot be used of scenes and labels: named, or left out and listed."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.label_files import LabelSettings
from data_prep.vector_labels import prepare_labels
from fsod.data.coco_folder import load_folder
from fsod.errors import UserError
from tests.labelled_scene import BOXES, BY_CLASS, make_scene, save_labels


def test_bad_labels_stop_it_or_are_listed(tmp_path: Path) -> None:
    scenes, labels = tmp_path / "scenes", tmp_path / "labels"
    make_scene(scenes / "a.tif")
    make_scene(scenes / "lonely.tif")
    save_labels(labels / "a.gpkg", scenes / "a.tif", BOXES + np.array([[0], [900], [0]]), names=["tank", "tank", " "])
    save_labels(labels / "stray.gpkg", scenes / "a.tif")
    with pytest.raises(UserError, match=r"lonely.tif: has no annotation file; fix it, or leave such items out"):
        prepare_labels(scenes, labels, tmp_path / "out", BY_CLASS)
    skip = LabelSettings("class", window_px=64, overlap_px=0, skip_bad=True)
    card = prepare_labels(scenes, labels, tmp_path / "out", skip)
    assert [(Path(r["where"]).name, r["why"].replace(str(scenes), "SCENES")) for r in card["refused"]] == [
        ("lonely.tif", "has no annotation file"),
        ("stray.gpkg", "has no image"),
        ("a.gpkg", "feature 3: no class in its attribute class"),
        ("a.gpkg", "feature 2: lies outside SCENES/a.tif (130x100 px)"),
    ]
    assert (card["boxes"], card["objects"]) == (2, 1)  # in two windows
    with pytest.raises(
        UserError, match=r"a.gpkg: feature 3: no class in its attribute class, and every window shows a label that"
    ):
        prepare_labels(scenes, labels, tmp_path / "other", LabelSettings("class", skip_bad=True))
    (scenes / "lonely.tif").unlink()
    (labels / "stray.gpkg").unlink()
    with pytest.raises(
        UserError, match=r"a.gpkg: feature 3: no class in its attribute class; fix it, or leave such items out"
    ):
        prepare_labels(scenes, labels, tmp_path / "other", BY_CLASS)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("what", "left_out"),
    [
        ("no class", {(64, 36), (66, 36)}),
        ("point", {(64, 36), (66, 36)}),
        ("line", {(64, 36), (66, 36)}),
        ("none", set()),
    ],
)
def test_a_label_that_cannot_be_read_is_no_background(
    tmp_path: Path, what: str, left_out: set[tuple[int, int]]
) -> None:
    """Windows that show it are left out; where a feature has no place at all, nothing is."""
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "a.gpkg", scene, names=["tank", "tank", "" if what == "no class" else "ship"])
    frame = geopandas.read_file(labels)
    place = frame.geometry[2]
    changed = {"point": place.centroid, "line": shapely.LineString(place.exterior.coords[:2]), "none": None}
    if what in changed:
        frame["geometry"] = [*frame.geometry[:2], changed[what]]
        labels.unlink()
        frame.to_file(labels)
    settings = LabelSettings("class", window_px=64, overlap_px=0, skip_bad=True)
    card = prepare_labels(scene, labels, tmp_path / "out", settings)
    written = {tuple(map(int, image.path.stem.split("_")[1:])) for image in load_folder(tmp_path / "out").images}
    assert written == {(x, y) for x in (0, 64, 66) for y in (0, 36)} - left_out
    assert card["windows_with_unread_labels_left_out"] == len(left_out)
    assert len(card["refused"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_px": 5000}, "window_px is 5000; it must be 64 to 4096"),
        ({"overlap_px": 2000}, "overlap_px is 2000"),
        ({"point_size_m": -1}, "points of -1 m: give a size above 0"),
    ],
)
def test_settings_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelSettings("class", **change)


def test_damaged_scenes_and_files(tmp_path: Path) -> None:
    scenes, labels = tmp_path / "scenes", tmp_path / "labels"
    make_scene(scenes / "a.tif")
    (scenes / "bad.tif").write_bytes(b"not a raster")
    make_scene(scenes / "c.tif")
    save_labels(labels / "a.gpkg", scenes / "a.tif")
    save_labels(labels / "bad.gpkg", scenes / "a.tif")
    (labels / "c.geojson").write_text("{")
    with pytest.raises(UserError, match=r"c.geojson: cannot be read as a vector file"):
        prepare_labels(scenes, labels, tmp_path / "out", BY_CLASS)
    card = prepare_labels(scenes, labels, tmp_path / "out", LabelSettings("class", skip_bad=True))
    assert [Path(r["where"]).name for r in card["refused"]] == ["c.geojson", "bad.tif"]
    assert (card["scenes"], card["boxes"]) == (1, 3)
    with pytest.raises(UserError, match="no such file or folder"):
        prepare_labels(tmp_path / "gone", labels, tmp_path / "other", BY_CLASS)
    with pytest.raises(UserError, match=r"labels: holds no raster"):
        prepare_labels(labels, labels, tmp_path / "other", BY_CLASS)


SQUARE = [[500_010, 4_999_990], [500_020, 4_999_990], [500_020, 4_999_980], [500_010, 4_999_980], [500_010, 4_999_990]]
LABELS: dict[str, Any] = {
    "type": "FeatureCollection",
    "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
    "features": [
        {"type": "Feature", "properties": {"class": "tank"}, "geometry": {"type": "Polygon", "coordinates": [SQUARE]}},
        {"type": "Feature", "properties": {"class": 3}, "geometry": {"type": "Point", "coordinates": SQUARE[0]}},
    ],
}
STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1e308, math.nan, -math.inf, 10**30, [], {}, [[]], [[[]]], [1], [[1, 2], [3, 4]], {"a": 1}),
    *("", "x", "Point", "LineString", "GeometryCollection", "Topology", "urn:ogc:def:crs:EPSG::999999", "\ud800", "\0"),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with every key of it."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Labels with values exchanged or taken away, then bytes overwritten or cut off."""
    labels = copy.deepcopy(LABELS)
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(places(labels) or [({"": 0}, "")]))
        if draw(st.booleans()):
            container[key] = copy.deepcopy(draw(st.sampled_from(STRANGE)))
        else:
            del container[key]
    raw = bytearray(json.dumps(labels).encode())
    for place, byte in draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=2)):
        raw[place] = byte
    return bytes(raw[: draw(st.just(len(raw)) | st.integers(0, len(raw)))])


@pytest.fixture(scope="module")
def small_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scene(tmp_path_factory.mktemp("fuzz") / "a.tif")


@settings(max_examples=150, deadline=None)
@given(raw=mangled(), skip_bad=st.booleans())
def test_mangled_geojson_is_a_user_error_or_a_counted_skip(small_scene: Path, raw: bytes, skip_bad: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        labels, out = Path(place) / "a.geojson", Path(place) / "out"
        labels.write_bytes(raw)
        try:
            card = prepare_labels(small_scene, labels, out, LabelSettings("class", point_size_m=5, skip_bad=skip_bad))
        except UserError as error:
            said = str(error)
            assert not out.exists()
        else:
            said = str(labels)
            assert skip_bad or not card["refused"]
            assert all(refusal["where"] == said for refusal in card["refused"])
            load_folder(out)
        assert str(labels) in said
        assert "\n" not in said
