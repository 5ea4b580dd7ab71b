from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from experiments.real_tasks.sizes import SIZES, measured, table
from tests.experiments.made_task import MadeTask, marks_of


class Counting(ModuleType):
    """Instead of the tool, with figures of its own."""

    def f1_curve(
        self, task: MadeTask, found: dict[str, tuple[np.ndarray, np.ndarray]], iou: float
    ) -> tuple[np.ndarray, int]:
        assert set(found) == set(task.test)
        assert all((boxes <= 193).all() for boxes, _ in found.values())  # in pixels of the images, whatever the size
        return np.array([iou / 2]), 9

    def average_precision(self, *_: object) -> float:
        return 0.3


def test_all_sizes_that_suit_the_marks_are_measured_and_one_of_them_is_chosen(
    task: MadeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.real_tasks.sizes.SIZES", (0.1, 1.0, 2.0, 20.0))
    monkeypatch.setattr("fsod.inference.working_scale.ENLARGEMENTS", (1.0, 2.0))
    records = measured(Counting("tool"), task, marks_of(task, 4, tmp_path))
    assert sorted(record["enlargement"] for record in records) == [1.0, 2.0]
    assert [record["chosen"] for record in records] == [False, True]
    assert all(record["best_f1_0.5"] == 0.25 for record in records)


def test_the_best_is_taken_by_draw() -> None:
    of_draws = [(0, 1.0, 0.4, True), (0, 2.0, 0.5, False), (1, 1.0, 0.7, False), (1, 2.0, 0.6, True)]
    keys = ("draw", "enlargement", "best_f1_0.5", "chosen")
    records = [{"task": "darts", **dict(zip(keys, values, strict=True))} for values in of_draws]
    row = table(records).splitlines()[-1].split(" | ")
    by_size = dict(zip(SIZES, row[1:], strict=False))
    assert (by_size[1.0], by_size[2.0], by_size[0.5]) == ("0.550", "0.550", "-")
    assert row[-2:] == ["0.600", "0.500 |"]
