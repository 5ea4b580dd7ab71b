import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.coco import prepare_coco
from fsod.data.coco_folder import load_folder, read_ids
from fsod.errors import UserError
from tests.painted import BOTTOM, LEFT, RIGHT, TOP, assert_boxes_cover_the_paint, paint, read_or_refused, write

BBOX = [LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP]  # COCO counts from 0: x and y are the edge of the first pixel inside


def coco(images: list[tuple[int, str]], first_annotation: int = 1) -> dict[str, Any]:
    """One painted box an image, of category 18, then 3, ..., with the gaps in the ids that COCO has."""
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [{"id": i, "file_name": name, "width": 60, "height": 40} for i, name in images],
        "categories": [{"id": 18, "name": "ship", "supercategory": "x"}, {"id": 3, "name": "car"}],
        "annotations": [
            {
                "id": first_annotation + n,
                "image_id": i,
                "category_id": (18, 3)[n % 2],
                "bbox": BBOX,
                "area": 320.5,
                "iscrowd": 0,
                "segmentation": [[1, 1, 2, 2, 3, 3]],
            }
            for n, (i, _) in enumerate(images)
        ],
    }


def put(path: Path, content: object) -> Path:
    return write(path, json.dumps(content))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    for name in ("train2017/000000000139.jpg", "train2017/000000000285.jpg", "val2017/000000000632.jpg"):
        paint(root / name)
    train = coco([(139, "000000000139.jpg"), (285, "000000000285.jpg")])
    train["annotations"].append({**train["annotations"][0], "id": 900100, "iscrowd": 1, "segmentation": {"counts": []}})
    put(root / "annotations" / "instances_train2017.json", train)
    put(root / "annotations" / "instances_val2017.json", coco([(632, "000000000632.jpg")], 7))
    put(root / "annotations" / "captions_val2017.json", {"images": [], "annotations": [], "info": {}})
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "coco"


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


def test_sizes_left_out_and_boxes_a_little_outside(source: Path, out: Path) -> None:
    path = source / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    del content["images"][0]["width"]
    content["annotations"][0]["bbox"] = [-0.4, 0, 60.6, 40]
    put(path, content)
    card = prepare_coco(source, out)
    assert load_folder(out).images[2].boxes_xyxy_px.tolist() == [[0, 0, 60, 40]]
    assert card["boxes_clipped"] == 1


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
