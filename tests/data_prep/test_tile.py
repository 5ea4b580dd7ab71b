import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.tile import cut_tiles, starts_px, tile_folder
from fsod.boxes import area_px
from fsod.data.coco import ImageRecord, load_folder, read_ids, read_image, write_json
from fsod.data.shots import draw_shots
from fsod.data.splits import images_without
from fsod.errors import UserError

NAMES = ("ship", "bridge")


def image_record(width_px: int, height_px: int, boxes_xyxy_px: list[tuple[float, ...]]) -> ImageRecord:
    n = len(boxes_xyxy_px)
    return ImageRecord(
        id=4,
        path=Path("scene.png"),
        source="scene",
        width_px=width_px,
        height_px=height_px,
        boxes_xyxy_px=np.array(boxes_xyxy_px, dtype=np.float64).reshape(-1, 4),
        class_ids=np.arange(n) % len(NAMES),
        box_ids=np.arange(n) + 50,
    )


@st.composite
def grids(draw: st.DrawFn) -> tuple[int, int]:
    """Window and overlap."""
    window_px = draw(st.integers(1, 50))
    return window_px, draw(st.integers(0, window_px - 1))


@st.composite
def images(draw: st.DrawFn) -> ImageRecord:
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))

    def side(length: int) -> tuple[float, float]:
        # quarters of a pixel are exact in binary, so that tile and back can be compared exactly
        start = draw(st.integers(0, 4 * length - 1))
        return start / 4, draw(st.integers(start + 1, 4 * length)) / 4

    boxes: list[tuple[float, ...]] = []
    for _ in range(draw(st.integers(0, 6))):
        (x1, x2), (y1, y2) = side(width), side(height)
        boxes.append((x1, y1, x2, y2))
    return image_record(width, height, boxes)


@settings(max_examples=200, deadline=None)
@given(length_px=st.integers(1, 500), grid=grids())
def test_tiles_cover_a_side_without_slivers(length_px: int, grid: tuple[int, int]) -> None:
    window_px, overlap_px = grid
    starts = starts_px(length_px, window_px, overlap_px)
    assert starts[0] == 0
    assert starts[-1] + min(window_px, length_px) == length_px
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= window_px - overlap_px).all()


@settings(max_examples=120, deadline=None)
@given(image=images(), grid=grids(), min_kept_area=st.sampled_from([0.05, 0.3, 0.5, 0.75, 1.0]))
def test_no_object_is_lost_and_every_box_is_right(
    image: ImageRecord, grid: tuple[int, int], min_kept_area: float
) -> None:
    window_px, overlap_px = grid
    tiles = cut_tiles(image, window_px, overlap_px, min_kept_area)
    areas = area_px(image.boxes_xyxy_px)
    seen: set[int] = set()
    for tile in tiles:
        x, y, width, height = tile.xywh_px
        assert (width, height) == (min(window_px, image.width_px), min(window_px, image.height_px))
        assert x >= 0
        assert y >= 0
        assert x + width <= image.width_px
        assert y + height <= image.height_px
        for boxes in (tile.boxes_xyxy_px, tile.cut_xyxy_px):
            assert (boxes >= 0).all()
            assert (boxes <= [width, height, width, height]).all()
            assert (boxes[:, :2] < boxes[:, 2:]).all()
        # every box that reaches into the tile is told of, once
        told = [*tile.kept, *tile.cut]
        assert len(set(told)) == len(told)
        x1, y1, x2, y2 = image.boxes_xyxy_px.T
        reaches_in = (x1 < x + width) & (x2 > x) & (y1 < y + height) & (y2 > y)
        assert set(np.flatnonzero(reaches_in)) == set(told)
        # the rule, worked out the other way round
        shares = area_px(tile.boxes_xyxy_px) / areas[tile.kept]
        assert (shares >= min_kept_area - 1e-6).all()
        assert (area_px(tile.cut_xyxy_px) / areas[tile.cut] < min_kept_area).all()
        # a whole box and back is the box itself
        whole = area_px(tile.boxes_xyxy_px) == areas[tile.kept]
        back = tile.boxes_xyxy_px + np.array([x, y, x, y])
        np.testing.assert_array_equal(back[whole], image.boxes_xyxy_px[tile.kept][whole])
        seen |= set(tile.kept[whole].tolist())
    sides = (image.boxes_xyxy_px[:, 2:] - image.boxes_xyxy_px[:, :2]).max(axis=1, initial=0)
    small = np.flatnonzero(sides <= overlap_px)
    assert set(small) <= seen, "an object no larger than the overlap is whole in some tile"


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Scene a of 100x70 px with five boxes, small image b of 20x10 px, empty image c, lists of stems and of COCO ids."""
    root = tmp_path / "prepared"
    (root / "images").mkdir(parents=True)
    (root / "splits").mkdir()
    sizes = {"a": (100, 70), "b": (20, 10), "c": (50, 50)}
    for i, (stem, (width, height)) in enumerate(sizes.items()):
        pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{stem}.png")
    boxes = [
        (1, 1, [5, 5, 10, 10]),  # whole in the first tile
        (1, 2, [38, 2, 4, 4]),  # whole in the overlap of two tiles
        (1, 1, [48, 30, 8, 8]),  # a quarter in the first tile
        (1, 2, [10, 44, 10, 10]),  # six tenths in the first tile
        (2, 2, [0, 0, 20, 10]),
    ]
    coco: dict[str, Any] = {
        "images": [
            {"id": i, "file_name": f"{stem}.png", "width": width, "height": height, "gsd_m": 0.5 * i}
            for i, (stem, (width, height)) in enumerate(sizes.items(), 1)
        ],
        "categories": [{"id": 1, "name": "ship"}, {"id": 2, "name": "bridge"}],
        "annotations": [
            {"id": i, "image_id": image, "category_id": c, "bbox": bbox} for i, (image, c, bbox) in enumerate(boxes, 7)
        ],
    }
    write_json(root / "annotations.json", coco)
    (root / "splits" / "train.txt").write_text("a\nc\n")
    (root / "splits" / "test.txt").write_text("2\n")
    return root


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


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


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


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=images(), grid=grids(), min_kept_area=st.sampled_from([0.3, 0.5, 1.0]))
def test_every_object_is_in_the_folder_or_in_the_card(
    tmp_path: Path, image: ImageRecord, grid: tuple[int, int], min_kept_area: float
) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    (root / "images").mkdir()
    Image.new("RGB", (image.width_px, image.height_px)).save(root / "images" / "scene.png")
    annotations = [
        {"id": i, "image_id": 4, "category_id": c + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for i, c, (x1, y1, x2, y2) in zip(
            image.box_ids.tolist(), image.class_ids.tolist(), image.boxes_xyxy_px.tolist(), strict=True
        )
    ]
    entry = {"id": 4, "file_name": "scene.png", "width": image.width_px, "height": image.height_px}
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)]
    write_json(root / "annotations.json", {"images": [entry], "categories": categories, "annotations": annotations})
    window_px, overlap_px = max(grid[0], 20), min(grid[1], 15)
    card = tile_folder(
        load_folder(root), root / "out", window_px=window_px, overlap_px=overlap_px, min_kept_area=min_kept_area
    )
    tiles = load_folder(root / "out")
    kept = {int(i) for tile in tiles.images for i in tile.source_box_ids}
    lost = set(card["objects_in_no_tile"])
    assert kept | lost == set(image.box_ids.tolist())
    assert not kept & lost
