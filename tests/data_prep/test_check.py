import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from data_prep.check import check_folder
from data_prep.check_report import write_report
from data_prep.findings import KINDS
from data_prep.fix import LOG, write_fixed
from fsod.cli.commands import app
from fsod.data.coco_folder import load_folder, read_ids, read_image, write_json
from fsod.errors import UserError
from tests.data_prep.test_overlap import drawn_ground
from tests.made_folder import make_folder

Coco = dict[str, list[dict[str, Any]]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_folder(tmp_path / "made")
    return tmp_path / "made"


def change(root: Path, edit: Callable[[Coco], object]) -> None:
    coco = json.loads((root / "annotations.json").read_text())
    edit(coco)
    write_json(root / "annotations.json", coco)


def line_of(root: Path, where: str) -> str:
    """The file's lines from the one named, as far as one entry goes."""
    file, line = where.split(":")
    return " ".join(text.strip() for text in (root / file).read_text().splitlines()[int(line) - 1 :][:12])


def test_a_sound_folder_has_no_findings(root: Path) -> None:
    check = check_folder(root)
    assert check.findings == []
    summary = check.summary()
    assert summary["problems"] == {}
    assert summary["classes"]["disc"] == {"boxes": 16, "images": 8}
    assert (summary["images"], summary["boxes"]) == (8, 48)


def edit_bbox(i: int, bbox: list[Any]) -> Callable[[Coco], object]:
    return lambda coco: coco["annotations"][i].update(bbox=bbox)


def add_box(**keys: Any) -> Callable[[Coco], object]:
    return lambda coco: coco["annotations"].append({**coco["annotations"][0], "id": 900, **keys})


PLANTED: list[tuple[str, Callable[[Coco], object], str]] = [
    ("no_area", edit_bbox(4, [10, 10, 0, 5]), "annotation 5 "),
    ("no_area", edit_bbox(4, [10, 10, -3, 5]), "annotation 5 "),
    ("out_of_bounds", edit_bbox(4, [120, 10, 20, 20]), "annotation 5 "),
    ("out_of_bounds", edit_bbox(4, [-0.5, 10, 20, 20]), "annotation 5 "),
    ("out_of_bounds", edit_bbox(4, [300, 10, 20, 20]), "annotation 5 "),
    ("malformed", edit_bbox(4, [10, 10, 5]), "annotations[4]: bbox"),
    ("malformed", edit_bbox(4, [10, 10, 5, float("nan")]), "annotations[4]: bbox"),
    ("malformed", lambda coco: coco["annotations"][4].update(image_id="1"), "annotations[4]: image_id"),
    ("malformed", lambda coco: coco["images"].append({"id": 99}), "images[8]: file_name"),
    ("malformed", lambda coco: coco["images"][2].update(file_name="../out.png"), "images[2]: file_name"),
    ("unknown_class", lambda coco: coco["annotations"][4].update(category_id=7), "annotation 5: category 7"),
    ("unknown_image", lambda coco: coco["annotations"][4].update(image_id=77), "annotation 5: there is no image 77"),
    ("doubled_box", add_box(), "annotation 900 (square) lies on annotation 1 "),
    ("two_classes", add_box(category_id=2), "annotation 900 (disc) lies on annotation 1 (square)"),
    ("repeated_id", lambda coco: coco["annotations"][4].update(id=1), "annotations[4]: id 1"),
    ("repeated_id", lambda coco: coco["categories"][2].update(name="disc"), "categories[2]: name 'disc'"),
    ("wrong_size", lambda coco: coco["images"][2].update(width=130), "image 3: "),
    ("unreadable_image", lambda coco: coco["images"][2].update(file_name="gone.png"), "images/gone.png: no such image"),
]


@pytest.mark.parametrize(("kind", "edit", "what"), PLANTED)
def test_what_is_planted_is_found_and_fixed(
    root: Path, kind: str, edit: Callable[[Coco], object], what: str, tmp_path: Path
) -> None:
    change(root, edit)
    check = check_folder(root)
    finding = next(finding for finding in check.findings if finding.kind == kind)
    assert what in finding.what
    assert finding.where.startswith("annotations.json:")
    assert '"id"' in line_of(root, finding.where)
    write_fixed(check, tmp_path / "fixed")
    left = [finding for finding in check_folder(tmp_path / "fixed").findings if finding.change is not None]
    assert left == [], "what can be decided is right in the copy"
    if kind not in ("two_classes", "wrong_size", "repeated_id"):
        assert check_folder(tmp_path / "fixed").findings == []
        folder = load_folder(tmp_path / "fixed")
        for image in folder.images:
            read_image(image)


def test_the_line_is_the_entrys_own(root: Path) -> None:
    change(root, edit_bbox(17, [10, 10, 0, 5]))
    (finding,) = check_folder(root).findings
    assert line_of(root, finding.where).startswith('{ "id": 18,')
    text = json.dumps(json.loads((root / "annotations.json").read_text()))
    (root / "annotations.json").write_text(text.replace('}, {"id": 18', '},\n{"id": 18').replace('"bbox"', '\n"bbox"'))
    (finding,) = check_folder(root).findings
    assert line_of(root, finding.where).startswith('{"id": 18,')


def test_every_change_is_in_the_log_and_nothing_else_changes(root: Path, tmp_path: Path) -> None:
    change(root, edit_bbox(4, [120, 10, 20, 20]))
    change(root, add_box())
    (root / "images" / "003.png").write_bytes((root / "images" / "003.png").read_bytes()[:4000])
    before = json.loads((root / "annotations.json").read_text())
    fixed = tmp_path / "fixed"
    card = write_fixed(check_folder(root), fixed)
    log = [json.loads(line) for line in (fixed / LOG).read_text().splitlines()]
    assert card["changes"] == len(log) == 1 + 1 + 1 + 6 + 1, (
        "clipped, doubled, the image, its boxes, its line on a list"
    )
    clipped = next(line for line in log if line["kind"] == "out_of_bounds")
    assert (clipped["before"]["bbox"], clipped["after"]["bbox"]) == ([120, 10, 20, 20], [120, 10, 8, 20])
    assert all(line["after"] is None for line in log if line is not clipped)
    # what the log says and what differs are the same
    after = json.loads((fixed / "annotations.json").read_text())
    for section in ("images", "annotations", "categories"):
        expected = list(before[section])
        for line in log:
            if line["before"] in expected:
                at = expected.index(line["before"])
                expected[at : at + 1] = [] if line["after"] is None else [line["after"]]
        assert after[section] == expected
    assert read_ids(fixed / "splits" / "train.txt") == ["001", "002", "004"]
    assert not (fixed / "images" / "003.png").exists()
    assert (fixed / "images" / "004.png").read_bytes() == (root / "images" / "004.png").read_bytes()
    assert write_fixed(check_folder(root), fixed) == card, "the second time nothing is done"
    assert json.loads((root / "annotations.json").read_text()) == before


def test_lists_are_checked(root: Path, tmp_path: Path) -> None:
    (root / "splits" / "train.txt").write_text("# ours\n001\n\nnone\n003\n")
    (root / "splits" / "empty.txt").write_text("\n")
    check = check_folder(root)
    assert [(f.kind, f.where) for f in check.findings] == [
        ("bad_list", "splits/empty.txt"),
        ("bad_list", "splits/train.txt:4"),
    ]
    write_fixed(check, tmp_path / "fixed")
    assert read_ids(tmp_path / "fixed" / "splits" / "train.txt") == ["001", "003"]
    assert check_folder(tmp_path / "fixed").findings == []
    places = [json.loads(line)["where"] for line in (tmp_path / "fixed" / LOG).read_text().splitlines()]
    assert sorted(places) == ["splits/empty.txt", "splits/train.txt:4"]


def plant_overlap(root: Path) -> None:
    """001 (train) and 007 (test) become a picture and a turned, shifted crop of it; 005 (test) and 006 (test) equal."""
    ground = drawn_ground(0, 128)
    Image.fromarray(ground).save(root / "images" / "001.png")
    turned = cv2.warpAffine(ground, np.array([[0.0, -1, 118], [1, 0, 6]]), (128, 128))
    Image.fromarray(np.asarray(turned, np.uint8)).save(root / "images" / "007.png")
    (root / "images" / "006.png").write_bytes((root / "images" / "005.png").read_bytes())


def test_overlaps_duplicates_and_leaks_are_reported_and_stay(root: Path, tmp_path: Path) -> None:
    plant_overlap(root)
    check = check_folder(root)
    assert check.groups == [["001", "007"], ["005", "006"]]
    assert check.summary()["overlap_groups"] == check.groups
    found = {(finding.kind, finding.where, finding.what) for finding in check.findings if finding.kind != "overlap"}
    lines = {entry.value["id"]: entry.where for entry in check.entries["images"]}
    assert found == {
        ("duplicate_image", lines[5], "the same pixels: 005.png, 006.png"),
        ("leakage", "splits/test.txt:3", "007 here, 001 on splits/train.txt (line 1)"),
    }
    card = write_fixed(check, tmp_path / "fixed")
    assert card["changes"] == 0
    assert card["findings_left"] == {"duplicate_image": 1, "leakage": 1, "overlap": 2}


def test_an_image_on_two_lists_leaks_but_a_list_of_lists_does_not(root: Path) -> None:
    (root / "splits" / "all.txt").write_text("".join(f"{i:03d}\n" for i in range(1, 9)))
    (root / "splits" / "trainval.txt").write_text((root / "splits" / "train.txt").read_text())
    (root / "splits" / "train_some.txt").write_text("002\n")
    assert check_folder(root).findings == []
    for name in ("trainval", "train_some"):
        (root / "splits" / f"{name}.txt").unlink()
    with (root / "splits" / "test.txt").open("a") as file:
        file.write("002\n")
    (finding,) = check_folder(root).findings
    assert (finding.kind, finding.where) == ("leakage", "splits/test.txt:5")
    assert finding.what == "002 here, 002 on splits/train.txt (line 2)"


def test_a_test_list_within_the_training_list_leaks(root: Path) -> None:
    (root / "splits" / "train.txt").write_text("".join(f"{i:03d}\n" for i in range(1, 9)))
    assert {(finding.kind, finding.where) for finding in check_folder(root).findings} == {
        ("leakage", f"splits/test.txt:{line}") for line in range(1, 5)
    }


def test_tiles_of_one_original_on_two_lists_leak(root: Path) -> None:
    change(root, lambda coco: [image.update(source="scene") for image in coco["images"] if image["id"] in (2, 6)])
    kinds = [finding.kind for finding in check_folder(root).findings]
    assert kinds == ["leakage"]


def test_what_only_loading_refuses_is_said(root: Path) -> None:
    change(root, lambda coco: coco["images"][0].update(cut_boxes_xywh_px=[[1, 2, 3]]))
    (finding,) = check_folder(root).findings
    assert finding.kind == "does_not_load"


def test_the_report_says_it_all(root: Path, tmp_path: Path) -> None:
    plant_overlap(root)
    change(root, edit_bbox(4, [10, 10, 0, 5]))
    change(root, lambda coco: coco["categories"][0].update(name="a|b/../c"))
    path = write_report(check_folder(root), tmp_path / "report")
    text = path.read_text()
    for kind in ("no_area", "leakage", "overlap", "duplicate_image"):
        assert f"### {kind}\n" in text
        assert kind in KINDS
    assert "annotation 5 (disc) of 001.png" in text
    assert "a\\|b/../c" in text
    for name in ("box_sizes.png", "overlaps.png", "class_01_a_b_c.png", "class_02_disc.png"):
        assert f"]({name})" in text
        with Image.open(path.parent / name) as picture:
            assert min(picture.size) > 200
            assert len(np.unique(np.asarray(picture))) > 20, "not blank"


def test_a_crowd_is_no_box_in_the_report_either(root: Path, tmp_path: Path) -> None:
    change(root, lambda coco: [box.update(iscrowd=1) for box in coco["annotations"] if box["category_id"] == 2])
    check = check_folder(root)
    summary, text = check.summary(), write_report(check, tmp_path / "report").read_text()
    assert summary["boxes"] == sum(of_class["boxes"] for of_class in summary["classes"].values()) == 32
    assert "8 images, 32 boxes and 3 classes are usable" in text
    assert "### disc" not in text, "a picture of many for one object"


def test_a_folder_without_boxes_has_a_report(root: Path, tmp_path: Path) -> None:
    change(root, lambda coco: coco["annotations"].clear())
    assert "0 boxes" in write_report(check_folder(root), tmp_path / "report").read_text()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"images": []}', '{"images": {}, "annotations": [], "categories": []}']
)
def test_a_file_in_no_form_is_an_error_of_one_line(root: Path, text: str) -> None:
    (root / "annotations.json").write_text(text)
    with pytest.raises(UserError, match=r"annotations\.json") as caught:
        check_folder(root)
    assert "\n" not in str(caught.value)


