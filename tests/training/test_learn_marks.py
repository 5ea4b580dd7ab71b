"""Twins that learn from marks: what they leave out, what they take from a look, how their weights are put together."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from fsod.boxes import Detections
from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from fsod.data.mark_views import CropSettings, View, make_view
from fsod.inference.enrollment import Examples
from fsod.model.detector import Detector
from fsod.store.checkpoint import SHIPPED, Checkpoint, load_checkpoint
from fsod.training import learn_marks as learning
from fsod.training.learn_marks import (
    Lesson,
    learn_marks,
    look,
    mean_of,
    proposed_scores,
    with_predicted_rows,
    worth_taking,
)

CPU = Machine(torch.device("cpu"), torch.float32)
SIDE = 28
BLUE = [(150, 20), (20, 150), (280, 280)]


def painted(places: list[tuple[int, int]], *, all_marked: bool = False) -> View:
    """Red squares on noise, among blue ones that are something else."""
    rgb = np.random.default_rng(0).integers(60, 120, (320, 320, 3)).astype(np.uint8)
    for x, y in places:
        rgb[y : y + SIDE, x : x + SIDE] = (220, 40, 40)
    for x, y in BLUE:
        rgb[y : y + SIDE, x : x + SIDE] = (40, 40, 220)
    boxes = np.array([[x, y, x + SIDE, y + SIDE] for x, y in places], float).reshape(-1, 4)
    return make_view(rgb, boxes, np.zeros(len(boxes), np.int64), np.zeros((0, 4)), np.full((320, 320), all_marked))


def lesson(tmp_path: Path, views: list[View], names: tuple[str, ...] = ("roof",)) -> Lesson:
    ends = np.cumsum([0, *(len(view.boxes_xyxy_px) for view in views)])
    ids = [np.arange(start, stop) for start, stop in itertools.pairwise(ends)]
    return Lesson(load_checkpoint(SHIPPED), views, ids, names, CPU, tmp_path, "told")


PLACES = [(20, 20), (90, 40), (220, 60), (60, 230), (160, 150), (240, 200)]


def test_twins_leave_out_different_marks_and_none_of_few(tmp_path: Path) -> None:
    views = [painted(PLACES), painted(PLACES)]
    one, two = (learning._left_out(lesson(tmp_path, views), number) for number in range(2))
    assert len(one) == len(two) == 1
    assert set(one.tolist()).isdisjoint(two.tolist())
    assert len(learning._left_out(lesson(tmp_path, [painted(PLACES[:4])]), 0)) == 0


def test_learning_tells_objects_from_what_looks_like_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "MOST_STEPS", 20)
    monkeypatch.setattr(learning, "LEAST_STEPS", 20)
    monkeypatch.setattr(learning, "CropSettings", partial(CropSettings, query_px=128))
    told = lesson(tmp_path, [painted(PLACES, all_marked=True)])
    steps: list[tuple[int, int]] = []
    learned = learn_marks(told, 1, lambda *done: steps.append(done), lambda: False)
    assert steps[-1] == (40, 40)
    assert learned.steps == 20
    assert len(learned.left_out_scores[0]) == 2
    (score,) = proposed_scores(learned, told)
    found = learning.searching(learned.detector, EvaluateSettings(), CPU, 0.01)(told.views[0].rgb[None])[0]

    def best(place: tuple[int, int]) -> float:
        near = np.abs(found.boxes_xyxy_px[:, :2] - place).max(1) < 8
        return float(found.scores[near].max(initial=0))

    assert min(map(best, PLACES)) > score > max(map(best, BLUE))


def test_a_look_takes_so_many_objects_for_a_mark_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    view = painted(PLACES[:2])
    boxes = np.array([[x, y, x + SIDE, y + SIDE] for x, y in [*PLACES, (20, 280), (90, 280), (150, 280)]], float)
    scores = np.array([0.8, 0.8, 0.79, 0.78, 0.77, 0.77, 0.765, 0.765, 0.765], np.float32)
    found = Detections(boxes, scores, np.zeros(len(boxes), np.int64))
    monkeypatch.setattr(learning, "searching", lambda *_: lambda images: [found])
    detector = Detector("nano", 1)
    for trusted, expected in ((1, 2 + 2), (2, 2 + 4), (10, 9)):
        (seen,) = look(detector, [view], trusted, EvaluateSettings(), CPU, lambda: None)
        assert len(seen.boxes_xyxy_px) == expected


def test_what_is_worth_taking_rises_with_how_well_marks_are_found() -> None:
    scores = worth_taking(np.array([0.0, 0.2, 0.5, 0.8]))
    assert scores.tolist() == pytest.approx([0, 0.054, 0.3375, 0.76])


def test_the_mean_of_two_is_between_them_and_a_known_class_starts_from_its_row() -> None:
    torch.manual_seed(0)
    base = Checkpoint(Detector("nano", 1).eval(), "nano", ("roof",), "finetune", {})
    crops: Examples = {"roof": []}
    same = with_predicted_rows(base, crops, CPU)
    assert torch.equal(same.learned[0], base.detector.learned[0])
    other = Detector("nano", 1)
    mean = mean_of([base.detector, other])
    assert torch.allclose(mean.learned[0], (base.detector.learned[0] + other.learned[0]) / 2)


def test_the_proposed_score_is_a_part_of_what_the_marks_are_found_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = painted(PLACES[:3])  # of which the third is not found
    found = Detections(view.boxes_xyxy_px[:2], np.array([0.8, 0.4], np.float32), np.zeros(2, np.int64))
    monkeypatch.setattr(learning, "searching", lambda *_, **__: lambda images: [found])
    learned = learning.Learned(Detector("nano", 1), 1, [[]])
    assert proposed_scores(learned, lesson(tmp_path, [view])) == pytest.approx([0.75 * 0.4])
