import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.yolo import prepare_yolo
from fsod.data.coco_folder import load_folder, read_ids
from fsod.errors import UserError
from tests.painted import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    assert_boxes_cover_the_paint,
    paint,
    read_or_refused,
    write,
)


def row(class_number: int, left: float, top: float, right: float, bottom: float) -> str:
    """A line as Ultralytics' converters write it: centre and size as shares, six decimals."""
    shares = ((left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT)
    return f"{class_number} " + " ".join(f"{share:.6f}" for share in shares)


PAINTED_ROW = row(1, LEFT, TOP, RIGHT, BOTTOM)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ultralytics' layout: the same name in both splits, an image without and one with an empty label file."""
    root = tmp_path / "ships"
    for way in ("train/a", "train/b", "train/deep/c", "val/a", "val/d"):
        shown = way.endswith("a")
        paint(root / "images" / f"{way}.png", [(LEFT, TOP, RIGHT, BOTTOM)] if shown else [])
        if shown:
            write(root / "labels" / f"{way}.txt", f"{PAINTED_ROW}\r\n")
    write(root / "labels" / "train" / "b.txt", "\n")
    write(root / "labels" / "train" / "classes.txt", "boat\nship\n")
    write(
        root / "data.yaml", "path: ../datasets/ships\ntrain: images/train\nval: images/val\nnames: {0: boat, 1: ship}\n"
    )
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "yolo"


def test_round_trip(source: Path, out: Path) -> None:
    card = prepare_yolo(source, out)
    folder = load_folder(out)
    assert folder.class_names == ("boat", "ship")
    names = ["images__train__a.png", "b.png", "c.png", "images__val__a.png", "d.png"]
    assert [i.path.name for i in folder.images] == names
    assert [len(i.class_ids) for i in folder.images] == [1, 0, 0, 1, 0]
    assert_boxes_cover_the_paint(folder)
    assert (card["images_without_boxes"], card["boxes_clipped"], card["refused"]) == (3, 0, [])
    assert read_ids(out / "splits" / "train.txt") == ["images__train__a", "b", "c"]
    assert read_ids(out / "splits" / "val.txt") == ["images__val__a", "d"]


def test_roboflows_layout_and_its_wrong_way_out(source: Path, out: Path) -> None:
    root = source.parent / "export"
    for split, name in (("train", "train"), ("val", "valid")):
        shutil.move(source / "images" / split, root / name / "images")
        shutil.move(source / "labels" / split, root / name / "labels")
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ''\nnc: 2\nnames: ['boat', 'ship']\n"
    write(root / "data.yaml", yaml)
    card = prepare_yolo(root / "data.yaml", out)
    assert (card["images"], card["boxes"]) == (5, 2)
    assert_boxes_cover_the_paint(load_folder(out))
    assert read_ids(out / "splits" / "val.txt") == ["valid__images__a", "d"]


@pytest.mark.parametrize("ending", [".TXT", ".Txt"])
def test_a_label_file_whose_ending_is_in_capitals_is_read(source: Path, out: Path, ending: str) -> None:
    label = source / "labels" / "val" / "a.txt"
    label.rename(label.with_suffix(ending))
    card = prepare_yolo(source, out)
    assert (card["boxes"], card["images_without_boxes"]) == (2, 3), "its ship counted as background"


def test_a_label_that_has_not_been_fetched_is_no_empty_one(source: Path, out: Path) -> None:
    label = source / "labels" / "val" / "a.txt"
    label.unlink()
    label.symlink_to(source / "not_there")
    with pytest.raises(UserError, match=r"labels/val/a\.txt: cannot be read"):
        prepare_yolo(source, out)


def test_a_list_of_images(source: Path, out: Path) -> None:
    write(source / "train.txt", f"./images/train/a.png\n{source / 'images/val/d.png'}\n")
    write(source / "data.yaml", "train: [train.txt, images/train/deep]\nnames: [boat, ship]\n")
    prepare_yolo(source, out)
    assert sorted(read_ids(out / "splits" / "train.txt")) == ["a", "c", "d"]
    write(source / "train.txt", "images/train/a.png\n\nimages/train/x.png\n../outside.png\n")
    paint(source.parent / "outside.png")
    card = read_or_refused(prepare_yolo, source, out.with_name("again"))
    assert card is not None
    assert [r["where"] for r in card["refused"]] == ["train.txt:3", "train.txt:4"]


def test_outlines_and_oriented_boxes_become_their_hull(source: Path, out: Path) -> None:
    write(source / "labels" / "val" / "d.txt", "0 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n0 0.1 0.1 0.2 0.1 0.2 0.2\n")
    prepare_yolo(source, out)
    boxes = load_folder(out).images[4].boxes_xyxy_px
    np.testing.assert_allclose(boxes, [[15, 10, 45, 30], [6, 4, 12, 8]])


def test_rounding_beyond_the_image_is_clipped_and_more_is_counted(source: Path, out: Path) -> None:
    write(source / "labels" / "val" / "d.txt", "0 0.500004 0.5 1.0 1.0\n0 0.51 0.5 1.0 1.0\n")
    card = prepare_yolo(source, out)
    assert load_folder(out).images[4].boxes_xyxy_px[:, 2:].tolist() == [[60, 40], [60, 40]]
    assert card["boxes_clipped"] == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0.5 0.5 0.1", "malformed line"),
        ("0 0.5 0.5 0.1 0.1 0.9", "malformed line"),
        ("0 0.5 0.5 nan 0.1", "malformed line"),
        ("0.5 0.5 0.5 0.1 0.1", "malformed line"),
        ("-1 0.5 0.5 0.1 0.1", "malformed line"),
        ("2 0.5 0.5 0.1 0.1", "unknown class number 2, expected 0 to 1"),
        ("0 0.5 0.5 0 0.1", "has no area"),
        ("0 0.5 0.5 -0.1 0.1", "has no area"),
        ("0 30 20 10 10", "lies outside its image of 60x40 px"),
    ],
)
def test_a_bad_line_names_file_and_line(source: Path, out: Path, line: str, why: str) -> None:
    write(source / "labels" / "val" / "d.txt", f"{row(0, 1, 1, 9, 9)}\n\n{line}\n")
    card = read_or_refused(prepare_yolo, source, out)
    assert card is not None
    assert [(r["where"], why in r["why"]) for r in card["refused"]] == [("labels/val/d.txt:3", True)]
    assert "d.png" not in [image.path.name for image in load_folder(out).images], "its other box is no all of it"
    assert card["boxes"] == 2


