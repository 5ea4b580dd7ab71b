import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from data_prep.tile import tile_folder
from fsod.data.coco_folder import load_folder, read_ids, read_image, write_json
from fsod.data.shots import draw_shots
from fsod.data.splits import images_without
from fsod.errors import UserError
from tests.images_to_cut import NAMES, all_bytes, make_three_images


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return make_three_images(tmp_path / "prepared")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "tiles"


def test_tiles_are_pixels_boxes_and_where_they_come_from(prepared: Path, out: Path) -> None:
    card = tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20)
    tiles = load_folder(out)
    assert tiles.class_names == NAMES
    places = [(x, y) for y in (0, 20) for x in (0, 30, 50)]
    assert [i.path.name for i in tiles.images] == [*(f"a_{x}_{y}.png" for x, y in places), "b_0_0.png", "c_0_0.png"]
    originals = {i.path.stem: read_image(i) for i in load_folder(prepared).images}
    records = json.loads((out / "annotations.json").read_text())["images"]
    for tile, entry in zip(tiles.images, records, strict=True):
        x, y, width, height = entry["tile_xywh_px"]
        assert (width, height) == (tile.width_px, tile.height_px)
        np.testing.assert_array_equal(read_image(tile), originals[tile.source][y : y + height, x : x + width])
        assert tile.gsd_m == {"a": 0.5, "b": 1.0, "c": 1.5}[tile.source]

    first = tiles.select(["a_0_0"]).images[0]
    np.testing.assert_array_equal(first.boxes_xyxy_px, [[5, 5, 15, 15], [38, 2, 42, 6], [10, 44, 20, 50]])
    np.testing.assert_array_equal(first.class_ids, [0, 1, 1])
    np.testing.assert_array_equal(first.source_box_ids, [7, 8, 10])
    np.testing.assert_array_equal(first.cut_boxes_xyxy_px, [[48, 30, 50, 38]])
    np.testing.assert_array_equal(first.cut_class_ids, [0])
    second = tiles.select(["a_30_0"]).images[0]
    np.testing.assert_array_equal(second.boxes_xyxy_px, [[8, 2, 12, 6], [18, 30, 26, 38]])
    np.testing.assert_array_equal(second.source_box_ids, [8, 9])

    assert card["images_cut"] == 3
    assert card["images"] == 8
    assert card["boxes"] == len(tiles.box_location)
    assert card["classes"]["bridge"] == {"boxes": 5, "images": 4}
    assert card["cut_boxes"] == sum(len(i.cut_class_ids) for i in tiles.images)
    assert card["objects_in_no_tile"] == []
    assert json.loads((out / "card.json").read_text()) == card


def test_lists_select_the_tiles_of_the_same_originals(prepared: Path, out: Path) -> None:
    tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20)
    tiles = load_folder(out)
    assert read_ids(out / "splits" / "train.txt") == ["a", "c"]
    assert read_ids(out / "splits" / "test.txt") == ["b"]
    train, test = (tiles.select(read_ids(out / "splits" / f"{name}.txt")) for name in ("train", "test"))
    assert {i.source for i in train.images} == {"a", "c"}
    assert {i.source for i in test.images} == {"b"}
    assert len(train.images) + len(test.images) == len(tiles.images)


def test_tiles_of_tiles_stay_on_the_side_of_their_original(prepared: Path, tmp_path: Path) -> None:
    tile_folder(load_folder(prepared), tmp_path / "once", window_px=50, overlap_px=20)
    tile_folder(load_folder(tmp_path / "once"), tmp_path / "twice", window_px=30, overlap_px=10)
    tiles = load_folder(tmp_path / "twice")
    train, test = (tiles.select(read_ids(tmp_path / "twice" / "splits" / f"{n}.txt")) for n in ("train", "test"))
    assert {i.source for i in train.images} == {"a", "c"}
    assert {i.source for i in test.images} == {"b"}
    assert {i.id for i in train.images} | {i.id for i in test.images} == {i.id for i in tiles.images}
    # what the first cut left of an object is still told of
    assert (tiles.select(["a_0_0_20_20"]).images[0].cut_boxes_xyxy_px == [28, 10, 30, 18]).all(axis=1).any()


