"""How long OpenMP's threads spin while they wait hangs on what else is busy; what the user has set stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
import torch

from fsod.compute import waiting_threads
from fsod.compute.waiting_threads import busy_others, cpu_seconds, spin_only_while_idle, watch

PATIENCE_S = 60.0
THREADS = Path("/proc/self/task")


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends, f"it has not come in {PATIENCE_S} s"
        time.sleep(0.01)


def threads_of_program() -> int:
    """Those of libraries too, which Python does not know."""
    return len(list(THREADS.iterdir()))


@pytest.mark.skipif(not THREADS.is_dir(), reason=f"counts threads in {THREADS}, which this system has not")
def test_idle_threads_are_kept_while_others_are_busy_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [0.0]
    monkeypatch.setattr(waiting_threads, "LOOK_S", 0.01)
    monkeypatch.setattr(waiting_threads, "busy_others", lambda since: others[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    end, before = Event(), threads_of_program()
    watching = Thread(target=watch, args=(end,))
    try:
        watching.start()
        time.sleep(0.1)
        assert "fsod-idle" not in names()
        others[0] = 1.0
        until(lambda: threads_of_program() >= before + 3)  # the watch, one more, and its helper
        assert "fsod-idle" in names()
        others[0] = 0.1
        until(lambda: "fsod-idle" not in names() and threads_of_program() <= before + 1)
        others[0] = 1.0
        until(lambda: "fsod-idle" in names())
    finally:
        end.set()
        watching.join(PATIENCE_S)
        torch.set_num_threads(threads)
    until(lambda: "fsod-idle" not in names())


def test_others_are_all_but_this_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_threads, "cpu_seconds", lambda: (12.0, 107.0, 54.0))
    assert busy_others((10.0, 100.0, 50.0)) == pytest.approx((7.0 - 4.0) / 2.0)


def test_cpu_seconds_count_this_program_once_in_all() -> None:
    before = cpu_seconds()
    ends = time.process_time() + 0.3
    while time.process_time() < ends:
        pass
    seconds, everyone, own = (now - then for now, then in zip(cpu_seconds(), before, strict=True))
    assert own >= 0.3
    assert seconds >= 0.3
    assert everyone >= own - 0.1, "the system counts in hundredths of a second per core"


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1000")
    started: list[object] = []
    monkeypatch.setattr(waiting_threads, "Thread", lambda **given: started.append(given))
    spin_only_while_idle.__wrapped__()
    assert not started
