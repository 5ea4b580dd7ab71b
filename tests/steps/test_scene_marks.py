"""Marks, distractors, areas and verdicts of scenes with and without a CRS, put together; no pixel is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fsod.boxes import Detections, iou
from fsod.errors import UserError
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from fsod.steps.mark_files import MarkFiles, marks_on_scenes
from fsod.steps.marks_elsewhere import as_all_say
from fsod.steps.scene_marks import SAME_OBJECT_IOU, SceneMarks, are_there, misspelt
from tests.labelled_scene import BOXES, STRAIGHT, make_scene, save_labels

OTHER = np.array([[5, 70, 25, 85], [100, 10, 110, 20.0]])


def picture(path: Path, side_px: int = 200) -> Path:
    Image.fromarray(np.zeros((side_px, side_px, 3), np.uint8)).save(path)
    return path


def save(path: Path, boxes: np.ndarray, name: str = "car", crs: str | None = None) -> Path:
    """Boxes in coordinates of the file."""
    path.unlink(missing_ok=True)
    geopandas.GeoDataFrame({"class": [name] * len(boxes)}, geometry=shapely.box(*boxes.T), crs=crs).to_file(path)
    return path


def judged(path: Path, scene: Path, boxes: np.ndarray, verdicts: Sequence[str | None]) -> Path:
    """A layer of cars as ``fsod predict`` writes it, with verdicts."""
    found = Detections(boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int64))
    with open_scene(scene) as opened:
        size_px = opened.width_px, opened.height_px
        ask = np.arange(1, len(boxes) + 1)
        write_layer(path, Layer(found, ["car"], opened.georeference, scene.name, size_px, {}, ask))
    frame = geopandas.read_file(path)
    frame["verdict"] = verdicts
    frame.to_file(path, layer="detections")
    return path


def marks(
    scenes: list[Path],
    labels: Sequence[Path] = (),
    distractors: Sequence[Path] = (),
    areas: Sequence[Path] = (),
    verdicts: Sequence[Path] = (),
) -> list[SceneMarks]:
    return marks_on_scenes(scenes, MarkFiles(labels, distractors=distractors, areas=areas, verdicts=verdicts))


def test_everything_that_is_said_of_a_scene(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "s.tif")
    labels = save_labels(tmp_path / "e.geojson", scene, crs="EPSG:4326")
    distractors = save_labels(tmp_path / "n.gpkg", scene, OTHER[:1], names=["shed"])
    area = save_labels(tmp_path / "a.gpkg", scene, np.array([[0, 0, 60, 70], [50, 0, 140, 30.0]]))
    verdicts = judged(tmp_path / "v.gpkg", scene, OTHER, ["no", "yes"])
    (one,) = marks([scene], [labels], [distractors], [area], [verdicts])
    assert (one.scene, one.name, one.width_px, one.height_px) == (str(scene), "s.tif", 130, 100)
    assert one.gsd_m == pytest.approx(0.5, rel=0.01)
    np.testing.assert_allclose(one.boxes_xyxy_px, [*BOXES, OTHER[1]], atol=0.02)
    assert one.class_names == ("tank", "tank", "ship", "car")
    np.testing.assert_allclose(one.refused_xyxy_px, [OTHER[0], OTHER[0]], atol=0.02)
    assert one.refused_names == ("shed", "not car")
    assert isinstance(one.areas, shapely.MultiPolygon)
    assert one.areas.area == pytest.approx(60 * 70 + 80 * 30 - 10 * 30, rel=1e-3)


def test_an_object_is_there_once(tmp_path: Path) -> None:
    """As marked, else as judged first; who says no where a mark is says it of the outline."""
    scene = picture(tmp_path / "s.png")
    labels = save(tmp_path / "e.gpkg", np.array([[10, 10, 30, 30.0]]))
    boxes = np.array([[12, 10, 32, 30], [11, 9, 30, 31], [60, 60, 80, 80], [61, 61, 80, 80], [100, 100, 120, 120.0]])
    first = judged(tmp_path / "1.gpkg", scene, boxes, ["yes", "no", "yes", None, "no"])
    second = judged(tmp_path / "2.gpkg", scene, boxes + 1, [None, None, "no", "yes", "no"])
    (one,) = marks([scene], [labels], verdicts=[first, second])
    assert one.boxes_xyxy_px.tolist() == [[10, 10, 30, 30], [60, 60, 80, 80]]
    assert one.refused_xyxy_px.tolist() == [[100, 100, 120, 120]]
    assert one.refused_names == ("not car",)


def test_what_was_drawn_twice_by_hand_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pixel or two off; its neighbour in a row is another object."""
    row = np.array([[10, 10, 34, 34], [11, 12, 35, 36], [30, 10, 54, 34.0]])
    (one,) = marks([picture(tmp_path / "s.png")], [save(tmp_path / "e.gpkg", row)])
    assert one.boxes_xyxy_px.tolist() == row[[0, 2]].tolist()
    assert "s.png: 1 of the marks are there twice; each counts once" in capsys.readouterr().err


