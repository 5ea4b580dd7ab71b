import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fsod.data.coco_folder import ANNOTATIONS, ImageRecord, load_folder, read_ids, read_image, read_rgb, write_json
from fsod.errors import UserError

Read = TypeVar("Read")
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def coco_example() -> dict[str, Any]:
    """Two originals and two tiles of a third; categories neither contiguous nor in the order of their ids."""
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 40, "height": 30, "gsd_m": 0.5},
            {"id": 3, "file_name": "a.png", "width": 20, "height": 20},
            {
                "id": 11,
                "file_name": "c_0_0.png",
                "width": 16,
                "height": 16,
                "source": "c",
                "cut_boxes_xywh_px": [[12, 0, 4, 5, 9]],
            },
            {"id": 12, "file_name": "c_16_0.png", "width": 16, "height": 16, "source": "c"},
        ],
        "categories": [{"id": 9, "name": "storage tank"}, {"id": 2, "name": "ship"}],
        "annotations": [
            {"id": 100, "image_id": 7, "category_id": 9, "bbox": [1, 2, 10, 20]},
            {"id": 101, "image_id": 7, "category_id": 2, "bbox": [0, 0, 40, 30]},
            {"id": 102, "image_id": 12, "category_id": 9, "bbox": [0.5, 0.25, 3, 4], "source_id": 5},
        ],
    }


def or_message(read: Callable[[Path], Read], path: Path) -> Read | str:
    """What was read, or the message of the UserError; any other exception fails the test."""
    try:
        return read(path)
    except UserError as error:
        return str(error)


def write(root: Path, coco: object) -> Path:
    root.mkdir(exist_ok=True)
    (root / ANNOTATIONS).write_text(json.dumps(coco), encoding="utf-8")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "folder", coco_example())


def test_images_and_boxes_are_what_the_file_says(root: Path) -> None:
    folder = load_folder(root)
    assert folder.class_names == ("ship", "storage tank")
    assert [image.id for image in folder.images] == [3, 7, 11, 12]
    empty, image, cut, tile = folder.images
    assert image.path == root / "images" / "b.png"
    assert (image.width_px, image.height_px, image.gsd_m, image.source) == (40, 30, 0.5, "b")
    np.testing.assert_array_equal(image.boxes_xyxy_px, [[1, 2, 11, 22], [0, 0, 40, 30]])
    np.testing.assert_array_equal(image.class_ids, [1, 0])
    np.testing.assert_array_equal(image.box_ids, [100, 101])
    np.testing.assert_array_equal(image.source_box_ids, [100, 101])
    assert empty.boxes_xyxy_px.shape == (0, 4)
    assert empty.gsd_m is None
    np.testing.assert_array_equal(cut.cut_boxes_xyxy_px, [[12, 0, 16, 5]])
    np.testing.assert_array_equal(cut.cut_class_ids, [1])
    assert tile.source == "c"
    np.testing.assert_array_equal(tile.source_box_ids, [5])
    np.testing.assert_array_equal(tile.boxes_xyxy_px, [[0.5, 0.25, 3.5, 4.25]])


def test_box_location_finds_every_box(root: Path) -> None:
    folder = load_folder(root)
    assert sorted(folder.box_location) == [100, 101, 102]
    for box_id, (image, i) in folder.box_location.items():
        assert image.box_ids[i] == box_id


def test_hash_follows_the_annotations(root: Path) -> None:
    before = load_folder(root).sha256
    assert load_folder(root).sha256 == before
    coco = coco_example()
    coco["annotations"][0]["bbox"][0] = 2
    assert load_folder(write(root, coco)).sha256 != before


@pytest.mark.parametrize(
    ("ids", "chosen"),
    [
        (["a"], [3]),  # a stem
        (["c"], [11, 12]),  # an original: its tiles
        (["c_16_0"], [12]),  # one tile
        (["7"], [7]),  # a COCO id
        (["b", "c", "7", "a"], [3, 7, 11, 12]),  # sorted, each once
    ],
)
def test_select_by_stem_source_and_id(root: Path, ids: list[str], chosen: list[int]) -> None:
    assert [image.id for image in load_folder(root).select(ids).images] == chosen