def test_a_list_of_a_part_of_an_original_is_refused(prepared: Path, tmp_path: Path) -> None:
    tile_folder(load_folder(prepared), tmp_path / "once", window_px=50, overlap_px=20)
    once = load_folder(tmp_path / "once")
    of_a = [image.path.stem for image in once.images if image.source == "a"]
    (once.root / "splits" / "test.txt").write_text(f"{of_a[0]}\nb\n")
    with pytest.raises(
        UserError, match=rf"test\.txt: names 1 of the {len(of_a)} images cut from a, .* name the original"
    ):
        tile_folder(once, tmp_path / "twice", window_px=30, overlap_px=10)


def test_an_original_number_selects_no_tile(prepared: Path, out: Path) -> None:
    tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20, ids=["b"])
    tiles = load_folder(out)
    for number in ("1", "2", "3"):
        with pytest.raises(UserError, match="no image with id"):
            tiles.select([number])


def test_what_an_edge_cut_off_is_seen_by_those_who_avoid_a_class(prepared: Path, out: Path) -> None:
    tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20)
    tiles = load_folder(out)
    shown = [i.path.stem for i in images_without(tiles, ["ship"]).images]
    # a_0_20 shows a quarter of the third ship and no box of one
    assert not (tiles.select(["a_0_20"]).images[0].class_ids == 0).any()
    assert shown == ["b_0_0", "c_0_0"]


def test_an_object_in_the_overlap_is_one_shot(prepared: Path, out: Path) -> None:
    tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20)
    tiles = load_folder(out)
    assert sum(int((i.class_ids == 1).sum()) for i in tiles.images) == 5
    shots = draw_shots(tiles, ["bridge"], 3, 0)
    objects = {int(i.source_box_ids[at]) for i, at in map(tiles.box_location.__getitem__, shots.box_ids["bridge"])}
    assert objects == {8, 10, 11}
    with pytest.raises(UserError, match="only 3"):
        draw_shots(tiles, ["bridge"], 4, 0)


def test_an_object_larger_than_any_tile_is_reported(prepared: Path, out: Path) -> None:
    card = tile_folder(load_folder(prepared), out, window_px=10, overlap_px=4, ids=["b"], min_kept_area=0.6)
    assert card["objects_in_no_tile"] == [11]
    assert card["boxes"] == 0
    assert card["cut_boxes"] == 3


def test_only_the_images_asked_for_are_cut(prepared: Path, out: Path) -> None:
    card = tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20, ids=["a"])
    assert {i.source for i in load_folder(out).images} == {"a"}
    assert card["lists"] == {"test": {"listed": 1, "written": 0}, "train": {"listed": 2, "written": 1}}
    assert [p.name for p in (out / "splits").iterdir()] == ["train.txt"]


def test_empty_tiles_are_left_out_by_share(prepared: Path, tmp_path: Path) -> None:
    folder = load_folder(prepared)
    kept = {}
    for share in (0.0, 0.5, 1.0):
        card = tile_folder(folder, tmp_path / str(share), window_px=10, overlap_px=0, keep_empty=share)
        kept[share] = {i.path.stem for i in load_folder(tmp_path / str(share)).images}
        assert len(kept[share]) + card["empty_tiles_left_out"] == 97
        assert card["boxes"] == 6  # two objects in two halves each, two in one tile, one in quarters and so in none
    assert kept[0.0] < kept[0.5] < kept[1.0]
    assert 0.35 < len(kept[0.5] - kept[0.0]) / len(kept[1.0] - kept[0.0]) < 0.65


def test_jpeg_tiles_are_nearly_the_same_pixels(tmp_path: Path, out: Path) -> None:
    root = tmp_path / "prepared"
    (root / "images").mkdir(parents=True)
    ramp = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    Image.fromarray(np.dstack([ramp, ramp, 255 - ramp])).save(root / "images" / "a.png")
    coco: dict[str, Any] = {"images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}]}
    write_json(root / "annotations.json", coco | {"categories": [], "annotations": []})
    tile_folder(load_folder(root), out, window_px=32, overlap_px=4, image_format="jpg")
    tile = load_folder(out).select(["a_28_8"]).images[0]
    assert tile.path.suffix == ".jpg"
    assert np.abs(read_image(tile).astype(int)[..., 0] - ramp[8:40, 28:60]).max() <= 4


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bands", [1, 3])
def test_16_bit_images_are_refused_not_cut_off(prepared: Path, out: Path, suffix: str, bands: int) -> None:
    cv2.imwrite(str(prepared / "images" / f"c.{suffix}"), np.full((50, 50, bands), 3000, np.uint16))
    coco = json.loads((prepared / "annotations.json").read_text())
    coco["images"][2]["file_name"] = f"c.{suffix}"
    write_json(prepared / "annotations.json", coco)
    with pytest.raises(UserError, match=rf"c\.{suffix}: is not an 8-bit image"):
        tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20)


