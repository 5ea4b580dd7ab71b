import json
import os
from pathlib import Path

import pytest

from data_prep.coco import prepare_coco
from fsod.data.coco_folder import load_folder, read_ids
from fsod.errors import UserError
from tests.data_prep.coco_files import coco, put
from tests.painted import BOTTOM, LEFT, RIGHT, TOP, assert_boxes_cover_the_paint, paint


def test_round_trip(source: Path, out: Path) -> None:
    card = prepare_coco(source, out)
    folder = load_folder(out)
    assert folder.class_names == ("car", "ship")
    assert [(i.id, i.path.name) for i in folder.images] == [
        (139, "000000000139.jpg"),
        (285, "000000000285.jpg"),
        (632, "000000000632.jpg"),
    ]
    assert [folder.class_names[i.class_ids[0]] for i in folder.images] == ["ship", "car", "ship"]
    assert_boxes_cover_the_paint(folder)
    assert (card["boxes"], card["crowds"], card["refused"]) == (3, 1, [])
    crowd = folder.images[0]
    assert crowd.crowd_boxes_xyxy_px.tolist() == [[LEFT, TOP, RIGHT, BOTTOM]]
    assert [folder.class_names[i] for i in crowd.crowd_class_ids] == ["ship"]
    assert card["classes"]["ship"] == {"boxes": 2, "images": 2}, "a crowd is no object"
    assert read_ids(out / "splits" / "train2017.txt") == ["000000000139", "000000000285"]
    assert read_ids(out / "splits" / "val2017.txt") == ["000000000632"]


def test_one_file(source: Path, out: Path) -> None:
    card = prepare_coco(source / "annotations" / "instances_val2017.json", out)
    assert (card["images"], card["boxes"], card["lists"]) == (1, 1, {"images_in_no_list": 1})


def test_roboflows_export_starts_its_ids_anew_in_every_file(tmp_path: Path, out: Path) -> None:
    root = tmp_path / "export"
    for split in ("train", "valid"):
        paint(root / split / "a.jpg")
        put(root / split / "_annotations.coco.json", coco([(0, "a.jpg")]))
    prepare_coco(root, out)
    folder = load_folder(out)
    assert [(i.id, i.path.name) for i in folder.images] == [(1, "train__a.jpg"), (2, "valid__a.jpg")]
    assert_boxes_cover_the_paint(folder)
    assert read_ids(out / "splits" / "valid.txt") == ["valid__a"]


def test_a_prepared_folder_read_again_is_the_same(source: Path, out: Path) -> None:
    prepare_coco(source, out)
    again = out.with_name("again")
    prepare_coco(out, again)
    first, second = load_folder(out), load_folder(again)
    assert second.class_names == first.class_names
    for a, b in zip(first.images, second.images, strict=True):
        assert (a.id, a.path.name, a.class_ids.tolist()) == (b.id, b.path.name, b.class_ids.tolist())
        assert a.boxes_xyxy_px.tolist() == b.boxes_xyxy_px.tolist()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("images\\a b.png", "images/a b.png"),
        ("a%20b.png", "images/a b.png"),
        ("a b.png", "data/a b.png"),
        ("C:\\Users\\x\\images\\a b.png", "images/a b.png"),
        ("/data/upload/1/a b.png", "images/a b.png"),
        ("../project/images/a b.png", "images/a b.png"),
        ("100%.png", "images/100%.png"),
    ],
)
def test_names_as_other_programs_write_them(tmp_path: Path, out: Path, name: str, place: str) -> None:
    paint(tmp_path / "set" / place)
    put(tmp_path / "set" / "labels.json", coco([(7, name)]))
    prepare_coco(tmp_path / "set", out)
    assert_boxes_cover_the_paint(load_folder(out))


def test_a_name_with_folders_is_not_taken_for_another_image_of_that_name(tmp_path: Path, out: Path) -> None:
    paint(tmp_path / "set" / "test" / "a.png")
    paint(tmp_path / "set" / "a.png")
    put(tmp_path / "set" / "labels.json", coco([(7, "train/a.png")]))
    with pytest.raises(UserError, match=r"there is no 'train/a\.png'"):
        prepare_coco(tmp_path / "set", out)


