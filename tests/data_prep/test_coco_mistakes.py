import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.coco import prepare_coco
from fsod.data.coco_folder import load_folder
from fsod.errors import UserError
from tests.data_prep.coco_files import coco, put
from tests.painted import assert_boxes_cover_the_paint, paint, read_or_refused, write


@pytest.mark.parametrize(
    ("kind", "n", "change", "why"),
    [
        ("annotations", 1, {"bbox": [1, 2, 3]}, "annotation 2: bbox is [1, 2, 3], expected x, y, width, height"),
        ("annotations", 1, {"bbox": [1, 2, "3", 4]}, "annotation 2: bbox is"),
        ("annotations", 1, {"bbox": [1, 2, float("nan"), 4]}, "annotation 2: bbox is"),
        ("annotations", 1, {"bbox": [1, 2, True, 4]}, "annotation 2: bbox is"),
        ("annotations", 1, {"bbox": [1, 2, 0, 4]}, "annotation 2: box (1,2),(1,6) has no area"),
        ("annotations", 1, {"bbox": [1, 2, 61, 4]}, "annotation 2: box (1,2),(62,6) lies outside"),
        ("annotations", 1, {"category_id": 4}, "annotation 2: category_id 4 is not among the categories"),
        ("images", 1, {"file_name": "x.jpg"}, "image 285: there is no 'x.jpg'"),
        ("images", 1, {"file_name": "../../elsewhere.jpg"}, "image 285: there is no '../../elsewhere.jpg'"),
        ("images", 1, {"file_name": "a\0b.jpg"}, "image 285: there is no"),
        ("images", 1, {"file_name": "000000000139.jpg"}, "image 285 is image 139 of instances_train2017.json again"),
        ("images", 1, {"id": [285]}, "image [285]: expected an id and a file_name"),
        ("images", 1, {"width": 61}, "image 285: is said to be 61x40 px, but 000000000285.jpg is 60x40"),
        ("categories", 1, {"id": 18}, "category 18: its id is there twice, with two names"),
        ("categories", 1, {"name": None}, "category 3: expected an id and a name that can be printed"),
        ("categories", 1, {"name": "car\x1b[31m"}, "category 3: expected an id and a name that can be printed"),
        ("categories", 1, {"name": "c" * 10**6}, "category 3: expected an id and a name that can be printed"),
        (
            "annotations",
            1,
            {"bbox": None, "segmentation": {"counts": []}},
            "annotation 2: bbox is None, and there is no",
        ),
    ],
)
def test_a_bad_record_is_named_by_its_id(
    source: Path, out: Path, kind: str, n: int, change: dict[str, Any], why: str
) -> None:
    path = source / "annotations" / "instances_train2017.json"
    paint(source.parent / "elsewhere.jpg")
    content = json.loads(path.read_text())
    content[kind][n].update(change)
    put(path, content)
    card = read_or_refused(prepare_coco, source, out)
    assert card is not None
    assert card["refused"][0]["where"] == "annotations/instances_train2017.json"
    assert card["refused"][0]["why"].startswith(why)
    assert "000000000285.jpg" not in [image.path.name for image in load_folder(out).images], "is no empty image"


def test_an_annotation_of_an_image_that_is_not_in_the_set(source: Path, out: Path) -> None:
    path = source / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"].append({**content["annotations"][0], "id": 9, "image_id": 7})
    put(path, content)
    card = read_or_refused(prepare_coco, source, out)
    assert card is not None
    assert [problem["why"] for problem in card["refused"]] == ["annotation 9: image_id 7 is not among the images"]
    assert card["boxes"] == 3


def test_an_annotation_that_may_be_of_any_image_cannot_be_skipped(source: Path, out: Path) -> None:
    path = source / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    nothing: list[Any] = [None, [], {"a": 1}, float("nan"), True]
    for image_id in nothing:
        content["annotations"][1]["image_id"] = image_id
        put(path, content)
        with pytest.raises(UserError, match=r"annotation 2: its image_id is .*, so it may be of any image"):
            prepare_coco(source, out, skip_bad=True)