def test_the_command(root: Path, tmp_path: Path) -> None:
    change(root, edit_bbox(4, [10, 10, 0, 5]))
    json_file, fixed = tmp_path / "check.json", tmp_path / "fixed"
    result = CliRunner().invoke(app, ["data", "check", str(root), "--json", str(json_file), "--fix", str(fixed)])
    assert result.exit_code == 0, result.output
    assert "problems: {'no_area': 1}" in result.output
    assert (root / "check" / "report.md").is_file()
    summary = json.loads(json_file.read_text())
    assert summary["problems"] == {"no_area": 1}
    assert (summary["fixed"], summary["findings_left"]) == (str(fixed), {})
    assert summary["classes"]["disc"] == {"boxes": 15, "images": 8}
    assert [finding["where"] for finding in summary["findings"]] == [check_folder(root).findings[0].where]
    assert len(load_folder(fixed).box_location) == 47


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a prepared folder"):
        check_folder(tmp_path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images, as they are read again and again."""
    return make_folder(tmp_path_factory.mktemp("few") / "made", images=2).root


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_value_gives_a_traceback_and_the_copy_loads(few: Path, tmp_path_factory: Any, data: st.DataObject) -> None:
    make_annotations = json.loads((few / "annotations.json").read_text())
    section = data.draw(st.sampled_from(["images", "annotations", "categories"]))
    entry = data.draw(st.sampled_from(make_annotations[section]))
    entry[data.draw(st.sampled_from([*entry, "gsd_m", "source"]))] = data.draw(ANYTHING)
    folder = tmp_path_factory.mktemp("fuzzed")
    for part in ("images", "splits"):
        (folder / part).symlink_to(few / part)
    (folder / "annotations.json").write_text(json.dumps(make_annotations))
    check = check_folder(folder)
    if all(finding.change is not None for finding in check.findings):
        write_fixed(check, folder / "fixed")
        load_folder(folder / "fixed")
