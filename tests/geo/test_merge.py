from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsod.boxes import Detections, area_px
from fsod.geo.merge import SeamMerger
from fsod.geo.windows import Window, window_grid


def boxes_of(*boxes: Sequence[float], score: float = 0.5, class_id: int = 0) -> Detections:
    n = len(boxes)
    array = np.array(boxes, dtype=np.float64).reshape(n, 4)
    return Detections(array, np.full(n, score, np.float32), np.full(n, class_id, np.int64))


def visible(objects: Detections, window: Window) -> Detections:
    """What a perfect detector says of the objects that a window shows, in the window's frame."""
    left, top, right, bottom = window.xyxy_px
    boxes = np.clip(objects.boxes_xyxy_px, [left, top, left, top], [right, bottom, right, bottom])
    seen = Detections(boxes, objects.scores, objects.class_ids).select(area_px(boxes) > 0)
    return seen.shift(-left, -top)


def as_rows(detections: Detections) -> list[list[float]]:
    table = np.column_stack([detections.boxes_xyxy_px, detections.scores, detections.class_ids])
    return sorted(table.tolist())


@st.composite
def scene_of_objects(draw: st.DrawFn) -> tuple[int, int, Detections]:
    """A scene with objects that do not touch: one at most in each cell of a coarse lattice."""
    cell_px = draw(st.sampled_from([12, 40, 90, 300]))
    columns, rows = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    boxes, class_ids = [], []
    for row in range(rows):
        for column in range(columns):
            if draw(st.booleans()):
                x1, y1 = draw(st.integers(0, cell_px - 3)), draw(st.integers(0, cell_px - 3))
                x2, y2 = draw(st.integers(x1 + 1, cell_px - 1)), draw(st.integers(y1 + 1, cell_px - 1))
                origin = np.tile([column * cell_px, row * cell_px], 2)
                boxes.append((origin + np.array([x1, y1, x2, y2])).tolist())
                class_ids.append(draw(st.integers(0, 1)))
    objects = boxes_of(*boxes)
    return (
        columns * cell_px,
        rows * cell_px,
        Detections(objects.boxes_xyxy_px, objects.scores, np.array(class_ids, int)),
    )


@settings(max_examples=80, deadline=None)
@given(scene_of_objects(), st.sampled_from([(64, 32), (96, 32), (128, 32), (128, 64), (256, 96), (640, 128)]))
def test_a_perfect_detector_gives_each_object_once_and_whole(
    scene: tuple[int, int, Detections], sizes: tuple[int, int]
) -> None:
    # objects run from one pixel to several windows, so all rules are at work, those for large objects too
    width, height, objects = scene
    merger = SeamMerger(0.5, 0.9)
    for window in window_grid(width, height, *sizes):
        merger.add(window, visible(objects, window))
    assert as_rows(merger.result()) == as_rows(objects)


GRID = window_grid(1152, 640, 640, 128)
LEFT, RIGHT = GRID[0], GRID[1]  # columns 0..640 and 512..1152, seam at 576


def merge(left: Detections, right: Detections) -> Detections:
    """Merges what two neighbours say, both given in the scene's frame."""
    merger = SeamMerger(0.5, 0.9)
    merger.add(LEFT, left.shift(-LEFT.left_px, 0))
    merger.add(RIGHT, right.shift(-RIGHT.left_px, 0))
    return merger.result()


@pytest.mark.parametrize("jitter_px", [(0, 0), (3, -2), (-3, 2), (7, 7), (-7, -7), (9, -9)])
def test_jitter_across_a_seam_neither_doubles_nor_loses_an_object(jitter_px: tuple[float, float]) -> None:
    left, right = jitter_px
    merged = merge(
        boxes_of((546 + left, 100, 606 + left, 160), score=0.6),
        boxes_of((546 + right, 102, 606 + right, 162), score=0.7),
    )
    assert merged.boxes_xyxy_px.tolist() == [[546 + right, 102, 606 + right, 162]]