def test_pictures_go_with_files_in_their_order(tmp_path: Path) -> None:
    """One counts downwards, the other upwards as QGIS does."""
    scenes = [picture(tmp_path / f"{name}.png") for name in "ab"]
    a, b = np.array([[10, 20, 30, 40.0]]), np.array([[50, 60, 70, 80], [5, 5, 9, 9.0]])
    labels = [save(tmp_path / "a.geojson", a), save(tmp_path / "b.gpkg", b * [1, -1, 1, -1])]
    areas = [
        save(tmp_path / "aa.gpkg", a + np.array([-5, -5, 5, 5])),
        save(tmp_path / "bb.gpkg", b[:1] * [1, -1, 1, -1]),
    ]
    verdicts = [judged(tmp_path / f"{s.stem}v.gpkg", s, OTHER, ["no", "no"]) for s in scenes]
    one, two = marks(scenes, labels, areas=areas, verdicts=verdicts)
    assert one.gsd_m is None
    assert one.boxes_xyxy_px.tolist() == a.tolist()
    assert two.boxes_xyxy_px.tolist() == b.tolist()
    assert one.areas.bounds == (5, 15, 35, 45)
    assert two.areas.bounds == (50, 60, 70, 80)
    assert two.refused_xyxy_px.tolist() == OTHER.tolist()
    with pytest.raises(UserError, match="--examples: 1 given for 2 scenes without a CRS; give one for each scene"):
        marks(scenes, labels[:1])
    with pytest.raises(UserError, match="--area: 1 given for 2 scenes"):
        marks(scenes, labels, areas=areas[:1])
    one, two = marks(scenes, labels, verdicts=verdicts[:1])
    assert (len(one.refused_names), len(two.refused_names)) == (len(OTHER), 0)
    assert [m.refused_xyxy_px.tolist() for m in marks(scenes, labels, verdicts=verdicts[::-1])] == [OTHER.tolist()] * 2
    (tmp_path / "other").mkdir()
    alike = [scenes[0], picture(tmp_path / "other" / "a.png")]
    with pytest.raises(UserError, match=r"bv.gpkg: feature 1, 2: is a verdict on b.png, not on a.png"):
        marks(alike, labels, verdicts=verdicts)
    # of two pictures of one name the one beside the layer is meant
    assert [len(one.refused_names) for one in marks(alike, labels, verdicts=verdicts[:1])] == [len(OTHER), 0]
    (tmp_path / "out").mkdir()
    away = verdicts[0].rename(tmp_path / "out" / "av.gpkg")
    with pytest.raises(UserError, match=r"feature 1, 2: is a verdict on a.png, and several scenes are called so"):
        marks(alike, labels, verdicts=[away])
    away.rename(verdicts[0])
    with_crs = make_scene(tmp_path / "s.tif")
    with pytest.raises(UserError, match=r"a.png: has no usable CRS, but .*s.tif has one; give each its own bank"):
        marks([with_crs, scenes[0]], labels)
    # a layer says which picture it is about, and that one needs no other file
    one, two = marks(scenes, labels[:1], areas=areas[:1], verdicts=verdicts[1:])
    assert one.boxes_xyxy_px.tolist() == a.tolist()
    assert two.class_names == ()
    assert two.refused_xyxy_px.tolist() == OTHER.tolist()
    assert two.areas.is_empty
    one, two = marks(scenes, labels[1:], verdicts=verdicts[:1])
    assert two.boxes_xyxy_px.tolist() == b.tolist()
    # one picture may have any number of files; what is marked twice counts once
    more = save(tmp_path / "more.geojson", np.concatenate([a + 0.5, a + 50]))
    assert len(marks(scenes[:1], [labels[0], more])[0].class_names) == 2


