from __future__ import annotations

import json
import os
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from data_prep.label_files import LabelSettings
from data_prep.vector_labels import prepare_labels
from fsod.data.coco_folder import CocoFolder, load_folder, read_image
from fsod.errors import UserError
from fsod.geo.scene_opening import open_scene
from tests.command import fsod
from tests.labelled_scene import BOXES, BY_CLASS, CLASSES, ROTATED, STRAIGHT, make_scene, save_labels

GEOTIFF = Path(os.environ.get("FSOD_SHARED", "../shared")) / "data" / "geotiff"


def boxes_of(folder: CocoFolder, name: str) -> np.ndarray:
    """The boxes of an image, from left to right."""
    (image,) = (image for image in folder.images if image.path.stem == name)
    return image.boxes_xyxy_px[np.argsort(image.boxes_xyxy_px[:, 0])]


@pytest.mark.parametrize("transform", [STRAIGHT, ROTATED], ids=["straight", "rotated"])
@pytest.mark.parametrize(("name", "crs"), [("a.geojson", "EPSG:4326"), ("a.gpkg", None), ("a.shp", "EPSG:3035")])
def test_boxes_lie_on_what_is_drawn(tmp_path: Path, transform: Affine, name: str, crs: str | None) -> None:
    scene = make_scene(tmp_path / "a.tif", transform=transform)
    card = prepare_labels(scene, save_labels(tmp_path / name, scene, crs=crs), tmp_path / "out", BY_CLASS)
    folder = load_folder(tmp_path / "out")
    # GeoJSON keeps 7 decimals of a degree: 1 cm, 0.02 px
    np.testing.assert_allclose(boxes_of(folder, "a_0_0"), BOXES[np.argsort(BOXES[:, 0])], atol=0.03)
    rgb = read_image(folder.images[0])
    for box in folder.images[0].boxes_xyxy_px:
        x1, y1, x2, y2 = box.round().astype(int)
        assert (rgb[y1:y2, x1:x2] == 200).all()
        assert (rgb[y1 - 1, x1:x2] < 50).all()
        assert (rgb[y1:y2, x2] < 50).all()
    assert card["classes"] == {"ship": {"boxes": 1, "images": 1}, "tank": {"boxes": 2, "images": 1}}
    # a UTM grid is 0.04 % short at its central meridian
    assert folder.images[0].gsd_m == pytest.approx(0.5, rel=1e-3)


def test_points_have_a_size_on_the_ground(tmp_path: Path) -> None:
    """At 60 degrees north a metre of Web Mercator is half a metre on the ground, so 20 m are 40 of its metres."""
    transform = Affine(2, 0, 1_000_000, 0, -2, 8_400_000)
    scene = make_scene(tmp_path / "a.tif", crs="EPSG:3857", transform=transform)
    places = [shapely.Point(transform @ (60.0, 50.0)), shapely.Point(transform @ (129.0, 50.0))]
    points = geopandas.GeoDataFrame({"class": ["car", "bus"]}, geometry=places, crs=3857)
    points.to_crs(4326).to_file(tmp_path / "points.gpkg")
    with pytest.raises(UserError, match=r"points.gpkg: feature 1: a point, which needs a size \(--size-m"):
        prepare_labels(scene, tmp_path / "points.gpkg", tmp_path / "out", BY_CLASS)
    prepare_labels(scene, tmp_path / "points.gpkg", tmp_path / "out", LabelSettings("class", point_size_m=20))
    image = load_folder(tmp_path / "out").images[0]
    assert image.gsd_m is not None
    assert image.gsd_m == pytest.approx(1.0, rel=0.02)
    side = 20 / image.gsd_m
    np.testing.assert_allclose(
        image.boxes_xyxy_px[0], [60 - side / 2, 50 - side / 2, 60 + side / 2, 50 + side / 2], atol=0.1
    )
    # the second is cut by the edge with more than half of it inside
    np.testing.assert_allclose(image.boxes_xyxy_px[1], [129 - side / 2, 50 - side / 2, 130, 50 + side / 2], atol=0.1)


def test_classes_that_differ_in_capitals_alone_are_said(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "a.gpkg", scene)
    geopandas.read_file(labels).assign(**{"class": ["tank", "Ship", "ship"]}).to_file(labels)
    (said,) = prepare_labels(scene, labels, tmp_path / "out", BY_CLASS)["warnings"]
    assert said.startswith("classes 'Ship' and 'ship' differ in capitals alone")


def test_an_object_that_is_mostly_outside_is_neither_object_nor_background(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "a.gpkg", scene, np.array([[-30, 10, 10, 30], [-5, 50, 15, 70.0]]))
    card = prepare_labels(scene, labels, tmp_path / "out", BY_CLASS)
    image = load_folder(tmp_path / "out").images[0]
    np.testing.assert_allclose(image.boxes_xyxy_px, [[0, 50, 15, 70]], atol=1e-6)
    np.testing.assert_allclose(image.cut_boxes_xyxy_px, [[0, 10, 10, 30]], atol=1e-6)
    assert card["objects_in_no_image"] == [1]


