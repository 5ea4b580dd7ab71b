import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.dota import prepare_dota
from fsod.data.coco_folder import load_folder, read_ids
from fsod.errors import UserError
from tests.painted import BOTTOM, LEFT, RIGHT, TOP, assert_boxes_cover_the_paint, paint, read_or_refused, write

UPRIGHT = f"{LEFT} {TOP} {RIGHT} {TOP} {RIGHT} {BOTTOM} {LEFT} {BOTTOM}"
ASKEW = "30.0 5.0 40.0 15.0 30.0 25.0 20.0 15.0"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """As the archives unpack: labels of one version in a folder within, their axis-aligned copies beside; a bare test."""
    root = tmp_path / "DOTA"
    for part, stem in (("train", "P0000"), ("train", "P0001"), ("val", "P0003"), ("test", "P0006")):
        paint(root / part / "images" / f"{stem}.png")
    (root / "val" / "images" / "part1").mkdir()
    (root / "val" / "images" / "P0003.png").rename(root / "val" / "images" / "part1" / "P0003.png")
    for part in ("train", "val"):
        write(root / part / "labelTxt-v1.5" / f"DOTA-v1.5_{part}_hbb" / "P0000.txt", "not to be read")
    labels = root / "train" / "labelTxt-v1.5" / "DOTA-v1.5_train"
    write(labels / "P0000.txt", f"imagesource:GoogleEarth\r\ngsd:0.146343590398\r\n{UPRIGHT} plane 0\r\n")
    write(labels / "P0001.txt", f"imagesource:GoogleEarth\ngsd:null\n{UPRIGHT} container-crane 1")
    write(root / "val" / "labelTxt-v1.5" / "DOTA-v1.5_val" / "P0003.txt", f"{UPRIGHT} plane 2\n")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "dota"


def test_round_trip(source: Path, out: Path) -> None:
    card = prepare_dota(source, out)
    folder = load_folder(out)
    assert folder.class_names == ("container-crane", "plane")
    assert [(i.path.name, i.gsd_m) for i in folder.images] == [
        ("P0000.png", 0.146343590398),
        ("P0001.png", None),
        ("P0003.png", None),
    ]
    assert_boxes_cover_the_paint(folder)
    assert (card["boxes"], card["boxes_difficult"], card["boxes_clipped"], card["refused"]) == (3, 2, 0, [])
    assert card["unlabelled_images_left_out"] == {"test": 1}
    assert "axis-aligned hulls" in card["boxes_are"]
    assert read_ids(out / "splits" / "train.txt") == ["P0000", "P0001"]
    assert read_ids(out / "splits" / "val.txt") == ["P0003"]
    assert not (out / "splits" / "test.txt").exists()


def test_a_single_part(source: Path, out: Path) -> None:
    one = source.parent / "mine"
    shutil.move(source / "train", one)
    card = prepare_dota(one, out)
    assert (card["images"], card["lists"]) == (2, {"images_in_no_list": 2})


def test_an_oriented_box_becomes_its_hull_and_is_clipped_to_the_image(source: Path, out: Path) -> None:
    labels = source / "val" / "labelTxt-v1.5" / "DOTA-v1.5_val" / "P0003.txt"
    write(labels, f"{ASKEW} plane 0\n-6 20 8 12 14 22 0 30 plane 0\n")
    card = prepare_dota(source, out)
    assert load_folder(out).images[2].boxes_xyxy_px.tolist() == [[20, 5, 40, 25], [0, 12, 14, 30]]
    assert card["boxes_clipped"] == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1 1 9 1 9 9 1 plane 0", "malformed line"),
        ("1 1 9 1 9 9 1 9", "malformed line"),
        ("1 1 9 1 9 9 1 9 large vehicle 0", "malformed line"),
        ("1 1 9 1 9 9 1 nan plane 0", "malformed line"),
        ("1 1 9 1 5 1 7 1 plane 0", "has no area"),
        ("70 1 90 1 90 9 70 9 plane 0", "lies outside its image of 60x40 px"),
        ("gsd:about a metre", "GSD is 'about a metre', expected metres or null"),
    ],
)
def test_a_bad_line_names_file_and_line(source: Path, out: Path, line: str, why: str) -> None:
    write(
        source / "val" / "labelTxt-v1.5" / "DOTA-v1.5_val" / "P0003.txt", f"imagesource:x\n\n{line}\n{UPRIGHT} plane\n"
    )
    card = read_or_refused(prepare_dota, source, out)
    assert card is not None
    where = "val/labelTxt-v1.5/DOTA-v1.5_val/P0003.txt:3"
    assert [(r["where"], why in r["why"]) for r in card["refused"]] == [(where, True)]
    assert [image.path.stem for image in load_folder(out).images] == ["P0000", "P0001"], "P0003 has another object"