def test_scenes_with_a_crs_share_files(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "s.tif")
    far = make_scene(tmp_path / "t.tif", transform=None, crs="EPSG:32633", size=(50, 50))  # no geotransform: a picture
    with pytest.raises(UserError, match=r"t.tif: has no usable CRS"):
        marks([scene, far])
    labels = save_labels(tmp_path / "e.geojson", scene, crs="EPSG:4326")
    one, two = marks([scene, make_scene(tmp_path / "u.tif")], [labels])
    # both show all of it; the first has it
    assert len(one.class_names) == 3
    assert two.class_names == ()
    assert two.areas.is_empty


def test_verdicts_are_on_the_scene_of_their_date(tmp_path: Path) -> None:
    scenes = [make_scene(tmp_path / f"y{year}.tif") for year in (2020, 2021)]
    layer = judged(tmp_path / "v.gpkg", scenes[1], OTHER, ["yes", "no"])
    before, after = marks(scenes, verdicts=[layer])
    assert (before.class_names, before.refused_names) == ((), ())
    assert (after.class_names, after.refused_names) == (("car",), ("not car",))


def test_a_name_tells_only_as_far_as_the_ground_does(tmp_path: Path) -> None:
    """A layer of scenes of one name, which show different ground; a box that was moved onto the neighbour."""
    x, y = tmp_path / "x" / "a.tif", tmp_path / "y" / "a.tif"
    scenes = [make_scene(x), make_scene(y, transform=STRAIGHT @ Affine.translation(500, 0))]
    layer = judged(
        tmp_path / "x" / "v.gpkg", scenes[0], np.concatenate([OTHER, OTHER + np.array([500, 0, 500, 0])]), ["yes"] * 4
    )
    assert [len(one.class_names) for one in marks(scenes, verdicts=[layer])] == [2, 2]
    other = make_scene(tmp_path / "b.tif", transform=STRAIGHT @ Affine.translation(500, 0))
    assert [len(one.class_names) for one in marks([x, other], verdicts=[layer])] == [2, 2]


def test_a_box_that_was_mended_beyond_its_scene_is_on_the_one_that_shows_it(tmp_path: Path) -> None:
    west, east = (
        make_scene(tmp_path / "w.tif"),
        make_scene(tmp_path / "e.tif", transform=STRAIGHT @ Affine.translation(100, 0)),
    )
    layer = judged(tmp_path / "v.gpkg", west, np.array([[124, 40, 170, 80], [105, 10, 129.0, 30]]), ["yes", "yes"])
    one, two = marks([west, east], verdicts=[layer])
    assert one.boxes_xyxy_px == pytest.approx(np.array([[105, 10, 129.0, 30]]))
    assert two.boxes_xyxy_px == pytest.approx(np.array([[24, 40, 70.0, 80]]))


