from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsod.errors import UserError
from fsod.geo.windows import cut_sides, spread, window_grid

WINDOWS_AND_OVERLAPS = [(64, 32), (96, 32), (128, 64), (256, 32), (256, 128)]


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from(WINDOWS_AND_OVERLAPS))
def test_cores_tile_the_scene_and_windows_stay_inside(width: int, height: int, sizes: tuple[int, int]) -> None:
    window_px, overlap_px = sizes
    answered = np.zeros((height, width), np.uint8)
    for window in window_grid(width, height, window_px, overlap_px):
        assert window.width_px == min(window_px, width)
        assert window.height_px == min(window_px, height)
        left, top, right, bottom = window.xyxy_px
        core_left, core_top, core_right, core_bottom = window.core_xyxy_px
        assert 0 <= left <= core_left < core_right <= right <= width
        assert 0 <= top <= core_top < core_bottom <= bottom <= height
        answered[core_top:core_bottom, core_left:core_right] += 1
    assert (answered == 1).all()


@given(st.integers(1, 5000), st.sampled_from(WINDOWS_AND_OVERLAPS))
def test_neighbours_share_at_least_the_overlap_and_no_window_is_superfluous(
    length: int, sizes: tuple[int, int]
) -> None:
    window_px, overlap_px = sizes
    row = list(window_grid(length, 10, window_px, overlap_px))
    for before, after in itertools.pairwise(row):
        assert before.xyxy_px[2] - after.left_px >= overlap_px
        assert before.shared_xyxy_px[2] == after.left_px
        assert after.shared_xyxy_px[0] == before.xyxy_px[2]
        # none is a sliver: each core is as wide as half a step at least
        assert min(w.core_xyxy_px[2] - w.core_xyxy_px[0] for w in (before, after)) >= (window_px - overlap_px) // 2
    assert len(row) == max(1, -(-(length - overlap_px) // (window_px - overlap_px)))
    assert (row[0].shared_xyxy_px[0], row[-1].shared_xyxy_px[2]) == (-np.inf, np.inf)


def test_windows_start_on_the_32_px_grid_but_for_the_last() -> None:
    row = list(window_grid(2048, 2048, 640, 128))[:4]
    assert [w.left_px for w in row] == [0, 512, 1024, 1408]
    assert [w.core_xyxy_px[2] for w in row] == [576, 1088, 1536, 2048]


def test_a_grid_is_indexed_row_by_row() -> None:
    grid = window_grid(200, 100, 64, 32)
    assert [w.left_px for w in grid[:3]] == [0, 32, 64]
    assert grid[len(grid) - 1] == grid[-1] == list(grid)[-1]
    with pytest.raises(IndexError):
        grid[len(grid)]


@pytest.mark.parametrize(("window_px", "overlap_px"), [(100, 32), (0, 32), (640, 100), (640, 0), (64, 64), (640, 352)])
def test_sizes_that_do_not_fit_are_refused(window_px: int, overlap_px: int) -> None:
    with pytest.raises(UserError, match="px: must be"):
        window_grid(1000, 1000, window_px, overlap_px)


def test_only_inner_edges_cut() -> None:
    corner = window_grid(200, 200, 128, 32)[0]
    boxes = np.array([[0, 0, 10, 10], [100, 50, 127, 60], [50, 100, 60, 128], [50, 50, 124, 60], [50, 50, 123, 60.0]])
    expected = [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert cut_sides(corner, boxes, 4).astype(int).tolist() == expected


@given(st.integers(0, 500), st.integers(1, 60))
def test_what_is_spread_is_there_once_and_from_end_to_end(count: int, most: int) -> None:
    chosen = spread(count, most).tolist()
    assert len(set(chosen)) == len(chosen) == min(count, most)
    assert chosen == sorted(chosen)
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (0, count - 1)
