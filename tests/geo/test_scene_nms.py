from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsod.boxes import Detections, iou
from fsod.geo import scene_nms
from fsod.geo.scene_nms import nms_scene, paired_iou


def plain_nms(detections: Detections, iou_threshold: float) -> NDArray[np.bool_]:
    """The textbook loop, class by class, best score first, earlier first among equals."""
    boxes, stays = detections.boxes_xyxy_px, np.zeros(len(detections), np.bool_)
    for class_id in np.unique(detections.class_ids):
        kept: list[int] = []
        members = np.flatnonzero(detections.class_ids == class_id)
        for i in members[np.argsort(-detections.scores[members], kind="stable")]:
            if not kept or iou(boxes[[i]], boxes[kept]).max() <= iou_threshold:
                kept.append(int(i))
        stays[kept] = True
    return stays


def crowd(n: int, extent_px: float, seed: int, classes: int = 5) -> Detections:
    """Boxes in jittered threes, as overlapping windows give them, far from the origin."""
    rng = np.random.default_rng(seed)
    centres, sizes = rng.uniform(0, extent_px, (n // 3, 2)) + 60_000, rng.uniform(8, 60, (n // 3, 2))
    once = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    boxes = np.concatenate([once + rng.normal(0, 2, once.shape) for _ in range(3)])
    class_ids = np.tile(rng.integers(0, classes, n // 3), 3)
    # few distinct scores, so that ties happen
    return Detections(boxes, (rng.integers(1, 200, len(boxes)) / 200).astype(np.float32), class_ids)


@pytest.mark.parametrize("extent_px", [300, 1500, 20_000])
@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_the_keep_set_is_that_of_the_plain_loop(extent_px: float, threshold: float) -> None:
    detections = crowd(1500, extent_px, seed=int(extent_px))
    keep = nms_scene(detections.boxes_xyxy_px, detections.scores, detections.class_ids, threshold)
    np.testing.assert_array_equal(keep, plain_nms(detections, threshold))
    assert keep.sum() < len(detections)


box = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2, st.integers(0, 3), st.integers(0, 1))


@given(st.lists(box, max_size=14), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_chains_ties_and_identical_boxes_follow_the_plain_loop(
    rows: list[tuple[int, int, int, int, int, int]], threshold: float
) -> None:
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    detections = Detections(boxes, table[:, 4].astype(np.float32), table[:, 5].astype(np.int64))
    keep = nms_scene(boxes, detections.scores, detections.class_ids, threshold)
    np.testing.assert_array_equal(keep, plain_nms(detections, threshold))


def test_boxes_of_one_source_leave_each_other_alone() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 1, 10, 11.0]])
    scores, classes = np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, np.int64)
    assert nms_scene(boxes, scores, classes, 0.5, np.array([1, 1, 2])).tolist() == [True, True, False]
    assert nms_scene(boxes, scores, classes, 0.5).tolist() == [True, False, False]


def test_paired_iou_is_the_diagonal_of_iou() -> None:
    a, b = crowd(30, 100, seed=1).boxes_xyxy_px, crowd(30, 100, seed=2).boxes_xyxy_px
    np.testing.assert_allclose(paired_iou(a, b), np.diag(iou(a, b)), atol=1e-12)


def test_ninety_thousand_boxes_are_compared_with_their_neighbours_only(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        compared.append(len(a))
        return paired_iou(a, b)

    monkeypatch.setattr(scene_nms, "paired_iou", counted)
    detections = crowd(90_000, 20_000, seed=3)
    keep = nms_scene(detections.boxes_xyxy_px, detections.scores, detections.class_ids, 0.5)
    # a box touches its two doubles and few others; all pairs would be four thousand million
    assert 90_000 < sum(compared) < 5 * 90_000
    assert 25_000 < keep.sum() < 40_000