def test_a_stem_comes_before_a_number(root: Path) -> None:
    coco = coco_example()
    coco["images"][1]["file_name"] = "7.png"
    assert [image.id for image in load_folder(write(root, coco)).select(["7"]).images] == [3]


def test_selection_of_an_unknown_id_names_a_near_one(root: Path) -> None:
    with pytest.raises(UserError, match=r"no image with id 'c_16_1' \(did you mean 'c_16_0'\?\)"):
        load_folder(root).select(["a", "c_16_1"])


def test_selection_keeps_hash_and_classes_but_forgets_other_boxes(root: Path) -> None:
    folder = load_folder(root)
    selection = folder.select(["c"])
    assert (selection.sha256, selection.class_names) == (folder.sha256, folder.class_names)
    assert sorted(folder.box_location) == [100, 101, 102]  # the cached property of the whole is not shared
    assert sorted(selection.box_location) == [102]


def test_unknown_class_names_the_nearest(root: Path) -> None:
    folder = load_folder(root)
    assert folder.class_indices(["storage tank", "ship"]) == [1, 0]
    with pytest.raises(UserError, match=r"no class 'storage tnk' \(did you mean 'storage tank'\?\)"):
        folder.class_indices(["storage tnk"])


def changed(path: str, value: object) -> dict[str, Any]:
    """The example with one value replaced, "images.0.width" for instance."""
    coco = coco_example()
    node: Any = coco
    *keys, last = [int(k) if k.isdigit() else k for k in path.split(".")]
    for key in keys:
        node = node[key]
    node[last] = value
    return coco


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("annotations.0.bbox", [1, 2, 0, 5], "annotation 100 has no area"),
        ("annotations.0.bbox", [1, 2, 5, -1], "annotation 100 has no area"),
        ("annotations.0.bbox", [1, float("nan"), 5, 5], "annotation 100 has no area"),
        ("annotations.0.bbox", [1, 2, float("inf"), 5], "annotation 100 has no area"),
        ("annotations.0.bbox", [35, 2, 10, 5], r"annotation 100 lies outside its image b.png \(40x30 px\)"),
        ("annotations.0.bbox", [-5, 2, 10, 5], "annotation 100 lies outside"),
        ("annotations.0.bbox", [1, 2, 3], "not a COCO annotation file"),
        ("annotations.0.bbox", "none", "not a COCO annotation file"),
        ("annotations.0.category_id", 5, "annotation 100 has category 5, which is not declared"),
        ("annotations.0.image_id", 99, "boxes for image id 99"),
        ("annotations", None, "not a COCO annotation file"),
        ("images", {}, "boxes for image id 7"),
        ("images.0.width", "wide", "not a COCO annotation file"),
        ("images.0.width", 0, "image 7 has no size"),
        ("images.0.gsd_m", -0.5, "image 7 has no size"),
        ("images.0.gsd_m", "coarse", "not a COCO annotation file"),
        ("images.0.file_name", "../b.png", "image 7 lies outside the folder"),
        ("images.0.file_name", "/b.png", "image 7 lies outside the folder"),
        ("images.0.id", 3, "2 images have id 3"),
        ("annotations.0.id", 101, "2 annotations have id 101"),
        ("categories.0.id", 2, "2 categories have id 2"),
        ("categories.0.name", "ship", "2 categories have name 'ship'"),
        ("categories.0.name", "\x1b[2Jship", r"'\\x1b\[2Jship' has characters that cannot be printed"),
        ("annotations.0.bbox", [40.2, 2, 0.5, 5], "annotation 100 lies outside"),  # within the slack, nothing inside
        ("images.2.cut_boxes_xywh_px", [[1, 2, 3, 4]], "not a COCO annotation file"),
        ("images.2.cut_boxes_xywh_px", [[1, 2, 3, 4, 77]], "not a COCO annotation file"),
    ],
)
def test_bad_content_is_one_line_that_names_the_file(root: Path, path: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_folder(write(root, changed(path, value)))
    assert str(root / ANNOTATIONS) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pixel_beyond_the_edge_is_clipped(root: Path) -> None:
    coco = coco_example()
    coco["annotations"][0]["bbox"] = [-1, 3, 42, 28]
    image = load_folder(write(root, coco)).select(["b"]).images[0]
    np.testing.assert_array_equal(image.boxes_xyxy_px[0], [0, 3, 40, 30])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b'{"images": []}', b"\xff\xfe\x00", b"null"])
