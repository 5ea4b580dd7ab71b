"""Tiles at another GSD than their images'."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from data_prep.tile import tile_folder
from fsod.data.coco_folder import ImageRecord, load_folder, read_image, write_json
from fsod.errors import UserError
from tests.images_to_cut import grids, images_with_gsd, make_three_images, write_one_image


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return make_three_images(tmp_path / "prepared")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "tiles"


def test_pixels_boxes_and_gsd_change_together(prepared: Path, out: Path) -> None:
    card = tile_folder(load_folder(prepared), out, window_px=40, overlap_px=10, gsd_m=1.0)
    tiles = load_folder(out)
    names = [i.path.name for i in tiles.images]
    assert names == [
        "a_0_0.png",
        "a_10_0.png",
        "b_0_0.png",
        *(f"c_{x}_{y}.png" for y in (0, 30, 35) for x in (0, 30, 35)),
    ]
    assert card["images_resampled"] == 2
    assert {i.gsd_m for i in tiles.images} == {1.0}
    # 100x70 px of 0.5 m are 50x35 px of 1 m: means of four pixels each
    original = read_image(load_folder(prepared).select(["a"]).images[0])
    means = original.reshape(35, 2, 50, 2, 3).mean((1, 3))
    right = tiles.select(["a_10_0"]).images[0]
    assert np.abs(read_image(right) - means[:, 10:]).max() <= 0.5
    np.testing.assert_array_equal(tiles.images[0].boxes_xyxy_px[0], [2.5, 2.5, 7.5, 7.5])
    np.testing.assert_array_equal(right.boxes_xyxy_px, [[9, 1, 11, 3], [14, 15, 18, 19]])
    entries = {e["file_name"]: e for e in json.loads((out / "annotations.json").read_text())["images"]}
    assert entries["a_10_0.png"]["resample_xy"] == [0.5, 0.5]
    assert "resample_xy" not in entries["b_0_0.png"]


def test_a_drawn_square_is_where_its_box_says(tmp_path: Path, out: Path) -> None:
    write_one_image(tmp_path / "prepared", _square_scene())
    path = tmp_path / "prepared" / "images" / "scene.png"
    rgb = np.zeros((90, 130, 3), np.uint8)
    cv2.rectangle(rgb, (30, 20), (53, 40), (255, 255, 255), -1)  # the last pixel is drawn too
    Image.fromarray(rgb).save(path)
    for gsd_m in (0.2, 0.37, 1.1):
        tile_folder(load_folder(path.parents[1]), out / str(gsd_m), window_px=400, overlap_px=0, gsd_m=gsd_m)
        tile = load_folder(out / str(gsd_m)).images[0]
        ys, xs = np.nonzero(read_image(tile)[..., 0] > 127)
        shown = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_allclose(shown, tile.boxes_xyxy_px[0], atol=0.51)


def _square_scene() -> ImageRecord:
    return ImageRecord(
        id=1,
        path=Path("scene.png"),
        source="scene",
        width_px=130,
        height_px=90,
        boxes_xyxy_px=np.array([[30.0, 20, 54, 41]]),
        class_ids=np.array([0]),
        box_ids=np.array([1]),
        gsd_m=0.5,
    )


def test_an_unknown_gsd_is_refused_or_left_as_it_is(prepared: Path, out: Path) -> None:
    coco = json.loads((prepared / "annotations.json").read_text())
    del coco["images"][0]["gsd_m"]
    write_json(prepared / "annotations.json", coco)
    folder = load_folder(prepared)
    with pytest.raises(UserError, match=r"a\.png: its GSD is unknown, as that of 1 of 3 images.*--keep-unknown-gsd"):
        tile_folder(folder, out, window_px=40, overlap_px=10, gsd_m=1.0)
    assert not out.exists()
    card = tile_folder(folder, out, window_px=100, overlap_px=10, gsd_m=1.0, keep_unknown_gsd=True)
    sizes = {i.source: (i.width_px, i.height_px, i.gsd_m) for i in load_folder(out).images}
    assert sizes == {"a": (100, 70, None), "b": (20, 10, 1.0), "c": (75, 75, 1.0)}
    assert card["images_resampled"] == 1


@pytest.mark.parametrize(
    ("gsd_m", "message"),
    [(0.0, "gsd_m is 0"), (float("nan"), "gsd_m is nan"), (0.06, r"a\.png: its pixels are 0.5 m, too coarse")],
)
def test_a_gsd_that_cannot_be_had(prepared: Path, out: Path, gsd_m: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tile_folder(load_folder(prepared), out, window_px=40, overlap_px=10, gsd_m=gsd_m)
    assert not out.exists()


@settings(max_examples=25, deadline=None)
@given(case=images_with_gsd(), grid=grids())
def test_what_is_in_a_tile_is_found_again_in_the_original(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[ImageRecord, float], grid: tuple[int, int]
) -> None:
    image, gsd_m = case
    root = tmp_path_factory.mktemp("case")
    write_one_image(root, image)
    window_px, overlap_px = max(grid[0], 30), min(grid[1], 15)
    card = tile_folder(
        load_folder(root), root / "out", window_px=window_px, overlap_px=overlap_px, min_kept_area=0.3, gsd_m=gsd_m
    )
    entries = json.loads((root / "out" / "annotations.json").read_text())["images"]
    kept: set[int] = set()
    for tile, entry in zip(load_folder(root / "out").images, entries, strict=True):
        scale, origin = np.array(entry.get("resample_xy", [1, 1]) * 2), np.array(entry["tile_xywh_px"][:2] * 2)
        ids = tile.source_box_ids.tolist()
        assert len(set(ids)) == len(ids)
        kept |= set(ids)
        original = image.boxes_xyxy_px[[image.box_ids.tolist().index(i) for i in ids]]
        size = np.array([tile.width_px, tile.height_px] * 2)
        seen = np.clip(original, origin / scale, (origin + size) / scale)
        np.testing.assert_allclose((tile.boxes_xyxy_px + origin) / scale, seen, rtol=0, atol=1e-6)
    assert kept | set(card["objects_in_no_tile"]) == set(image.box_ids.tolist())
    assert not kept & set(card["objects_in_no_tile"])