def test_a_class_in_another_encoding_loses_no_letter_in_silence(tmp_path: Path, out: Path) -> None:
    paint(tmp_path / "set" / "images" / "a.png")
    label = tmp_path / "set" / "labelTxt" / "a.txt"
    label.parent.mkdir()
    label.write_bytes("1 1 9 1 9 9 1 9 bâteau 0\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"a\.txt:1: class 'b.teau' has letters that are not in UTF-8; save the file"):
        prepare_dota(tmp_path / "set", out)


@pytest.mark.parametrize(("said", "read"), [(" 0", False), (" 1", True), (" 2", True), ("", False), (" x", None)])
def test_difficult_is_what_the_data_sets_own_script_takes_for_it(
    tmp_path: Path, out: Path, said: str, read: bool | None
) -> None:
    paint(tmp_path / "set" / "images" / "a.png")
    corners = f"{LEFT} {TOP} {RIGHT} {TOP} {RIGHT} {BOTTOM} {LEFT} {BOTTOM}"
    write(tmp_path / "set" / "labelTxt" / "a.txt", f"{corners} ship{said}\n")
    if read is None:
        with pytest.raises(UserError, match=r"a\.txt:1: difficult is 'x', expected 0 or 1"):
            prepare_dota(tmp_path / "set", out)
    else:
        prepare_dota(tmp_path / "set", out)
        assert load_folder(out).images[0].difficult.tolist() == [read]


def test_labels_in_a_folder_labels(source: Path, out: Path) -> None:
    for part in ("train", "val"):
        labels = source / part / "labelTxt-v1.5"
        shutil.move(labels / f"DOTA-v1.5_{part}", source / part / "labels")
        shutil.rmtree(labels)
    assert prepare_dota(source, out)["boxes"] == 3
    assert_boxes_cover_the_paint(load_folder(out))


@pytest.mark.parametrize("original", ["", "_original"])
def test_as_ultralytics_lays_it_out(source: Path, out: Path, original: str) -> None:
    root = source.parent / "DOTAv1"
    for part in ("train", "val"):
        shutil.move(source / part / "images", root / "images" / part)
        shutil.move(source / part / "labelTxt-v1.5" / f"DOTA-v1.5_{part}", root / "labels" / f"{part}{original}")
        if original:
            write(root / "labels" / part / "P0000.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n")
    shutil.move(source / "test" / "images", root / "images" / "test")
    card = prepare_dota(root, out)
    assert (card["boxes"], card["unlabelled_images_left_out"]) == (3, {"test": 1})
    assert_boxes_cover_the_paint(load_folder(out))
    assert read_ids(out / "splits" / "val.txt") == ["P0003"]


def test_labels_in_the_form_of_yolo_are_recognised(source: Path, out: Path) -> None:
    labels = source / "val" / "labelTxt-v1.5" / "DOTA-v1.5_val" / "P0003.txt"
    write(labels, "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n")
    with pytest.raises(UserError, match=r"P0003\.txt:1: is in the form of YOLO .*; prepare it as format yolo"):
        prepare_dota(source, out)


def test_what_does_not_fit_together(source: Path, out: Path) -> None:
    with pytest.raises(UserError, match=r"not DOTA, there is no 'train/images'"):
        prepare_dota(source.parent, out)
    labels = source / "train" / "labelTxt-v1.5" / "DOTA-v1.5_train"
    (labels / "P0001.txt").unlink()
    with pytest.raises(UserError, match=r"P0001\.png: has no annotation file"):
        prepare_dota(source, out)
    shutil.copytree(labels, source / "train" / "labelTxt-v1.0")
    with pytest.raises(UserError, match="labels of several versions"):
        prepare_dota(source, out)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text("0123456789.-+e plane\ngsd:", max_size=80).map(str.encode))
def test_fuzzed_labels_are_read_or_refused_by_name(source: Path, out: Path, text: bytes) -> None:
    write(source / "train" / "labelTxt-v1.5" / "DOTA-v1.5_train" / "P0000.txt", text)
    card = read_or_refused(prepare_dota, source, out)
    assert card is not None
    assert card["images"] == (3 if not card["refused"] else 2)