def test_a_folder_of_scenes_with_one_file_each_or_one_for_all(tmp_path: Path) -> None:
    scenes, labels = tmp_path / "scenes", tmp_path / "labels"
    make_scene(scenes / "b.tif")
    make_scene(scenes / "a.TIF", BOXES[:1], transform=Affine.translation(1000, 0) @ STRAIGHT)
    save_labels(labels / "a.geojson", scenes / "a.TIF", BOXES[:1], "EPSG:4326")
    save_labels(labels / "b.shp", scenes / "b.tif")
    each = prepare_labels(scenes, labels, tmp_path / "each", BY_CLASS)
    parts = [geopandas.read_file(labels / name).to_crs(3857) for name in ("a.geojson", "b.shp")]
    geopandas.pd.concat(parts).to_file(tmp_path / "all.gpkg")
    together = prepare_labels(scenes, tmp_path / "all.gpkg", tmp_path / "all", BY_CLASS)
    assert each["objects"] == together["objects"] == 4
    for out in ("each", "all"):
        folder = load_folder(tmp_path / out)
        assert [image.source for image in folder.images] == ["a", "b"]
        np.testing.assert_allclose(boxes_of(folder, "a_0_0"), BOXES[:1], atol=0.03)
        np.testing.assert_allclose(boxes_of(folder, "b_0_0"), BOXES, atol=0.03)
        assert [image.path.stem for image in folder.select(["b"]).images] == ["b_0_0"]


def test_one_object_on_two_scenes_is_one_object(tmp_path: Path) -> None:
    make_scene(tmp_path / "scenes" / "a.tif")
    make_scene(tmp_path / "scenes" / "b.tif", BOXES - [5, 0, 5, 0], transform=STRAIGHT @ Affine.translation(5, 0))
    labels = save_labels(tmp_path / "all.gpkg", tmp_path / "scenes" / "a.tif")
    card = prepare_labels(tmp_path / "scenes", labels, tmp_path / "out", BY_CLASS)
    assert (card["objects"], card["boxes"]) == (3, 6)
    images = load_folder(tmp_path / "out").images
    assert sorted(images[0].source_box_ids) == sorted(images[1].source_box_ids) == [1, 2, 3]


