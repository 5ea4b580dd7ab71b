import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.tile_grid import cut_tiles, resample
from fsod.boxes import area_px
from fsod.data.coco_folder import ImageRecord
from fsod.geo.windows import starts_px
from tests.images_to_cut import grids, image_record, images, images_with_gsd

SHARES = st.sampled_from([0.05, 0.3, 0.5, 0.75, 1.0])


def check_tiles(image: ImageRecord, grid: tuple[int, int], min_kept_area: float) -> None:
    """All that tiles of an image promise, whatever its size and wherever its boxes."""
    window_px, overlap_px = grid
    window_px += max(image.width_px, image.height_px) // 8  # a hundred tiles at most, not a hundred thousand
    tiles = cut_tiles(image, window_px, overlap_px, min_kept_area)
    areas = area_px(image.boxes_xyxy_px)
    assert len({tile.xywh_px for tile in tiles}) == len(tiles)
    covered = np.zeros((image.height_px, image.width_px), np.bool_)
    seen: set[int] = set()
    for tile in tiles:
        x, y, width, height = tile.xywh_px
        assert (width, height) == (min(window_px, image.width_px), min(window_px, image.height_px))
        assert x >= 0
        assert y >= 0
        assert x + width <= image.width_px
        assert y + height <= image.height_px
        covered[y : y + height, x : x + width] = True
        for boxes in (tile.boxes_xyxy_px, tile.cut_xyxy_px):
            assert (boxes >= 0).all()
            assert (boxes <= [width, height, width, height]).all()
            assert (boxes[:, :2] < boxes[:, 2:]).all()
        # every box that reaches into the tile is told of, once
        x1, y1, x2, y2 = image.boxes_xyxy_px.T
        reaches_in = (x1 < x + width) & (x2 > x) & (y1 < y + height) & (y2 > y)
        assert len(set(tile.kept)) == len(tile.kept)
        assert reaches_in[tile.kept].all()
        dropped = np.flatnonzero(reaches_in & ~np.isin(np.arange(len(areas)), tile.kept))
        assert tile.cut_class_ids.tolist() == image.class_ids[dropped].tolist()
        # the rule, worked out the other way round
        shares = area_px(tile.boxes_xyxy_px) / areas[tile.kept]
        assert (shares >= min_kept_area - 1e-6).all()
        assert (area_px(tile.cut_xyxy_px) / areas[dropped] < min_kept_area).all()
        # tile and back is the identity, less what the tile's edges cut off
        back = tile.boxes_xyxy_px + np.array([x, y, x, y])
        clipped = np.clip(image.boxes_xyxy_px[tile.kept], [x, y, x, y], [x + width, y + height] * 2)
        np.testing.assert_allclose(back, clipped, rtol=0, atol=1e-9)
        whole = (clipped == image.boxes_xyxy_px[tile.kept]).all(axis=1)
        seen |= set(tile.kept[whole].tolist())
    assert covered.all()
    sides = (image.boxes_xyxy_px[:, 2:] - image.boxes_xyxy_px[:, :2]).max(axis=1, initial=0)
    assert set(np.flatnonzero(sides <= overlap_px)) <= seen, (
        "an object no larger than the overlap is whole in some tile"
    )


@settings(max_examples=100, deadline=None)
@given(length_px=st.integers(1, 500), grid=grids())
def test_tiles_cover_a_side_without_slivers(length_px: int, grid: tuple[int, int]) -> None:
    window_px, overlap_px = grid
    starts = starts_px(length_px, window_px, overlap_px)
    assert starts[0] == 0
    assert starts[-1] + min(window_px, length_px) == length_px
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= window_px - overlap_px).all()


@settings(max_examples=80, deadline=None)
@given(image=images(), grid=grids(), min_kept_area=SHARES)
def test_no_object_is_lost_and_every_box_is_right(
    image: ImageRecord, grid: tuple[int, int], min_kept_area: float
) -> None:
    check_tiles(image, grid, min_kept_area)


@settings(max_examples=80, deadline=None)
@given(case=images_with_gsd(), grid=grids(), min_kept_area=SHARES)
def test_the_same_holds_for_a_resampled_image(
    case: tuple[ImageRecord, float], grid: tuple[int, int], min_kept_area: float
) -> None:
    check_tiles(resample(*case), grid, min_kept_area)


@settings(max_examples=60, deadline=None)
@given(image=images(), window_px=st.integers(1, 30), columns=st.integers(1, 3), rows=st.integers(1, 3))
def test_without_overlap_an_object_is_kept_once_or_nowhere(
    image: ImageRecord, window_px: int, columns: int, rows: int
) -> None:
    size = columns * window_px, rows * window_px
    boxes = np.clip(image.boxes_xyxy_px, 0, [*size, *size])
    inside = area_px(boxes) > 0
    fitted = image_record(*size, [tuple(box) for box in boxes[inside].tolist()])
    kept = list(itertools.chain.from_iterable(t.kept.tolist() for t in cut_tiles(fitted, window_px, 0, 0.51)))
    assert len(set(kept)) == len(kept)
    assert window_px < max(size) or len(kept) == len(fitted.box_ids)


@settings(max_examples=80, deadline=None)
@given(case=images_with_gsd())
def test_resampling_and_back_is_the_identity(case: tuple[ImageRecord, float]) -> None:
    image, gsd_m = case
    assert image.gsd_m is not None
    new = resample(image, gsd_m)
    scale = np.array([new.width_px / image.width_px, new.height_px / image.height_px] * 2)
    np.testing.assert_allclose(new.boxes_xyxy_px / scale, image.boxes_xyxy_px, rtol=1e-12, atol=0)
    assert new.width_px >= 1
    assert new.height_px >= 1
    for before, after in ((image.width_px, new.width_px), (image.height_px, new.height_px)):
        assert after == before or after == 1 or abs(after - before * image.gsd_m / gsd_m) <= 0.5 + 1e-9
    # the ground that the image shows stays the same
    assert new.gsd_m is not None
    ground_m2 = new.width_px * new.height_px * new.gsd_m**2
    assert ground_m2 == pytest.approx(image.width_px * image.height_px * image.gsd_m**2)


@pytest.mark.parametrize(("own_m", "expected_px"), [(0.5, 200), (0.97, 100), (1.04, 100), (1.06, 106), (None, 100)])
def test_a_gsd_within_five_percent_or_unknown_is_left_alone(own_m: float | None, expected_px: int) -> None:
    image = replace(image_record(100, 100, [(10, 20, 30, 40)]), gsd_m=own_m)
    new = resample(image, 1.0 if own_m != 0.5 else 0.25)
    assert new.width_px == expected_px
    assert (new is image) == (expected_px == 100)


def test_boxes_that_an_earlier_cut_dropped_stay_cut() -> None:
    image = replace(
        image_record(50, 20, [(2, 2, 8, 8)]),
        cut_boxes_xyxy_px=np.array([[45.0, 5, 50, 15]]),
        cut_class_ids=np.array([1]),
        gsd_m=0.5,
    )
    left, right = cut_tiles(image, 30, 10, 0.5)
    assert len(left.cut_class_ids) == 0
    np.testing.assert_array_equal(right.cut_xyxy_px, [[25, 5, 30, 15]])
    np.testing.assert_array_equal(right.cut_class_ids, [1])
    (coarse,) = cut_tiles(resample(image, 1.0), 30, 10, 0.5)
    np.testing.assert_array_equal(coarse.cut_xyxy_px, [[22.5, 2.5, 25, 7.5]])
