from __future__ import annotations

import numpy as np

from fsod.boxes import Detections, match


def test_a_true_box_is_found_once_by_the_best_score_of_its_class() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float64)
    classes = np.array([0, 0, 1])
    boxes = [
        [0, 0, 10, 9],  # second on the first box
        [0, 0, 10, 10],
        [20, 0, 30, 4],  # IoU 0.4
        [40, 0, 50, 10],  # wrong class
        [40, 0, 50, 5],  # IoU 0.5 counts
    ]
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.6], np.float32)
    guesses = Detections(np.array(boxes, np.float64), scores, np.array([0, 0, 0, 0, 1]))
    assert match(truth, classes, guesses).tolist() == [-1, 0, -1, -1, 2]
    assert match(truth, classes, Detections.empty()).shape == (0,)
    assert match(np.zeros((0, 4)), np.zeros(0, np.int64), guesses).tolist() == [-1] * 5