def test_of_two_images_with_one_id_nobody_knows_whose_the_boxes_are(source: Path, out: Path) -> None:
    path = source / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][1]["id"] = 139
    put(path, content)
    card = read_or_refused(prepare_coco, source, out)
    assert card is not None
    assert [image.id for image in load_folder(out).images] == [632]


@pytest.mark.parametrize("as_written", [str, float, lambda i: f" {i} "])
def test_ids_that_are_written_as_text_or_with_a_fraction(source: Path, out: Path, as_written: Any) -> None:
    path = source / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    for record in (*content["images"], *content["categories"]):
        record["id"] = as_written(record["id"])
    for record in content["annotations"][1:]:  # some programs write only one side so
        record["image_id"], record["category_id"] = as_written(record["image_id"]), as_written(record["category_id"])
    put(path, content)
    assert prepare_coco(source, out)["boxes"] == 3
    assert [i.id for i in load_folder(out).images] == [139, 285, 632]
    assert_boxes_cover_the_paint(load_folder(out))


def test_ids_that_are_no_numbers_are_counted(tmp_path: Path, out: Path) -> None:
    paint(tmp_path / "set" / "images" / "a.png")
    content = coco([(0, "a.png")])
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "a-uuid"
    put(tmp_path / "set" / "result.json", content)
    assert prepare_coco(tmp_path / "set", out)["boxes"] == 1
    assert [i.id for i in load_folder(out).images] == [1]


def test_links_that_lead_out_of_the_data_set(source: Path, out: Path) -> None:
    """As Hugging Face, DVC and git-annex keep files: in the data set is a link to a store elsewhere."""
    image = source / "train2017" / "000000000285.jpg"
    store = source.parent / "store" / "4f3e"
    store.parent.mkdir()
    image.rename(store)
    image.symlink_to(store)
    prepare_coco(source, out)
    assert_boxes_cover_the_paint(load_folder(out))
    store.unlink()
    with pytest.raises(UserError, match=r"000000000285\.jpg: is a link to .*4f3e, which is not there; fetch it first"):
        prepare_coco(source, out.with_name("unfetched"))


def test_a_pointer_of_git_lfs(source: Path, out: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n"
    write(source / "train2017" / "000000000285.jpg", pointer)
    with pytest.raises(UserError, match=r"000000000285\.jpg: is a Git LFS pointer, not an image.*git lfs pull"):
        prepare_coco(source, out)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"images": 1}', "[" * 100_000, "1" * 5000, "\ufeff{}", b"\xff\xfe{"]
)
def test_not_coco(source: Path, out: Path, text: str | bytes) -> None:
    path = write(source / "mine.json", text)
    with pytest.raises(UserError, match=r"mine\.json: no JSON of images, annotations and categories"):
        prepare_coco(path, out, skip_bad=True)
    with pytest.raises(UserError, match="no JSON of images, annotations and categories"):
        prepare_coco(source / "train2017", out)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name"]), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["images", "annotations", "categories"]),
            st.sampled_from(
                [
                    "id",
                    "file_name",
                    "width",
                    "height",
                    "gsd_m",
                    "name",
                    "image_id",
                    "category_id",
                    "bbox",
                    "iscrowd",
                    None,
                ]
            ),
            anything,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_fuzzed_records_are_read_or_refused_by_name(
    source: Path, out: Path, changes: list[tuple[str, str | None, Any]]
) -> None:
    content = coco([(139, "000000000139.jpg"), (285, "000000000285.jpg")])
    for kind, key, value in changes:
        records = content[kind]
        if not isinstance(records, list) or not records:
            continue
        if key is None:
            records[0] = copy.deepcopy(value)
        elif isinstance(records[0], dict):
            records[0][key] = copy.deepcopy(value)
    put(source / "annotations" / "instances_train2017.json", content)
    read_or_refused(prepare_coco, source, out)