def test_what_is_marked_on_one_scene_is_refused_on_no_other(tmp_path: Path) -> None:
    """Whoever says no to a detection there says it of its outline; a distractor of its own stays."""
    scenes = [make_scene(tmp_path / f"{name}.tif") for name in "ab"]
    labels = save_labels(tmp_path / "m.gpkg", scenes[0], OTHER[:1], names=["car"])
    layer = judged(tmp_path / "v.gpkg", scenes[1], OTHER + 1, ["no", "no"])
    one, two = marks(scenes, [labels], verdicts=[layer])
    assert (one.class_names, one.refused_names) == (("car",), ())
    assert (two.class_names, two.refused_names) == ((), ("not car",))
    assert two.refused_xyxy_px == pytest.approx(OTHER[1:] + 1)


def test_earlier_and_later_marks_on_the_same_ground(tmp_path: Path) -> None:
    west = make_scene(tmp_path / "w.tif")
    east = make_scene(tmp_path / "e.tif", transform=STRAIGHT @ Affine.translation(60, 0))
    labels = save_labels(tmp_path / "m.gpkg", west)
    area = save_labels(tmp_path / "a.gpkg", west, np.array([[0, 0, 190, 100.0]]), names=["all"])
    together = marks([west, east], [labels], areas=[area])
    (marked,), (with_area,) = marks([west], [labels]), marks([east], areas=[area])
    for both in ([marked, with_area], [with_area, marked]):
        areas = {one.name: one.areas for one in as_all_say(both)}
        assert areas["e.tif"].equals(together[1].areas)


def test_layers_that_name_no_scene_are_those_of_the_pictures_in_their_place(tmp_path: Path) -> None:
    scenes = [picture(tmp_path / f"{name}.png") for name in "ab"]
    layers = []
    for i, scene in enumerate(scenes):
        layers.append(judged(tmp_path / f"{scene.stem}.gpkg", scene, OTHER[i : i + 1], ["yes"]))
        frame = geopandas.read_file(layers[-1])
        frame["scene"] = None
        frame.to_file(layers[-1], layer="detections")
    one, two = marks(scenes, verdicts=layers)
    assert one.boxes_xyxy_px.tolist() == OTHER[:1].tolist()
    assert two.boxes_xyxy_px.tolist() == OTHER[1:].tolist()


def test_what_is_marked_on_one_scene_is_no_background_on_another(tmp_path: Path) -> None:
    west = make_scene(tmp_path / "w.tif")
    east = make_scene(tmp_path / "e.tif", transform=STRAIGHT @ Affine.translation(60, 0))
    labels = save_labels(tmp_path / "m.gpkg", west)
    area = save_labels(tmp_path / "a.gpkg", west, np.array([[0, 0, 190, 100.0]]), names=["all"])
    one, two = marks([west, east], [labels], areas=[area])
    assert len(one.class_names) == 3
    assert two.class_names == ()
    assert one.areas.area == pytest.approx(130 * 100, rel=1e-3)
    assert two.areas.area == pytest.approx(130 * 100 - 20 * 20 - 20 * 20, rel=1e-3)
    assert not two.areas.contains(shapely.Point(20, 15))
    # its own marks stay in its area
    own = save_labels(tmp_path / "o.gpkg", east, np.array([[100, 10, 120, 30.0]]), names=["tank"])
    _, two = marks([west, east], [labels, own], areas=[area])
    assert two.class_names == ("tank",)
    assert two.areas.area == pytest.approx(130 * 100 - 20 * 20 - 20 * 20, rel=1e-3)


def test_an_area_without_a_mark_is_fine(tmp_path: Path) -> None:
    scene = picture(tmp_path / "s.png")
    (one,) = marks([scene], areas=[save(tmp_path / "a.gpkg", OTHER)])
    assert one.class_names == ()
    assert one.boxes_xyxy_px.shape == one.refused_xyxy_px.shape == (0, 4)
    assert one.areas.area == pytest.approx(20 * 15 + 10 * 10)