def test_a_large_scene_is_cut_into_windows(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    corners = rng.integers([0, 0], [560, 260], (12, 2)).astype(float)
    boxes = np.concatenate([corners, corners + rng.integers(8, 32, (12, 2))], axis=1)
    scene = make_scene(tmp_path / "a.tif", boxes, (600, 300), dtype="uint16")
    labels = save_labels(tmp_path / "a.gpkg", scene, boxes, names=["tank"] * 12)
    plan = LabelSettings("class", window_px=128, overlap_px=32)
    card = prepare_labels(scene, labels, tmp_path / "out", plan)
    folder = load_folder(tmp_path / "out")
    assert max(max(image.width_px, image.height_px) for image in folder.images) == 128
    assert (card["objects"], card["objects_in_no_image"], card["scenes"]) == (12, [], 1)
    raw = json.loads((tmp_path / "out" / "annotations.json").read_text())
    whole = set()
    with open_scene(scene) as opened:
        for record, image in zip(raw["images"], folder.images, strict=True):
            x, y, width, height = record["tile_xywh_px"]
            # the same pixels that inference sees, scaled over the whole scene
            expected, _ = opened.read_rectangle((x, y, x + width, y + height))
            np.testing.assert_array_equal(read_image(image), expected)
            for box, source in zip(image.boxes_xyxy_px, image.source_box_ids, strict=True):
                truth = boxes[source - 1] - [x, y, x, y]
                np.testing.assert_allclose(box, np.clip(truth, 0, [width, height] * 2), atol=1e-6)
                if np.abs(box - truth).max() < 1e-6:
                    whole.add(source)
    # objects up to the overlap are whole somewhere
    assert whole == set(range(1, 13))
    assert card["pixels"]["a"].startswith("bands 1,2,3 scaled from 8")


def test_empty_windows_are_not_written(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif", BOXES[:1], (600, 100))
    with rasterio.open(scene, "r+") as file:
        pixels = file.read()
        pixels[:, :, 128:] = 0
        file.write(pixels)
    labels = save_labels(tmp_path / "a.gpkg", scene, BOXES[:1])
    card = prepare_labels(scene, labels, tmp_path / "out", LabelSettings("class", window_px=128, overlap_px=0))
    assert (card["images"], card["blank_windows_left_out"]) == (1, 4)


def test_without_a_crs_coordinates_are_pixels(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif", crs=None, transform=None)
    polygons = shapely.box(*BOXES.T)
    geopandas.GeoDataFrame({"class": CLASSES}, geometry=polygons).to_file(tmp_path / "a.gpkg")
    card = prepare_labels(scene, tmp_path / "a.gpkg", tmp_path / "out", BY_CLASS)
    image = load_folder(tmp_path / "out").images[0]
    np.testing.assert_allclose(image.boxes_xyxy_px, BOXES)
    assert image.gsd_m is None
    assert "has no CRS" in card["warnings"][0]
    geopandas.GeoDataFrame({"class": CLASSES}, geometry=shapely.centroid(polygons)).to_file(tmp_path / "p.gpkg")
    with pytest.raises(UserError, match="has no usable CRS, so metres say nothing of its points"):
        prepare_labels(scene, tmp_path / "p.gpkg", tmp_path / "other", LabelSettings("class", point_size_m=3))


def test_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "a.shp", scene)
    card = prepare_labels(scene, labels, tmp_path / "out", BY_CLASS)
    assert prepare_labels(scene, labels, tmp_path / "out", BY_CLASS) == json.loads(json.dumps(card))
    assert "nothing to do" in capsys.readouterr().err
    save_labels(labels, scene, names=["a", "b", "c"])  # only the .dbf changes
    with pytest.raises(UserError, match="prepared from other content"):
        prepare_labels(scene, labels, tmp_path / "out", BY_CLASS)


def test_the_command(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "a.gpkg", scene)
    assert fsod("data", "labels", scene, labels, tmp_path / "out", "--attribute", "class") == 0
    assert load_folder(tmp_path / "out").class_names == ("ship", "tank")


# boxes drawn by hand around what can be seen: tanks, cars, houses; in pixels
BY_HAND = {
    "oil_tanks_3857_rgba": [[70, 40, 131, 109], [225, 46, 286, 117], [361, 99, 420, 168], [640, 195, 698, 265]],
    "cars_26913_cog": [[129, 82, 144, 117], [151, 79, 165, 115], [172, 83, 186, 116], [191, 79, 206, 113]],
    "uint16_pan_4326": [[74, 417, 152, 479], [462, 505, 508, 569], [865, 393, 970, 490]],
}


@pytest.mark.skipif(not GEOTIFF.is_dir(), reason=f"real rasters are not here: {GEOTIFF}")
@pytest.mark.parametrize(
    ("name", "third"),
    [("oil_tanks_3857_rgba", "EPSG:3035"), ("cars_26913_cog", "EPSG:3857"), ("uint16_pan_4326", "EPSG:32611")],
)
def test_boxes_by_hand_on_real_rasters(tmp_path: Path, name: str, third: str) -> None:
    """In EPSG:4326, in the raster's own CRS and in a third one they come back to the same pixels."""
    scene, boxes = GEOTIFF / f"{name}.tif", np.array(BY_HAND[name], dtype=np.float64)
    for crs, suffix in (("EPSG:4326", "geojson"), (None, "gpkg"), (third, "shp")):
        labels = save_labels(tmp_path / f"labels.{suffix}", scene, boxes, crs, ["thing"] * len(boxes))
        prepare_labels(scene, labels, tmp_path / f"out_{suffix}", BY_CLASS)
        found = boxes_of(load_folder(tmp_path / f"out_{suffix}"), f"{name}_0_0")
        with open_scene(scene) as seen:  # with pixels that are square on the ground
            stretched = np.tile([seen.width_px, seen.height_px], 2) / np.tile(seen.file_size_px, 2)
        np.testing.assert_allclose(found, boxes * stretched, atol=0.1)


def test_a_shapefile_without_cpg_says_what_it_was_read_as(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "labels.shp", scene, names=["grün", "klein", "klein"])
    assert prepare_labels(scene, labels, tmp_path / "known", BY_CLASS)["warnings"] == []
    labels.with_suffix(".cpg").unlink()
    card = prepare_labels(scene, labels, tmp_path / "unknown", BY_CLASS)
    (warning,) = card["warnings"]
    assert warning.startswith(
        f"{labels}: does not say how its texts are encoded; read as ISO-8859-1, which gives a class"
    )
    assert "\u00c3" in warning, "the umlaut, taken for two letters"
    labels.with_suffix(".cpg").write_text("UTF-8")
    again = prepare_labels(scene, labels, tmp_path / "again", BY_CLASS)
    assert (again["warnings"], list(again["classes"])) == ([], ["grün", "klein"])
    save_labels(labels, scene, names=["a", "b", "c"]).with_suffix(".cpg").unlink()
    assert prepare_labels(scene, labels, tmp_path / "ascii", BY_CLASS)["warnings"] == [], "it does not matter"


@pytest.mark.parametrize("which", ["scenes", "labels"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, which: str) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "labels.gpkg", scene)
    os.mkfifo(tmp_path / "pipe")
    given = (tmp_path / "pipe", labels) if which == "scenes" else (scene, tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: no such file or folder"):
        prepare_labels(*given, tmp_path / "out", BY_CLASS)