@pytest.mark.parametrize("bbox", [None, [], "missing"])
def test_a_polygon_without_a_box(source: Path, out: Path, bbox: object) -> None:
    path = source / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    outline = [[LEFT, TOP, RIGHT, TOP, RIGHT, 20], [LEFT, 20, RIGHT, 20, RIGHT, BOTTOM]]
    content["annotations"][0] |= {"bbox": bbox, "segmentation": outline}
    if bbox == "missing":
        del content["annotations"][0]["bbox"]
    put(path, content)
    prepare_coco(source, out)
    assert_boxes_cover_the_paint(load_folder(out))


@pytest.mark.parametrize(
    ("key", "mark", "kind"),
    [
        ("iscrowd", True, "crowd"),
        ("iscrowd", "1", "crowd"),
        ("iscrowd", 1.0, "crowd"),
        ("iscrowd", False, "object"),
        ("iscrowd", None, "object"),
        ("ignore", 1, "difficult"),
        ("difficult", "true", "difficult"),
        ("difficult", 0, "object"),
        ("iscrowd", "many", None),
        ("ignore", [1], None),
    ],
)
def test_crowds_and_what_is_difficult_however_it_is_written(
    tmp_path: Path, out: Path, key: str, mark: object, kind: str | None
) -> None:
    paint(tmp_path / "set" / "a.png")
    content = coco([(7, "a.png")])
    content["annotations"][0][key] = mark
    put(tmp_path / "set" / "labels.json", content)
    if kind is None:
        with pytest.raises(UserError, match=rf"annotation \d+: {key} is .*, expected 0 or 1"):
            prepare_coco(tmp_path / "set", out)
        return
    prepare_coco(tmp_path / "set", out)
    (image,) = load_folder(out).images
    crowds, objects, difficult = len(image.crowd_class_ids), len(image.class_ids), int(image.difficult.sum())
    assert (crowds, objects, difficult) == {"crowd": (1, 0, 0), "object": (0, 1, 0), "difficult": (0, 1, 1)}[kind]
    prepare_coco(out, out.with_name("again"))
    assert load_folder(out.with_name("again")).images[0].difficult.tolist() == image.difficult.tolist()


def test_roboflows_project_is_no_class(tmp_path: Path, out: Path) -> None:
    paint(tmp_path / "set" / "train" / "a.png")
    content = coco([(0, "a.png")])
    project = {"id": 0, "name": "ship", "supercategory": "none"}
    content["categories"] = [project, {"id": 18, "name": "ship", "supercategory": "ship"}]
    path = put(tmp_path / "set" / "train" / "_annotations.coco.json", content)
    assert prepare_coco(tmp_path / "set", out)["classes"] == {"ship": {"boxes": 1, "images": 1}}
    content["categories"] = [
        {**project, "name": "harbour-9Xb"},
        {**content["categories"][1], "supercategory": "harbour-9Xb"},
    ]
    put(path, content)
    assert list(prepare_coco(tmp_path / "set", out.with_name("again"))["classes"]) == ["ship"]
    content["annotations"][0]["category_id"] = 0
    put(path, content)
    assert list(prepare_coco(tmp_path / "set", out.with_name("used"))["classes"]) == ["harbour-9Xb", "ship"]


SHARED = Path(os.environ.get("FSOD_SHARED", "../shared")) / "data" / "cases" / "roboflow_coco"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs cases/roboflow_coco of the shared data")
def test_an_export_whose_project_is_called_like_its_class(out: Path) -> None:
    card = prepare_coco(SHARED, out)
    assert (card["images"], card["images_without_boxes"], card["refused"]) == (9, 0, [])
    assert list(card["classes"]) == ["ship"]


def test_sizes_left_out_and_boxes_a_little_outside(source: Path, out: Path) -> None:
    path = source / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    del content["images"][0]["width"]
    content["annotations"][0]["bbox"] = [-0.4, 0, 60.6, 40]
    put(path, content)
    card = prepare_coco(source, out)
    assert load_folder(out).images[2].boxes_xyxy_px.tolist() == [[0, 0, 60, 40]]
    assert card["boxes_clipped"] == 1