def test_marks_that_show_nothing_are_refused(tmp_path: Path) -> None:
    scene = picture(tmp_path / "s.png")
    thin = save(tmp_path / "e.gpkg", np.array([[10, 10, 30, 30], [5, 5, 5.02, 9], [199.5, 9, 220, 29]]))
    for files in ({"labels": [thin]}, {"distractors": [thin]}):
        with pytest.raises(
            UserError, match=r"e.gpkg: feature 2: 0.02 x 4 px on .*s.png: smaller than a pixel; mark .* taken as pixels"
        ):
            marks([scene], **files)
    verdicts = judged(tmp_path / "v.gpkg", scene, np.array([[5, 5, 5.1, 9.0]]), ["no"])
    with pytest.raises(UserError, match=r"feature 1: 0\.1 x 4 px"):
        marks([scene], verdicts=[verdicts])
    with pytest.raises(UserError, match=r"f.gpkg: feature 1: lies outside .*s.png"):
        marks([scene], [save(tmp_path / "f.gpkg", np.array([[300, 0, 320, 20.0]]))])
    labels = save(tmp_path / "e.gpkg", np.array([[10, 10, 30, 30.0]]))
    with pytest.raises(UserError, match="--not: 'car' is one of the classes"):
        marks([scene], [labels], [labels])


def test_one_name_of_a_layer_for_all_files_that_have_several(tmp_path: Path) -> None:
    scene = picture(tmp_path / "s.png")
    labels = save(tmp_path / "e.gpkg", np.array([[10, 10, 30, 30.0]]))
    geopandas.read_file(labels).to_file(labels, layer="second")
    distractors = save(tmp_path / "n.geojson", OTHER, "shed")
    with pytest.raises(UserError, match=r"has several layers; name one of e, second \(--layer\)"):
        marks([scene], [labels], [distractors])
    with pytest.raises(
        UserError, match=r"--layer third: no file has such a layer; .*e\.gpkg has e, second; .*n\.geojson has n"
    ):
        marks_on_scenes([scene], MarkFiles([labels], distractors=[distractors], layer="third"))
    (one,) = marks_on_scenes([scene], MarkFiles([labels], distractors=[distractors], layer="second"))
    assert one.class_names == ("car",)
    assert one.refused_names == ("shed", "shed")


def test_a_name_that_is_almost_that_of_many_marks_may_be_misspelt() -> None:
    (said,) = misspelt({"ship": 5, "shipp": 1, "tank": 4})
    assert said == "class 'shipp' (1 of the marks) is almost called 'ship' (5); if it is that, mend the name"
    assert not misspelt({"ship": 5, "shipp": 4})  # two classes
    (said,) = misspelt({"ship": 5, "Ship": 5})
    assert said == "class 'Ship' (5 of the marks) is but for capitals called 'ship' (5); if it is that, mend the name"
    assert len(misspelt({"ship": 9, "Ship": 1})) == 1
    assert not misspelt({"type_a": 9, "type_b": 1})


@given(st.integers(0, 2**32 - 1))
def test_which_boxes_are_there(seed: int) -> None:
    """As one would look, box by box."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 6, (24, 2)).astype(np.float64)
    boxes, names = np.hstack([corners, corners + rng.integers(2, 6, (24, 2))]), rng.choice(["a", "b"], 24).tolist()
    others, more = slice(0, 8), range(8, 24)

    def is_there(i: int, among: Sequence[int]) -> bool:
        return any(names[i] == names[k] and iou(boxes[[i]], boxes[[k]])[0, 0] > SAME_OBJECT_IOU for k in among)

    known = list(range(8))
    asked = boxes[8:], names[8:], boxes[others], names[others]
    assert are_there(*asked).tolist() == [is_there(i, known) for i in more]
    there = []
    for i in more:
        there.append(is_there(i, known))
        known += [] if there[-1] else [i]
    assert are_there(*asked, or_before=True).tolist() == there
