from __future__ import annotations

import copy
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.label_files import LabelSettings
from data_prep.vector import prepare_labels
from fsod.data.coco import CocoFolder, load_folder, read_image
from fsod.errors import UserError
from fsod.geo.scene import open_scene
from fsod.geo.vector import corners_px
from tests.command import fsod

GEOTIFF = Path(os.environ.get("FSOD_SHARED", "../shared")) / "data" / "geotiff"
BOXES = np.array([[10, 20, 50, 60], [70, 5, 90, 25], [100, 70, 120, 90]], dtype=np.float64)
CLASSES = ["tank", "tank", "ship"]
STRAIGHT = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
ROTATED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(25) @ Affine.scale(0.5, -0.5)
BY_CLASS = LabelSettings("class")


def make_scene(
    path: Path,
    boxes: np.ndarray = BOXES,
    size: tuple[int, int] = (130, 100),
    crs: str | None = "EPSG:32633",
    transform: Affine | None = STRAIGHT,
    dtype: str = "uint8",
    ground: int = 40,
) -> Path:
    """A raster (width, height), grey noise with a bright rectangle for each box."""
    path.parent.mkdir(exist_ok=True)
    pixels = ground + np.random.default_rng(0).integers(0, 5, (3, size[1], size[0]))
    for x1, y1, x2, y2 in boxes.round().astype(int):
        pixels[:, y1:y2, x1:x2] = 200
    with rasterio.open(
        path, "w", driver="GTiff", width=size[0], height=size[1], count=3, dtype=dtype, crs=crs, transform=transform
    ) as file:
        file.write((pixels * (20 if dtype == "uint16" else 1)).astype(dtype))
    return path


def save_labels(
    path: Path, scene: Path, boxes: np.ndarray = BOXES, crs: str | None = None, names: list[Any] | None = None
) -> Path:
    """Polygons around boxes of a scene's pixels, in ``crs`` or the scene's own; GDAL takes them there, not pyproj."""
    path.parent.mkdir(exist_ok=True)
    rings = corners_px(boxes)
    with rasterio.open(scene) as file:
        x, y = file.transform @ (rings[..., 0].ravel(), rings[..., 1].ravel())
        if crs is not None:
            x, y = rasterio.warp.transform(file.crs, crs, x, y)
        polygons = shapely.polygons(np.stack([x, y], axis=-1).reshape(rings.shape))
        columns = {"class": names or CLASSES[: len(boxes)]}
        geopandas.GeoDataFrame(columns, geometry=polygons, crs=crs or file.crs).to_file(path)
    return path


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
    with pytest.raises(UserError, match=r"points.gpkg: feature 1: no polygon \(a point needs a size in metres\)"):
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
    with pytest.raises(UserError, match="points need a scene whose CRS is known"):
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


def test_bad_labels_stop_it_or_are_listed(tmp_path: Path) -> None:
    scenes, labels = tmp_path / "scenes", tmp_path / "labels"
    make_scene(scenes / "a.tif")
    make_scene(scenes / "lonely.tif")
    save_labels(labels / "a.gpkg", scenes / "a.tif", BOXES + np.array([[0], [900], [0]]), names=["tank", "tank", " "])
    save_labels(labels / "stray.gpkg", scenes / "a.tif")
    with pytest.raises(UserError, match=r"lonely.tif: has no annotation file; mend it, or leave such items out"):
        prepare_labels(scenes, labels, tmp_path / "out", BY_CLASS)
    card = prepare_labels(scenes, labels, tmp_path / "out", LabelSettings("class", skip_bad=True))
    assert [(Path(r["where"]).name, r["why"].replace(str(scenes), "SCENES")) for r in card["refused"]] == [
        ("lonely.tif", "has no annotation file"),
        ("stray.gpkg", "has no image"),
        ("a.gpkg", "feature 3: no class in class"),
        ("a.gpkg", "feature 2: lies outside SCENES/a.tif (130x100 px)"),
    ]
    assert (card["boxes"], card["objects"]) == (1, 1)
    (scenes / "lonely.tif").unlink()
    (labels / "stray.gpkg").unlink()
    with pytest.raises(UserError, match=r"a.gpkg: feature 3: no class in class; mend it, or leave such items out"):
        prepare_labels(scenes, labels, tmp_path / "other", BY_CLASS)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_px": 5000}, "window_px is 5000; it must be 64 to 4096"),
        ({"overlap_px": 2000}, "overlap_px is 2000"),
        ({"point_size_m": -1}, "point_size_m is -1"),
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


def test_the_command(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "a.gpkg", scene)
    assert fsod("data", "labels", scene, labels, tmp_path / "out", "--attribute", "class") == 0
    assert load_folder(tmp_path / "out").class_names == ("ship", "tank")


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
        np.testing.assert_allclose(found, boxes, atol=0.1)