def test_class_numbers_with_gaps_are_named_one_by_one(source: Path, out: Path) -> None:
    write(source / "data.yaml", "train: images/train\nval: images/val\nnames: {0: boat, 1: ship, 5: buoy}\n")
    write(source / "labels" / "train" / "b.txt", row(3, LEFT, TOP, RIGHT, BOTTOM))
    with pytest.raises(UserError, match=r"b\.txt:1: unknown class number 3, expected 0, 1, 5;"):
        prepare_yolo(source, out)


def test_class_numbers_with_a_fraction_of_zero(source: Path, out: Path) -> None:
    for part in ("train", "val"):
        write(source / "labels" / part / "a.txt", PAINTED_ROW.replace("1 ", "1.0 ", 1))
    card = prepare_yolo(source, out)
    assert card["classes"] == {"boat": {"boxes": 0, "images": 0}, "ship": {"boxes": 2, "images": 2}}
    assert_boxes_cover_the_paint(load_folder(out))


@pytest.mark.parametrize(
    "yaml",
    [
        "path: C:\\data\\ships\ntrain: images\\train\nval: images\\val\n",
        "train: ..\\images\\train\nval: ..\\images\\val\n",
        "train: /content/drive/My Drive/ships/images/train\nval: /content/drive/My Drive/ships/images/val\n",
        "train: D:\\ships\\images\\train\nval: D:\\ships\\images\\val\n",
        "path: /root/ships\ntrain: /root/ships/images/train\nval: images/val\n",
    ],
)
def test_paths_of_another_machine(source: Path, out: Path, yaml: str) -> None:
    write(source / "data.yaml", f"{yaml}names: [boat, ship]\n")
    prepare_yolo(source, out)
    assert_boxes_cover_the_paint(load_folder(out))
    assert read_ids(out / "splits" / "train.txt") == ["images__train__a", "b", "c"]
    assert read_ids(out / "splits" / "val.txt") == ["images__val__a", "d"]


def test_two_paths_that_end_alike_are_not_taken_for_one_folder(source: Path, out: Path) -> None:
    """Else the images would be on both lists, training and validation."""
    write(source / "data.yaml", "train: /x/train/images\nval: /x/valid/images\nnames: [boat, ship]\n")
    with pytest.raises(UserError, match=r"train and val: '/x/train/images' and '/x/valid/images' both lead to"):
        prepare_yolo(source, out)


def test_label_studios_export_has_no_data_yaml(source: Path, out: Path) -> None:
    root = source.parent / "project-1"
    paint(root / "images" / "a.png")
    write(root / "labels" / "a.txt", PAINTED_ROW)
    write(root / "classes.txt", "boat\nship\n")
    write(root / "notes.json", "{}")
    card = prepare_yolo(root, out)
    assert (card["boxes"], card["lists"]) == (1, {"images_in_no_list": 1})
    assert list(card["classes"]) == ["boat", "ship"]
    assert_boxes_cover_the_paint(load_folder(out))


