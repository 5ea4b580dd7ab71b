from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fsod import boxes
from fsod.boxes import Detections, match
from fsod.data.coco_folder import ImageRecord
from fsod.evaluation.judge import Answer, judge, passed_over
from fsod.geo.ask_order import ask_order


def test_a_true_box_is_found_once_by_the_best_score_of_its_class() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float64)
    classes = np.array([0, 0, 1])
    found = [
        [0, 0, 10, 9],  # second on the first box
        [0, 0, 10, 10],
        [20, 0, 30, 4],  # IoU 0.4
        [40, 0, 50, 10],  # wrong class
        [40, 0, 50, 5],  # IoU 0.5 counts
    ]
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.6], np.float32)
    guesses = Detections(np.array(found, np.float64), scores, np.array([0, 0, 0, 0, 1]))
    assert match(truth, classes, guesses).tolist() == [-1, 0, -1, -1, 2]
    assert match(truth, classes, Detections.empty()).shape == (0,)
    assert match(np.zeros((0, 4)), np.zeros(0, np.int64), guesses).tolist() == [-1] * 5


def test_what_is_found_in_a_large_scene_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of 100,000 detections and a thousand true boxes at once would take 6 GB."""
    rng = np.random.default_rng(0)

    def some(count: int, side_px: int) -> Detections:
        corners = rng.uniform(0, side_px, (count, 2))
        sides = rng.uniform(10, 60, (count, 2))
        of_classes = rng.integers(0, 3, count)
        return Detections(np.hstack([corners, corners + sides]), rng.random(count).astype(np.float32), of_classes)

    def told(found: Detections, truth: Detections) -> list[list[int]]:
        true, classes = truth.boxes_xyxy_px, truth.class_ids
        ids, hard = np.arange(len(truth)), classes == 1
        image = ImageRecord(1, Path("a"), "a", 9, 9, true, classes, ids, difficult=hard, crowd_boxes_xyxy_px=true[hard],
                            crowd_class_ids=classes[hard])  # fmt: skip
        judged = judge([Answer(true, classes, found)])
        parts = match(true, classes, found), judged.fates, judged.partners, ask_order(found, (0.25,) * 3, true)
        return [part.tolist() for part in (*parts, passed_over(image, found, found.class_ids))]

    found, truth = some(400, 200), some(50, 200)
    at_once = told(found, truth)
    monkeypatch.setattr(boxes, "MOST_PAIRS", 2**16)
    large, others = some(6_000, 10_000), some(150, 10_000)
    tracemalloc.start()
    told(large, others)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    monkeypatch.setattr(boxes, "MOST_PAIRS", 333)
    assert told(found, truth) == at_once


def test_all_pairs_take_three_numbers_each_at_most() -> None:
    boxes_xyxy_px = np.tile([0.0, 0.0, 2.0, 3.0], (1000, 1))
    tracemalloc.start()
    assert (boxes.intersection_px(boxes_xyxy_px, boxes_xyxy_px + 1) == 2).all()
    assert tracemalloc.get_traced_memory()[1] < 3.2 * 8 * 1000**2
    tracemalloc.stop()