def test_random_jitter_of_many_objects_on_seams_is_settled() -> None:
    rng = np.random.default_rng(0)
    grid = window_grid(2000, 2000, 256, 64)
    centres = np.stack(np.meshgrid(np.arange(30, 1990, 50.0), np.arange(30, 1990, 50.0)), axis=-1).reshape(-1, 2)
    objects = boxes_of(*np.concatenate([centres - 15, centres + 15], axis=1).tolist())
    merger = SeamMerger(0.5, 0.9)
    for window in grid:
        seen = visible(objects, window)
        jittered = seen.boxes_xyxy_px + rng.normal(0, 1.2, seen.boxes_xyxy_px.shape)
        jittered = np.clip(jittered, 0, [window.width_px, window.height_px] * 2)
        scores = rng.uniform(0.3, 0.9, len(seen)).astype(np.float32)
        merger.add(window, Detections(jittered, scores, seen.class_ids).select((np.diff(jittered[:, ::2]) > 0)[:, 0]))
    found = merger.result().boxes_xyxy_px
    nearest = np.abs((found[:, None, :2] + found[:, None, 2:]) / 2 - centres).max(axis=-1)
    assert len(found) == len(centres)
    assert (nearest.min(axis=0) < 8).all()


@pytest.mark.parametrize("better", [0, 1])
def test_two_windows_that_take_one_object_for_two_classes_are_settled(better: int) -> None:
    # as a window settles it for itself: the better supported class stays
    left = boxes_of((546, 100, 606, 160), class_id=0, score=0.6 + 0.1 * (1 - better))
    right = boxes_of((547, 101, 607, 161), class_id=1, score=0.6 + 0.1 * better)
    assert merge(left, right).class_ids.tolist() == [better]


def test_classes_do_not_compete_at_a_seam_unless_they_overlap_almost_wholly() -> None:
    # 46 of 50 columns in common, an IoU of 0.85: a ship in its berth
    merged = merge(boxes_of((546, 100, 596, 160), class_id=0), boxes_of((550, 100, 600, 160), class_id=1))
    assert sorted(merged.class_ids.tolist()) == [0, 1]


def test_a_class_that_lost_at_a_seam_keeps_none_of_its_own_class_out() -> None:
    # class 1 wins over class 0 in the left window's view; what the loser had suppressed within its class stays gone
    left = boxes_of((546, 100, 606, 160), class_id=0, score=0.8)
    right = Detections.concatenate(
        [
            boxes_of((546, 100, 606, 160), class_id=1, score=0.9),
            boxes_of((546, 118, 606, 178), class_id=0, score=0.5),
        ]
    )
    assert merge(left, right).class_ids.tolist() == [1]


def test_what_one_window_reports_close_together_stays() -> None:
    pair = boxes_of((540, 100, 600, 160), (550, 100, 610, 160))
    assert as_rows(merge(pair, pair)) == as_rows(pair)


def test_a_sliver_is_dropped_even_if_the_neighbour_says_nothing() -> None:
    # the neighbour sees all that this window sees of it and more, so its silence counts
    assert len(merge(boxes_of((600, 100, 640, 160)), boxes_of())) == 0


def test_an_object_outside_the_core_is_left_to_its_owner() -> None:
    assert len(merge(boxes_of((600, 100, 630, 130)), boxes_of())) == 0
    assert len(merge(boxes_of(), boxes_of((600, 100, 630, 130)))) == 1


def test_an_object_larger_than_the_overlap_is_put_together() -> None:
    merged = merge(boxes_of((400, 100, 640, 260), score=0.4), boxes_of((512, 102, 800, 262), score=0.6))
    assert merged.boxes_xyxy_px.tolist() == [[400, 100, 800, 262]]
    assert merged.scores.tolist() == pytest.approx([0.6])


def test_a_part_of_a_large_object_that_nobody_confirms_is_kept() -> None:
    assert merge(boxes_of((400, 100, 640, 260)), boxes_of()).boxes_xyxy_px.tolist() == [[400, 100, 640, 260]]


def test_parts_of_different_objects_are_not_put_together() -> None:
    left, right = boxes_of((400, 100, 640, 180)), boxes_of((512, 200, 800, 280))
    assert as_rows(merge(left, right)) == sorted(as_rows(left) + as_rows(right))
    other_class = boxes_of((512, 100, 800, 180), class_id=1)
    assert as_rows(merge(left, other_class)) == sorted(as_rows(left) + as_rows(other_class))


def test_a_part_gives_way_to_the_whole_object_in_a_window_that_sees_more() -> None:
    # the last window was moved inward, so it shares far more than the overlap with the one before
    first, last = window_grid(700, 640, 640, 128)
    merger = SeamMerger(0.5, 0.9)
    merger.add(first, boxes_of((30, 100, 640, 300), score=0.9))
    merger.add(last, boxes_of((30, 100, 660, 300), score=0.5).shift(-last.left_px, 0))
    merged = merger.result()
    assert merged.boxes_xyxy_px.tolist() == [[30, 100, 660, 300]]