def test_class_names_in_another_encoding_lose_no_letter_in_silence(source: Path, out: Path) -> None:
    root = source.parent / "project-1"
    paint(root / "images" / "a.png")
    write(root / "labels" / "a.txt", PAINTED_ROW)
    (root / "classes.txt").write_bytes("boat\nbâteau\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"classes\.txt:2: 'b.teau' has letters that are not in UTF-8; save the file"):
        prepare_yolo(root, out)


def test_labelimg_puts_labels_beside_their_images(source: Path, out: Path) -> None:
    root = source.parent / "labelled"
    paint(root / "a.png")
    write(root / "a.txt", PAINTED_ROW)
    write(root / "classes.txt", "boat\nship\n")
    assert prepare_yolo(root, out)["boxes"] == 1
    assert_boxes_cover_the_paint(load_folder(out))


@pytest.mark.parametrize("settings", ["data.yaml", "obj.names"])
def test_cvats_lists_have_data_before_each_path(source: Path, out: Path, settings: str) -> None:
    root = source.parent / "cvat"
    for part, stem in (("train", "a"), ("valid", "b")):
        paint(root / f"obj_{part}_data" / f"{stem}.png")
        write(root / f"obj_{part}_data" / f"{stem}.txt", PAINTED_ROW)
        write(root / f"{part}.txt", f"data/obj_{part}_data/{stem}.png\n")
    if settings == "data.yaml":
        write(root / "data.yaml", "train: train.txt\nval: valid.txt\nnames: {0: boat, 1: ship}\n")
    else:
        write(root / "obj.names", "boat\nship\n")
        write(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    assert prepare_yolo(root, out)["boxes"] == 2
    assert_boxes_cover_the_paint(load_folder(out))
    assert (read_ids(out / "splits" / "train.txt"), read_ids(out / "splits" / "val.txt")) == (["a"], ["b"])


def test_folders_and_files_that_are_links(source: Path, out: Path) -> None:
    (source.parent / "store").mkdir()
    for way in ("images/train/deep", "labels/train/a.txt", "images/val/d.png"):
        moved = source.parent / "store" / Path(way).name
        shutil.move(source / way, moved)
        (source / way).symlink_to(moved)
    (source / "images" / "train" / "round").symlink_to(source / "images" / "train")
    assert prepare_yolo(source, out)["boxes"] == 2
    assert_boxes_cover_the_paint(load_folder(out))
    assert sorted(read_ids(out / "splits" / "train.txt")) == ["b", "c", "images__train__a"]


@pytest.mark.parametrize(
    ("yaml", "why"),
    [
        ("train: images/train", "names: expected a list of class names"),
        ("train: images/train\nnames: {a: b}", "names: expected a list of class names"),
        ("train: images/train\nnames: [a, a]", "a class name is there twice"),
        ("train: images/train\nnames: [a, b]\nnc: 3", "nc is not 2, the number of names"),
        ("train: images/train\nnames: [a, no]", "put quotes around those that YAML reads as yes or no"),
        ("train: images/train\nnames: [&a [b, b], [*a, *a]]", "names: each must be a text"),
        ("train: images/train\nnames: [boat, 2024-99-99]", "not valid YAML: month must be in 1..12"),
        ('train: images/train\nnames: [boat, "a\\e[31m"]', "is too long or not printable"),
        (f"train: images/train\nnames: [boat, {'c' * 10**6}]", "is too long or not printable"),
        ("train: [[a]]\nnames: [a, b]", r"train: there is no \['a'\]"),
        ("names: [a, b]", "names no train, val or test images"),
        ("train: images/training\nnames: [a, b]", "train: there is no 'images/training'"),
        ("train: /etc\nnames: [a, b]", "train: there is no '/etc'"),
        ('train: "a\\0b"\nnames: [a, b]', "train: there is no"),
        ("train: [", "not valid YAML"),
        ("- a", "expected keys and values"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("train: images/train\nnames: [a, b]\nkpt_shape: [17, 3]", "key points, which fsod does not read"),
    ],
)
def test_a_bad_data_yaml(source: Path, out: Path, yaml: str, why: str) -> None:
    write(source / "data.yaml", yaml)
    with pytest.raises(UserError, match=why) as caught:
        prepare_yolo(source, out, skip_bad=True)
    assert str(caught.value).startswith(str(source / "data.yaml"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: (s / "images" / "val" / "a.png").unlink(), "a.txt: has no image"),
        (lambda s: paint(s / "images" / "val" / "a.jpg"), "a.png: has the name of"),
    ],
)
def test_what_does_not_fit_together(source: Path, out: Path, change: Callable[[Path], object], why: str) -> None:
    change(source)
    card = read_or_refused(prepare_yolo, source, out)
    assert card is not None
    assert any(why in f"{r['where']}: {r['why']}" for r in card["refused"])


def test_no_label_at_all_is_no_set_of_empty_images(source: Path, out: Path) -> None:
    shutil.rmtree(source / "labels")
    with pytest.raises(UserError, match=r"labels/train/a\.txt: no such file, and no other image has labels either"):
        prepare_yolo(source, out)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.binary(max_size=60) | st.text("01. -e\n", max_size=60).map(str.encode),
    yaml=st.just(b"train: images/train\nval: images/val\nnames: [boat, ship]\n")
    | st.text("train:mges/[]{}0, \n'", max_size=40).map(lambda text: f"val: images/val\n{text}".encode())
    | st.binary(max_size=40),
)
def test_fuzzed_files_are_read_or_refused_by_name(source: Path, out: Path, labels: bytes, yaml: bytes) -> None:
    write(source / "labels" / "val" / "d.txt", labels)
    write(source / "data.yaml", yaml)
    read_or_refused(prepare_yolo, source, out)
