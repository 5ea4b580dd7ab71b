import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import yaml

from data_prep import synthetic
from data_prep.scene_spec import SceneSpec
from data_prep.synthetic import draw_image, load_spec, make_scenes, plan_images
from fsod.data.coco_folder import load_folder, read_ids, read_image, read_rgb
from fsod.data.splits import images_without
from fsod.errors import UserError

DEMO = Path(synthetic.__file__).parent / "scenes" / "demo.yaml"

SMALL = {
    "seed": 7,
    "train_images": 4,
    "test_images": 2,
    "image_px": 128,
    "scene_px": 288,
    "gsd_m": 0.8,
    "crs": "EPSG:32633",
    "origin_m": [400000.0, 5300000.0],
    "classes": ["aircraft", "storage_tank", "vehicle"],
    "novel": ["aircraft"],
    "novel_image_share": 0.5,
    "distractors": ["helipad"],
    "objects_per_image": [4, 6],
    "clutter_per_image": [1, 2],
}


def _spec(**changes: object) -> SceneSpec:
    return SceneSpec.model_validate({**SMALL, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("synthetic") / "small"
    return out, make_scenes(_spec(), out)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_loads(made: tuple[Path, dict[str, Any]]) -> None:
    out, card = made
    folder = load_folder(out)
    assert folder.class_names == ("aircraft", "storage_tank", "vehicle")
    assert {part: len(read_ids(out / "splits" / f"{part}.txt")) for part in ("train", "test", "scene")} == {
        "train": 4,
        "test": 2,
        "scene": 1,
    }
    for part in ("train", "test", "scene"):
        selected = folder.select(read_ids(out / "splits" / f"{part}.txt"))
        counts = np.bincount(np.concatenate([image.class_ids for image in selected.images]), minlength=3)
        assert card["boxes"][part] == dict(zip(folder.class_names, counts.tolist(), strict=True))
    for image in folder.images:
        assert read_image(image).shape == (image.height_px, image.width_px, 3)
        assert image.gsd_m == 0.8
        assert image.source == image.path.stem
    assert json.loads((out / "card.json").read_text()) == card


def test_pillow_and_rasterio_read_the_same_pixels(made: tuple[Path, dict[str, Any]]) -> None:
    out, _ = made
    for path in sorted((out / "images").iterdir()):
        with rasterio.open(path) as file:
            assert file.profile["compress"] == "deflate"
            assert file.profile["interleave"] == "pixel"
            assert file.block_shapes == [(256, 256)] * 3
            assert [band.name for band in file.colorinterp] == ["red", "green", "blue"]
            pixels = np.moveaxis(file.read(), 0, 2)
        assert pixels.std() > 5
        assert (read_rgb(path) == pixels).all()


def test_scenes_lie_on_the_map_without_overlap(made: tuple[Path, dict[str, Any]]) -> None:
    out, _ = made
    covered = []
    for path in sorted((out / "images").iterdir()):
        with rasterio.open(path) as file:
            assert file.crs.to_epsg() == 32633
            assert file.res == (0.8, 0.8)
            assert file.transform.b == file.transform.d == 0
            covered.append(file.bounds)
    corners = {(box.left, box.top) for box in covered}
    assert (400000.0, 5300000.0) in corners
    for i, one in enumerate(covered):
        for other in covered[i + 1 :]:
            apart_x = one.right <= other.left or other.right <= one.left
            apart_y = one.top <= other.bottom or other.top <= one.bottom
            assert apart_x or apart_y


def test_the_truth_lies_where_the_boxes_are(made: tuple[Path, dict[str, Any]]) -> None:
    out, card = made
    truth = json.loads((out / "scene_000.geojson").read_text())
    image = load_folder(out).select(["scene_000"]).images[0]
    assert len(truth["features"]) == len(image.boxes_xyxy_px) == sum(card["boxes"]["scene"].values()) > 5
    with rasterio.open(image.path) as file:
        left, top = file.bounds.left, file.bounds.top
    to_utm = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:32633", always_xy=True)
    for feature, box, class_id in zip(truth["features"], image.boxes_xyxy_px, image.class_ids, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        east, north = to_utm.transform(*ring.T)
        pixels = np.stack([(east - left) / 0.8, (top - north) / 0.8], 1)
        assert [*pixels.min(0), *pixels.max(0)] == pytest.approx(box.tolist(), abs=0.01)
        assert feature["properties"]["class"] == load_folder(out).class_names[class_id]


def test_the_same_seed_gives_the_same_bytes(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = made
    make_scenes(_spec(), tmp_path / "again")
    assert _files(tmp_path / "again") == _files(out)


def test_another_seed_gives_other_pictures(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = made
    make_scenes(_spec(seed=8), tmp_path / "other")
    other, first = _files(tmp_path / "other"), _files(out)
    assert other.keys() == first.keys()
    assert all(other[name] != first[name] for name in first if name.startswith("images"))
    assert other["annotations.json"] != first["annotations.json"]


def test_base_training_has_images_that_show_nothing_novel(made: tuple[Path, dict[str, Any]]) -> None:
    out, _ = made
    folder = load_folder(out)
    train = folder.select(read_ids(out / "splits" / "train.txt"))
    assert len(images_without(train, ("aircraft",)).images) == 2
    assert sum(0 in image.class_ids for image in train.images) == 2


def test_a_finished_folder_is_left_alone(made: tuple[Path, dict[str, Any]]) -> None:
    out, card = made
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert make_scenes(_spec(), out) == card
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_folder_of_another_specification_is_refused(made: tuple[Path, dict[str, Any]]) -> None:
    out, _ = made
    before = _files(out)
    with pytest.raises(UserError, match="other settings; remove it"):
        make_scenes(_spec(seed=8), out)
    assert _files(out) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not a folder made by fsod"):
        make_scenes(_spec(), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_run_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "_write_truth", break_off)
    with pytest.raises(KeyboardInterrupt):
        make_scenes(_spec(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    make_scenes(_spec(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_classes_are_kept_in_balance(tmp_path: Path) -> None:
    card = make_scenes(_spec(train_images=12, objects_per_image=(6, 8), novel_image_share=1.0), tmp_path / "out")
    counts = list(card["boxes"]["train"].values())
    assert max(counts) - min(counts) <= 16


def test_the_demo_is_as_frozen_as_it_says() -> None:
    # the demo's figures mean something only while its scenes stay the same; raise DRAWING if they have to change
    spec = load_spec(DEMO)
    assert spec.fingerprint == "111f96c9dcc639f0e44343a6684ff2ccfa4b1c4bfe03a6199eaf4c80685e5116"
    first = next(iter(plan_images(spec)))
    drawn = draw_image(spec, first, np.random.default_rng([spec.seed, 0]), np.zeros(len(spec.classes)))
    names = [spec.classes[i] for i in drawn.class_ids]
    assert names == ["harbor"] * 2 + ["ship"] * 3 + ["solar_array"] * 3 + ["vehicle"] * 5
    assert drawn.boxes_xyxy_px[:3].tolist() == [[333, 66, 379, 138], [14, 141, 65, 222], [103, 116, 122, 193]]
    assert drawn.image.mean((0, 1)) == pytest.approx([92.70, 92.01, 94.07], abs=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sead": 1}, "sead: .*did you mean 'seed'"),
        ({"seed": -1}, "seed: "),
        ({"classes": ["aircraft", "storage_tnk"]}, "classes: .*did you mean 'storage_tank'"),
        ({"classes": ["aircraft", "aircraft"]}, "classes: .*named twice"),
        ({"novel": ["ship"]}, "novel class 'ship' is not among the classes"),
        ({"distractors": ["vehicle"]}, "'vehicle' is a class and a distractor"),
        ({"objects_per_image": [6, 4]}, "objects_per_image: .*lower number"),
        ({"crs": "EPSG:4326"}, "crs: .*not a projected coordinate system in metres"),
        ({"crs": "EPSG:nonsense"}, "crs: .*not a coordinate system"),
        ({"gsd_m": 0}, "gsd_m: "),
    ],
)
def test_a_wrong_specification_is_one_clear_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "scenes.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **change}))
    with pytest.raises(UserError, match=message) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["seed: [1", "just words", ""])
def test_what_is_no_specification_is_one_clear_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scenes.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"scenes\.yaml") as caught:
        load_spec(path)
    assert "\n" not in str(caught.value)


def test_a_missing_specification_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such specification"):
        load_spec(tmp_path / "nowhere.yaml")