def test_files_that_are_not_coco(root: Path, content: bytes) -> None:
    (root / ANNOTATIONS).write_bytes(content)
    with pytest.raises(UserError, match="not a COCO annotation file"):
        load_folder(root)


def test_missing_folder_and_missing_annotations(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="not a prepared folder"):
        load_folder(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def places(node: object, path: str = "") -> list[str]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [p for key, value in inner for p in (f"{path}{key}", *places(value, f"{path}{key}."))]


@FUZZ
@given(place=st.sampled_from(places(coco_example())), value=json_values)
def test_a_fuzzed_file_is_read_whole_or_refused(root: Path, place: str, value: object) -> None:
    folder = or_message(load_folder, write(root, changed(place, value)))
    if isinstance(folder, str):
        assert str(root) in folder
        assert "\n" not in folder
        return
    for image in folder.images:
        boxes = image.boxes_xyxy_px
        assert boxes.shape == (len(image.class_ids), 4) == (len(image.box_ids), 4)
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert (boxes >= 0).all()
        assert (boxes <= [image.width_px, image.height_px] * 2).all()
        assert (image.class_ids < len(folder.class_names)).all()


def record(path: Path, width_px: int, height_px: int) -> ImageRecord:
    return ImageRecord(
        1, path, path.stem, width_px, height_px, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.int64)
    )


@pytest.fixture
def pixels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)


def test_pixels_come_back_as_rgb(tmp_path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_image(record(path, 17, 12)), pixels)


def test_grey_and_transparent_images_become_rgb(tmp_path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "grey.png"), np.repeat(pixels[..., :1], 3, axis=2))
    Image.fromarray(pixels).convert("RGBA").save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "rgba.png"), pixels)


def test_an_image_of_another_size_is_refused(tmp_path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    with pytest.raises(UserError, match=r"a\.png: is 17x12 px, but annotations\.json says 12x17"):
        read_image(record(path, 12, 17))


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png: no such image"):
        read_rgb(tmp_path / "gone.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_refused_at_any_length(
    tmp_path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]], suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    for share in (0.0, 0.2, 0.5, 0.8):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError, match="not a readable image"):
            read_rgb(path)


@FUZZ
@given(suffix=st.sampled_from(["png", "jpg"]), at=st.floats(0, 0.999), junk=st.binary(min_size=1, max_size=8))
def test_a_damaged_image_gives_pixels_or_a_named_error(tmp_path: Path, suffix: str, at: float, junk: bytes) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    i = int(at * len(whole))
    path.write_bytes(whole[:i] + junk + whole[i + len(junk) :])
    rgb = or_message(read_rgb, path)
    if isinstance(rgb, str):
        assert str(path) in rgb
        assert "\n" not in rgb
    else:
        assert rgb.dtype == np.uint8
        assert rgb.shape[2] == 3


def test_sixteen_bits_are_refused_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match=r"deep\.png: is not an 8-bit image"):
        read_rgb(tmp_path / "deep.png")


def test_a_header_that_claims_a_huge_image_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(UserError, match=r"huge\.png: not a readable image"):
        read_rgb(tmp_path / "huge.png")


def test_lists_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(b"# ours\r\n003 \r\n\r\n  storage tank\nlast")
    assert read_ids(path) == ["003", "storage tank", "last"]
    for encoding in ("utf-8-sig", "utf-16"):  # of Windows editors
        path.write_bytes("003\r\nstorage tank\r\n".encode(encoding))
        assert read_ids(path) == ["003", "storage tank"]
    path.write_text("# nothing\n\n")
    with pytest.raises(UserError, match="empty"):
        read_ids(path)
    with pytest.raises(UserError, match=r"gone.txt: no such list of image ids; that folder has ids.txt$"):
        read_ids(tmp_path / "gone.txt")


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    write_json(path, [2])
    assert json.loads(path.read_text()) == [2]
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_an_image_that_a_program_would_have_to_open_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *given, **_: started.append(given))
    path = tmp_path / "drawing.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n")
    with pytest.raises(UserError, match=r"drawing\.jpg: not a readable image"):
        read_rgb(path)
    assert not started
