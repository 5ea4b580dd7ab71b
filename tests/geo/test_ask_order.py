from __future__ import annotations

import numpy as np

from fsod.boxes import Detections
from fsod.geo.ask_order import ask_order


def of(scores: list[float], class_ids: list[int]) -> Detections:
    return Detections(np.zeros((len(scores), 4)), np.array(scores, np.float32), np.array(class_ids))


def test_what_is_nearest_to_the_line_of_its_class_comes_first() -> None:
    ranks = ask_order(of([0.9, 0.31, 0.5, 0.1, 0.8], [0, 0, 0, 0, 1]), [0.3, 0.81])
    # 0.31 is 0.05 from its line by logits, 0.8 is 0.06, 0.5 0.85, 0.1 1.35, 0.9 3.04
    assert ranks.tolist() == [5, 1, 3, 4, 2]
    assert ranks.dtype == np.int64


def test_of_two_as_doubtful_the_better_score_comes_first() -> None:
    assert ask_order(of([0.25, 0.75, 0.5], [0, 0, 0]), [0.5]).tolist() == [3, 2, 1]


def test_scores_at_the_ends_and_none_at_all() -> None:
    assert ask_order(of([0.0, 1.0], [0, 0]), [1.0]).tolist() == [2, 1]
    assert ask_order(Detections.empty(), [0.5]).shape == (0,)


def test_what_was_told_before_comes_last() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0], [90.0, 90.0, 99.0, 99.0]])
    found = Detections(boxes, np.array([0.5, 0.6, 0.9], np.float32), np.zeros(3, np.int64))
    assert ask_order(found, [0.5], boxes[:1] + 1).tolist() == [3, 1, 2]
