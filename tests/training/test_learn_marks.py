"""Twins that learn from marks: what they leave out, how their weights are put together."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from fsod.data.mark_views import CropSettings, View
from fsod.inference.enrollment import Examples
from fsod.model.detector import Detector
from fsod.store.checkpoint import SHIPPED, Checkpoint, load_checkpoint
from fsod.training import learn_marks as learning
from fsod.training.learn_marks import Learned, Lesson, learn_marks, mean_of, with_predicted_rows
from fsod.training.scene_looks import proposed_scores, searching
from tests.training.painted_views import BLUE, PLACES, painted

CPU = Machine(torch.device("cpu"), torch.float32)


def lesson(tmp_path: Path, views: list[View], names: tuple[str, ...] = ("roof",)) -> Lesson:
    return Lesson(load_checkpoint(SHIPPED), views, names, CPU, tmp_path, "told")


def stopped_after(told: Lesson, steps: int) -> Learned:
    """What is learned up to so many steps of both twins together."""
    done = [0]
    return learn_marks(told, 1, lambda now, _: done.append(now), lambda: 2 * done[-1] >= steps)


def test_twins_leave_out_different_marks_and_none_of_few(tmp_path: Path) -> None:
    views = [painted(PLACES), painted(PLACES, first=len(PLACES))]
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
    assert steps[-1] == (20, 20), "the steps of each"
    assert learned.steps == 20
    assert len(learned.left_out_scores[0]) == 2
    (score,) = proposed_scores(learned.detector, told.views, [len(PLACES)], EvaluateSettings(), CPU)
    found = searching(learned.detector, EvaluateSettings(), CPU, 0.01)(told.views[0].rgb[None])[0]

    def best(place: tuple[int, int]) -> float:
        near = np.abs(found.boxes_xyxy_px[:, :2] - place).max(1) < 8
        return float(found.scores[near].max(initial=0))

    assert min(map(best, PLACES)) > score > max(map(best, BLUE))


def test_a_training_that_goes_on_ends_as_one_that_was_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "MOST_STEPS", 20)
    monkeypatch.setattr(learning, "LEAST_STEPS", 20)
    monkeypatch.setattr(learning, "CropSettings", partial(CropSettings, query_px=96))
    views = [painted(PLACES)]
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    whole = stopped_after(lesson(tmp_path / "whole", views), 40)
    (tmp_path / "again" / "trial0.pt").write_bytes(b"what a kill has left")
    for steps in (9, 12, 18):  # after the first look, the second, the third
        stopped_after(lesson(tmp_path / "again", views), 2 * steps)
    again = stopped_after(lesson(tmp_path / "again", views), 40)
    assert again.steps == whole.steps == 20
    for name, value in whole.detector.state_dict().items():
        assert torch.equal(value, again.detector.state_dict()[name]), name


@pytest.mark.parametrize(("together", "for_each"), [(True, 60), (False, 30)])
def test_the_time_is_that_of_both_twins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool, for_each: float
) -> None:
    given: list[float] = []
    monkeypatch.setattr(learning, "at_once", lambda _: together)
    monkeypatch.setattr(learning._Twin, "train", lambda _, seconds, __: given.append(seconds))
    monkeypatch.setattr(
        learning, "train_side_by_side", lambda trainings, *_: [one(lambda *_: None) for one in trainings]
    )
    with pytest.raises(KeyboardInterrupt):  # nothing has been learned
        learn_marks(lesson(tmp_path, [painted(PLACES)]), 60, lambda *_: None, lambda: False)
    assert given == [for_each] * 2


def test_the_mean_of_two_is_between_them_and_a_known_class_starts_from_its_row() -> None:
    torch.manual_seed(0)
    base = Checkpoint(Detector("nano", 1).eval(), "nano", ("roof",), "finetune", {})
    crops: Examples = {"roof": []}
    same = with_predicted_rows(base, crops, CPU)
    assert torch.equal(same.learned[0], base.detector.learned[0])
    other = Detector("nano", 1)
    mean = mean_of([base.detector, other])
    assert torch.allclose(mean.learned[0], (base.detector.learned[0] + other.learned[0]) / 2)