def test_memory_does_not_grow_with_windows_that_find_nothing() -> None:
    merger, grid = SeamMerger(0.5, 0.9), window_grid(100_000, 100_000, 640, 128)
    nothing = boxes_of()
    merger.add(grid[0], nothing)
    tracemalloc.start()
    for i in range(3000):
        merger.add(grid[i], nothing)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 5_000


def test_nothing_at_all() -> None:
    assert len(SeamMerger(0.5, 0.9).result()) == 0


# an overview of a scene of 1152 x 1152 px, four times reduced: one window of 288 px sees all of it
OVERVIEW = window_grid(288, 288, 288, 128)[0]
CORNERS = window_grid(1152, 1152, 640, 128)


def merge_with_overview(fine: dict[int, Detections], coarse: Detections) -> list[list[float]]:
    """Boxes of what windows of the scene and of its overview say, both given in the scene's frame."""
    merger = SeamMerger(0.5, 0.9)
    for i, window in enumerate(CORNERS):
        merger.add(window, fine.get(i, boxes_of()).shift(-window.left_px, -window.top_px))
    reduced = Detections(coarse.boxes_xyxy_px / 4, coarse.scores, coarse.class_ids)
    merger.add(OVERVIEW, reduced, scale=(4.0, 4.0), least_px=100)
    return sorted(merger.result().boxes_xyxy_px.tolist())


def test_an_overview_gives_whole_what_windows_see_in_parts() -> None:
    whole = [200, 100, 1100, 500]
    # the left window reports what it sees up to its edge, the right one a part that touches no edge
    parts = {0: boxes_of((204, 104, 640, 500), score=0.9), 1: boxes_of((530, 130, 1000, 480), score=0.9)}
    assert merge_with_overview(parts, boxes_of(whole, score=0.3)) == [whole]
    # without the overview the best there is stays, so that nothing large is lost silently
    assert merge_with_overview(parts, boxes_of()) == [[530, 130, 1000, 480]]


def test_an_overview_is_not_asked_for_small_objects() -> None:
    small = [20, 20, 90, 60]
    assert merge_with_overview({}, boxes_of(small)) == []
    assert merge_with_overview({0: boxes_of(small)}, boxes_of((16, 16, 88, 64), score=0.9)) == [small]


def test_an_object_that_both_see_whole_is_reported_once_by_the_better_one() -> None:
    fine, coarse = [100, 100, 400, 300], [96, 104, 404, 296]
    assert merge_with_overview({0: boxes_of(fine, score=0.8)}, boxes_of(coarse, score=0.6)) == [fine]
    assert merge_with_overview({0: boxes_of(fine, score=0.6)}, boxes_of(coarse, score=0.8)) == [coarse]


def test_small_objects_and_other_classes_stay_inside_what_an_overview_sees() -> None:
    harbour = boxes_of((200, 100, 1100, 500))
    ship, pier = boxes_of((300, 200, 380, 240)), boxes_of((250, 150, 600, 300), class_id=1)
    kept = merge_with_overview({0: Detections.concatenate([ship, pier])}, harbour)
    assert kept == sorted([[200, 100, 1100, 500], [300, 200, 380, 240], [250, 150, 600, 300]])


@settings(max_examples=40, deadline=None)
@given(scene_of_objects(), st.sampled_from([(64, 32), (96, 32), (128, 64)]), st.sampled_from([2, 4, 8]))
def test_a_perfect_detector_with_an_overview_gives_each_object_once_and_whole(
    scene: tuple[int, int, Detections], sizes: tuple[int, int], factor: int
) -> None:
    width, height, objects = scene
    merger = SeamMerger(0.5, 0.9)
    for window in window_grid(width, height, *sizes):
        merger.add(window, visible(objects, window))
    frame = width / max(1, width // factor), height / max(1, height // factor)
    reduced = Detections(objects.boxes_xyxy_px / np.tile(frame, 2), objects.scores, objects.class_ids)
    for window in window_grid(max(1, width // factor), max(1, height // factor), *sizes):
        merger.add(window, visible(reduced, window), scale=frame, least_px=0.8 * sizes[1])
    found = merger.result()
    assert len(found) == len(objects)
    order = [np.lexsort(d.boxes_xyxy_px.round(3).T) for d in (found, objects)]
    np.testing.assert_allclose(found.boxes_xyxy_px[order[0]], objects.boxes_xyxy_px[order[1]], atol=1e-6)
    assert found.class_ids[order[0]].tolist() == objects.class_ids[order[1]].tolist()
