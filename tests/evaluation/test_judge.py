from __future__ import annotations

from pathlib import Path

import numpy as np

from fsod.boxes import Detections
from fsod.evaluation.judge import FATES, Answer, answer_of, confusion, judge
from tests.made_folder import make_folder

BOX = (0.0, 0.0, 10.0, 10.0)


def answer(truth: list[tuple[tuple[float, ...], int]], found: list[tuple[tuple[float, ...], float, int]]) -> Answer:
    """Boxes with their class, and boxes with score and class."""
    return Answer(
        np.array([box for box, _ in truth], np.float64).reshape(-1, 4),
        np.array([c for _, c in truth], np.int64),
        Detections(
            np.array([box for box, _, _ in found], np.float64).reshape(-1, 4),
            np.array([score for _, score, _ in found], np.float32),
            np.array([c for _, _, c in found], np.int64),
        ),
    )


def fates(truth: list[tuple[tuple[float, ...], int]], found: list[tuple[tuple[float, ...], float, int]]) -> list[str]:
    return [FATES[fate] for fate in judge([answer(truth, found)]).fates]


def test_every_fate_has_its_rule() -> None:
    beside = (6.0, 0.0, 16.0, 10.0)  # IoU 0.25
    assert fates([(BOX, 0)], [(BOX, 0.9, 0), (BOX, 0.8, 0)]) == ["hit", "duplicate"]
    assert fates([(BOX, 0)], [(BOX, 0.8, 0), (BOX, 0.9, 0)]) == ["duplicate", "hit"]
    assert fates([(BOX, 0)], [(BOX, 0.9, 1)]) == ["class"]
    assert fates([(BOX, 0)], [(beside, 0.9, 0)]) == ["localisation"]
    assert fates([(BOX, 0)], [(beside, 0.9, 1)]) == ["class and place"]
    assert fates([(BOX, 0)], [((9.0, 0.0, 19.0, 10.0), 0.9, 0)]) == ["background"]  # IoU 0.05
    assert fates([], [(BOX, 0.9, 0)]) == ["background"]
    assert fates([(BOX, 0)], []) == []


def test_the_earlier_rule_decides() -> None:
    off = (0.0, 0.0, 10.0, 9.0)
    # taken box of its own class below, box of another class just as well below it
    assert fates([(BOX, 0), (BOX, 1)], [(BOX, 0.9, 0), (off, 0.8, 0)]) == ["hit", "duplicate"]
    # a well placed box of another class counts before a badly placed one of its own
    assert fates([(BOX, 1), ((6.0, 0.0, 16.0, 10.0), 0)], [(BOX, 0.9, 0)]) == ["class"]


def test_a_box_under_a_class_or_localisation_error_is_not_missed() -> None:
    far = (50.0, 50.0, 60.0, 60.0)
    first = answer([(BOX, 0), (far, 0)], [(BOX, 0.9, 1)])
    second = answer([(BOX, 1)], [((6.0, 0.0, 16.0, 10.0), 0.4, 0), (BOX, 0.2, 1)])
    judged = judge([first, second])
    assert judged.partners.tolist() == [0, 2, 2]
    assert judged.missed.tolist() == [False, True, False]
    strict = judged.above(np.array([0.5, 0.3]))
    assert strict.scores.round(1).tolist() == [0.9]
    assert strict.missed.tolist() == [False, True, True]


def test_nothing_at_all_can_be_judged() -> None:
    for answers in ([], [answer([], [])]):
        judged = judge(answers)
        assert len(judged.fates) == len(judged.missed) == 0
        assert confusion(answers, np.array([0.5])).tolist() == [[0, 0], [0, 0]]


def test_confusion_counts_every_true_box_once_and_every_detection_once() -> None:
    far, there = (50.0, 50.0, 60.0, 60.0), (80.0, 80.0, 90.0, 90.0)
    one = answer([(BOX, 0), (far, 0)], [(BOX, 0.9, 1), (there, 0.5, 0), (BOX, 0.4, 0), (BOX, 0.1, 0)])
    counts = confusion([one], np.array([0.3, 0.3]))
    # the better detection takes the box, whatever its class; the other one then lies on nothing
    assert counts.tolist() == [[0, 1, 1], [0, 0, 0], [2, 0, 0]]
    assert counts[:2].sum() == 2
    assert confusion([one], np.array([0.3, 0.95])).tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_true_boxes_are_those_of_the_enrolled_classes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder", images=2)
    image = folder.images[0]
    asked = answer_of(folder, image, Detections.empty(), ["cross", "square"])
    squares, crosses = (image.boxes_xyxy_px[image.class_ids == c] for c in (0, 2))
    assert np.array_equal(asked.truth_boxes_xyxy_px[asked.truth_class_ids == 1], squares)
    assert np.array_equal(asked.truth_boxes_xyxy_px[asked.truth_class_ids == 0], crosses)
