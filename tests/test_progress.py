from __future__ import annotations

import io

import pytest
from rich.console import Console

import fsod.progress
from fsod.progress import progress_bar


class Clock:
    """Time that passes when it is told to."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock.monotonic)
    return clock


def use_console(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> io.StringIO:
    out = io.StringIO()
    monkeypatch.setattr(fsod.progress, "console", Console(file=out, force_terminal=terminal, width=120))
    return out


def test_elsewhere_than_on_a_terminal_a_line_now_and_then(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    out = use_console(monkeypatch, terminal=False)
    with progress_bar("meta-train", 1000) as bar:
        bar._started_s = bar._last_line_s = clock.now_s
        bar.advance_to(260)  # goes on after an interruption: what was done before is not this process's pace
        for _ in range(5):
            clock.now_s += 10
            bar.advance_to(bar.done + 20, "loss 2.00")
        clock.now_s += 10
        bar.advance_to(1000, "loss 1.00")
    assert out.getvalue().splitlines() == [
        "meta-train: 300/1000, 20 s, 2/s, 350 s left, loss 2.00",
        "meta-train: 340/1000, 40 s, 2/s, 330 s left, loss 2.00",
        "meta-train: 1000/1000, 60 s, 12.3/s, loss 1.00",
    ]


def test_work_of_one_step_ends_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out = use_console(monkeypatch, terminal=False)
    with progress_bar("evaluate", 1) as bar:
        bar.advance()
    assert out.getvalue().startswith("evaluate: 1/1, 0 s")


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    out = use_console(monkeypatch, terminal=True)
    with progress_bar("windows", 0) as bar:
        for done in range(1, 4):
            bar.of(done, 4)
    assert "windows" in out.getvalue()
    assert "3/4" in out.getvalue()
    assert "/s" in out.getvalue()
