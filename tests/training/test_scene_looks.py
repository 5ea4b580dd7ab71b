"""What a look at a scene takes for objects, and which score it proposes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fsod.boxes import Detections
from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from fsod.data.mark_views import best_seen
from fsod.model.detector import Detector
from fsod.training import scene_looks
from fsod.training.scene_looks import look, proposed_scores, worth_taking
from tests.training.painted_views import PLACES, SIDE, painted

CPU = Machine(torch.device("cpu"), torch.float32)


def test_a_look_takes_so_many_objects_for_a_mark_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    view = painted(PLACES[:2])
    boxes = np.array([[x, y, x + SIDE, y + SIDE] for x, y in [*PLACES, (20, 280), (90, 280), (150, 280)]], float)
    scores = np.array([0.8, 0.8, 0.79, 0.78, 0.77, 0.77, 0.765, 0.765, 0.765], np.float32)
    found = Detections(boxes, scores, np.zeros(len(boxes), np.int64))
    monkeypatch.setattr(scene_looks, "searching", lambda *_: lambda images: [found])
    detector = Detector("nano", 1)
    for trusted, expected in ((1, 2 + 2), (2, 2 + 4), (10, 9)):
        (seen,) = look(detector, [view], trusted, EvaluateSettings(), CPU, lambda: None)
        assert len(seen.boxes_xyxy_px) == expected


def test_what_is_worth_taking_rises_with_how_well_marks_are_found() -> None:
    scores = worth_taking(np.array([0.0, 0.2, 0.5, 0.8]))
    assert scores.tolist() == pytest.approx([0, 0.054, 0.3375, 0.76])


@pytest.mark.parametrize(("marks", "share"), [(1, 0.35), (3, 0.55), (5, 0.75), (40, 0.75)])
def test_the_proposed_score_is_a_part_of_what_the_marks_are_found_with(
    monkeypatch: pytest.MonkeyPatch, marks: int, share: float
) -> None:
    view = painted(PLACES[:3])  # of which the third is not found
    found = Detections(view.boxes_xyxy_px[:2], np.array([0.8, 0.4], np.float32), np.zeros(2, np.int64))
    monkeypatch.setattr(scene_looks, "searching", lambda *_, **__: lambda images: [found])
    proposed = proposed_scores(Detector("nano", 1), [view], [marks], EvaluateSettings(), CPU)
    assert proposed == pytest.approx([share * 0.4])


def test_a_mark_that_several_views_show_counts_once_where_it_is_found_best(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = painted(PLACES[:1]), painted(PLACES[:1])
    cut = replace(cut, boxes_xyxy_px=np.array([[300.0, 20, 340, 60]]))  # half of it is beyond the view
    views = [cut, whole]
    found = {id(cut.rgb): ([[300.0, 20, 320, 60]], 0.3), id(whole.rgb): (whole.boxes_xyxy_px, 0.8)}

    def detect(images: np.ndarray) -> list[Detections]:
        boxes, score = found[id(images.base)]
        return [Detections(np.array(boxes), np.array([score], np.float32), np.zeros(1, np.int64))]

    monkeypatch.setattr(scene_looks, "searching", lambda *_, **__: detect)
    assert proposed_scores(Detector("nano", 1), views, [5], EvaluateSettings(), CPU) == pytest.approx([0.75 * 0.8])
    assert proposed_scores(Detector("nano", 1), views[:1], [5], EvaluateSettings(), CPU) == pytest.approx([0.75 * 0.3])
    assert best_seen(views) == {0: (0, 0)}, "half of the larger one is more"
