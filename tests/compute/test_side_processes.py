"""Trainings side by side: progress, stopping, and what becomes of one that fails."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from fsod.compute.side_processes import Tell, train_side_by_side
from fsod.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2], ids=["one by one", "in processes"])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


def count(path: Path, steps: int, tell: Tell) -> None:
    for step in range(1, steps + 1):
        part = path.with_suffix(".part")
        part.write_text(str(step))
        part.replace(path)  # whoever is killed here leaves a number all the same
        tell(step, steps)
        time.sleep(0.02)


@pytest.mark.usefixtures("_threads")
def test_all_are_trained_and_their_steps_are_summed(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    trainings = [partial(count, tmp_path / str(n), 4) for n in range(2)]
    train_side_by_side(trainings, CPU, lambda *steps: told.append(steps), lambda: False)
    assert [(tmp_path / str(n)).read_text() for n in range(2)] == ["4", "4"]
    assert told[-1] == (8, 8)
    assert [done for done, _ in told] == list(range(1, 9))


@pytest.mark.usefixtures("_threads")
def test_stopping_ends_all_before_their_time(tmp_path: Path) -> None:
    trainings = [partial(count, tmp_path / str(n), 500) for n in range(2)]
    told: list[int] = []
    train_side_by_side(trainings, CPU, lambda done, _: told.append(done), lambda: bool(told))
    assert int((tmp_path / "0").read_text()) < 100


def fail(error: Exception, tell: Tell) -> None:
    tell(1, 2)
    raise error


@pytest.mark.usefixtures("_threads")
def test_what_a_training_raises_arrives(tmp_path: Path) -> None:
    trainings = [partial(fail, UserError("loss is not finite")), partial(count, tmp_path / "other", 3)]
    with pytest.raises(UserError, match="loss is not finite"):
        train_side_by_side(trainings, CPU, lambda *_: None, lambda: False)


def be_killed(once_there: Path, tell: Tell) -> None:
    while not once_there.exists():
        time.sleep(0.01)
    tell(1, 2)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    other = tmp_path / "other"
    trainings = [partial(count, other, 500)]
    trainings.insert(killed, partial(be_killed, other))
    with pytest.raises(UserError, match=r"status -9 .* the same command goes on"):
        train_side_by_side(trainings, CPU, lambda *_: None, lambda: False)
    assert int(other.read_text()) < 500