def test_the_second_run_does_nothing_and_other_settings_are_refused(
    prepared: Path, out: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    card = tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20)
    before = all_bytes(out)
    capfd.readouterr()
    assert tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20) == card
    assert "nothing to do" in capfd.readouterr().err
    with pytest.raises(UserError, match="with other settings; remove it"):
        tile_folder(load_folder(prepared), out, window_px=50, overlap_px=10)
    with pytest.raises(UserError, match="not a folder made by fsod"):
        tile_folder(load_folder(prepared), prepared, window_px=50, overlap_px=20)
    assert all_bytes(out) == before
    tile_folder(load_folder(prepared), tmp_path / "again", window_px=50, overlap_px=20)
    assert all_bytes(tmp_path / "again") == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-500]), r"a\.png: not a readable image"),
        (lambda p: p.unlink(), r"a\.png: no such image"),
        (lambda p: shutil.copy(p.with_name("c.png"), p), r"a\.png: is 50x50 px, but"),
    ],
)
def test_a_bad_image_leaves_nothing_behind(
    prepared: Path, out: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(prepared / "images" / "a.png")
    with pytest.raises(UserError, match=message):
        tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20)
    assert sorted(p.name for p in out.parent.iterdir()) == ["prepared"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_px": 0, "overlap_px": 0}, "window_px is 0"),
        ({"window_px": 50, "overlap_px": 50}, "overlap_px is 50"),
        ({"window_px": 50, "overlap_px": -1}, "overlap_px is -1"),
        ({"window_px": 50, "overlap_px": 0, "min_kept_area": 0.0}, "min_kept_area is 0"),
        ({"window_px": 50, "overlap_px": 0, "min_kept_area": 1.5}, "min_kept_area is 1.5"),
        ({"window_px": 50, "overlap_px": 0, "keep_empty": 2.0}, "keep_empty is 2"),
        (
            {"window_px": 50, "overlap_px": 0, "image_format": "gif"},
            "image_format is 'gif'; it must be one of png, jpg",
        ),
        ({"window_px": 50, "overlap_px": 0, "ids": ["d"]}, "no image with id 'd'"),
    ],
)
def test_bad_settings(prepared: Path, out: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tile_folder(load_folder(prepared), out, **settings)
    assert not out.exists()


def test_two_images_of_one_name_are_refused(prepared: Path, out: Path) -> None:
    coco = json.loads((prepared / "annotations.json").read_text())
    coco["images"][2] |= {"file_name": "a.jpg"}
    write_json(prepared / "annotations.json", coco)
    with pytest.raises(UserError, match="2 images are named 'a'"):
        tile_folder(load_folder(prepared), out, window_px=50, overlap_px=20)


def test_difficult_objects_and_crowds_stay_what_they_are(tmp_path: Path) -> None:
    root = make_three_images(tmp_path / "prepared")
    content = json.loads((root / "annotations.json").read_text())
    content["annotations"][0]["difficult"] = 1  # at 5,5 of image a, 10 px wide
    crowd = {"id": 90, "image_id": 1, "category_id": 2, "bbox": [40, 0, 20, 8], "iscrowd": 1}
    content["annotations"].append(crowd)  # on two tiles of 50 px, half on each
    write_json(root / "annotations.json", content)
    first = load_folder(root).images[0]
    assert (len(first.boxes_xyxy_px), first.difficult.tolist()) == (4, [True, False, False, False])
    assert first.crowd_boxes_xyxy_px.tolist() == [[40, 0, 60, 8]]
    card = tile_folder(load_folder(root), tmp_path / "tiles", window_px=50, overlap_px=0)
    tiles = {image.path.stem: image for image in load_folder(tmp_path / "tiles").images}
    assert tiles["a_0_0"].difficult.tolist()[0]
    assert tiles["a_0_0"].crowd_boxes_xyxy_px.tolist() == [[40, 0, 50, 8]]
    assert tiles["a_50_0"].crowd_boxes_xyxy_px.tolist() == [[0, 0, 10, 8]]
    assert not any(image.difficult.any() for stem, image in tiles.items() if stem != "a_0_0")
    assert card["boxes"] == sum(len(image.boxes_xyxy_px) for image in tiles.values()), "crowds are no boxes"
    without = images_without(load_folder(tmp_path / "tiles"), [load_folder(root).class_names[1]])
    assert "a_50_0" not in [image.path.stem for image in without.images], "a crowd shows the class"
