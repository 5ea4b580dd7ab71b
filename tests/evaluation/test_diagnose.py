from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.evaluation.average_precision import average_precision
from fsod.evaluation.diagnose import COSTS, ap50_costs, class_curve, curve, reliability
from fsod.evaluation.judge import Answer, Judged, answer_of, judge
from tests.made_folder import NAMES, make_folder


def noisy(boxes: NDArray[np.float64], class_ids: NDArray[np.int64], rng: np.random.Generator) -> Detections:
    """Three guesses a box, some of them moved, some of another class; scores with ties."""
    guesses = np.repeat(boxes, 3, axis=0) + rng.normal(0, 3, (3 * len(boxes), 4)).round()
    guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
    classes = np.where(rng.random(len(guesses)) < 0.3, rng.integers(0, 3, len(guesses)), np.repeat(class_ids, 3))
    scores = np.sort(rng.integers(1, 20, len(guesses)) / 20)[::-1].astype(np.float32)
    return Detections(guesses, scores, classes)


def test_ap50_equals_that_of_pycocotools(tmp_path: Path) -> None:
    folder, rng = make_folder(tmp_path / "folder", images=12), np.random.default_rng(0)
    found = {image.id: noisy(image.boxes_xyxy_px, image.class_ids, rng) for image in folder.images}
    judged = judge([answer_of(folder, image, found[image.id], NAMES) for image in folder.images])
    theirs = average_precision(folder, found, list(NAMES), ()).per_class_ap50
    ours = {name: class_curve(judged, c).ap50 for c, name in enumerate(NAMES)}
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert 0.1 < min(ours.values()) < max(ours.values()) < 0.95


def test_ap50_equals_that_of_pycocotools_where_some_is_difficult_or_a_crowd(tmp_path: Path) -> None:
    folder, rng = make_folder(tmp_path / "folder", images=12), np.random.default_rng(0)
    found = {image.id: noisy(image.boxes_xyxy_px, image.class_ids, rng) for image in folder.images}
    plain = average_precision(folder, found, list(NAMES), ()).per_class_ap50
    images = [
        replace(
            image,
            difficult=rng.random(len(image.class_ids)) < 0.3,
            crowd_boxes_xyxy_px=image.boxes_xyxy_px[:1] + np.array([-4, -4, 4, 4]),
            crowd_class_ids=rng.integers(0, 3, 1),
        )
        for image in folder.images
    ]
    folder = replace(folder, images=tuple(images))
    judged = judge([answer_of(folder, image, found[image.id], NAMES) for image in folder.images])
    theirs = average_precision(folder, found, list(NAMES), ())
    ours = {name: class_curve(judged, c).ap50 for c, name in enumerate(NAMES)}
    assert ours == pytest.approx(theirs.per_class_ap50, abs=1e-12)
    assert sum(abs(ours[name] - (plain[name] or 0)) for name in NAMES) > 0.05
    easy = sum(int((~image.difficult).sum()) for image in images)
    assert theirs.objects == len(judged.truth_class_ids) == easy < 72


def test_the_point_of_best_f1() -> None:
    points = curve(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]), objects=2)
    assert points.recall.tolist() == [0.5, 0.5, 1, 1]
    assert points.precision.tolist() == [1, 0.5, 2 / 3, 0.5]
    assert points.scores[points.best] == 0.7
    assert curve(np.zeros(0), np.zeros(0, bool), objects=2).ap50 == 0


def judged_once(truth_classes: list[int], rows: list[tuple[list[float], float, int]]) -> Judged:
    """True boxes of 10 px in a row, 100 px apart; detections as box, score, class."""
    left = 100.0 * np.arange(len(truth_classes))
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1)
    found = Detections(
        np.array([box for box, _, _ in rows]),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([c for _, _, c in rows]),
    )
    return judge([Answer(boxes, np.array(truth_classes), found)])


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("class", ([100.0, 0, 110, 10], 1)),
        ("localisation", ([106.0, 0, 116, 10], 0)),
        ("class and place", ([106.0, 0, 116, 10], 1)),
        ("duplicate", ([0.0, 0, 10, 9], 0)),
        ("background", ([500.0, 0, 510, 10], 0)),
    ],
)
def test_an_error_costs_what_its_kind_says(kind: str, error: tuple[list[float], int]) -> None:
    """Two objects of class 0 and one of class 1, which is found; then one error before everything else."""
    box, class_id = error
    found_one = [([0.0, 0, 10, 10], 0.8, 0), ([200.0, 0, 210, 10], 0.7, 1)]
    judged = judged_once([0, 0, 1], [(box, 0.9, class_id), *found_one])
    if kind == "duplicate":  # the best detection takes the box, so the error comes second
        judged = judged_once([0, 0, 1], [*found_one, (box, 0.5, class_id), ([100.0, 0, 110, 10], 0.4, 0)])
    costs = dict(zip(COSTS, ap50_costs(judged, 2).tolist(), strict=True))
    assert max(costs[kind]) > 0.1
    others = [costs[other] for other in COSTS if other not in (kind, "missed")]
    assert np.allclose(others, 0)


def test_missed_boxes_cost_what_they_cap() -> None:
    judged = judged_once([0, 0, 0, 0], [([0.0, 0, 10, 10], 0.8, 0)])
    costs = dict(zip(COSTS, ap50_costs(judged, 2)[:, 0], strict=True))
    assert costs["missed"] == pytest.approx(1 - 26 / 101)  # recall ended at a quarter: 0, 0.01, ... 0.25
    assert sum(costs.values()) == costs["missed"]
    assert np.isnan(ap50_costs(judged, 2)[:, 1]).all()


def test_a_mended_error_does_not_find_a_box_twice() -> None:
    """Of the claims on one box the best stays, so the cost of a wrong class is that of its place before the hit."""
    judged = judged_once(
        [0, 1], [([0.0, 0, 10, 10], 0.9, 1), ([0.0, 0, 10, 10], 0.8, 0), ([100.0, 0, 110, 10], 0.7, 1)]
    )
    costs = dict(zip(COSTS, ap50_costs(judged, 2), strict=True))
    assert costs["class"].tolist() == [0, 0.5]


def test_reliability() -> None:
    scores = np.array([0.05, 0.1, 0.15, 1.0])
    result = reliability(scores, np.array([False, True, False, True]))
    assert result.counts.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert result.precision[[0, 1, 9]].tolist() == [0, 0.5, 1]
    assert result.scores[1] == pytest.approx(0.125)
    assert result.error == pytest.approx((0.05 + 2 * 0.375 + 0) / 4)
    assert np.isnan(reliability(np.zeros(0), np.zeros(0, bool)).error)
