"""How long OpenMP's threads spin while they wait hangs on what else is busy; what the user has set stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from threading import Event, Thread

import pytest
import torch

from fsod.compute import waiting_threads
from fsod.compute.waiting_threads import busy_others, cpu_seconds, do_nothing, readings, spin_only_while_idle, watch

PATIENCE_S = 60.0


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends, f"it has not come in {PATIENCE_S} s"
        time.sleep(0.01)


def test_an_idle_team_is_kept_while_others_are_busy_and_only_then() -> None:
    # all of this test's own: the program's watcher runs in this process once another test has asked for a device
    others, kept = [0.0], [0]
    teams: list[int] = []
    end = Event()

    def busy_cores() -> Iterator[float]:
        while not end.wait(0.01):
            yield others[0]

    def keep(free: Event) -> None:
        teams.append(torch.get_num_threads())
        kept[0] += 1
        do_nothing(free)
        kept[0] -= 1

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    watching = Thread(target=watch, args=(busy_cores(), keep))
    try:
        watching.start()
        time.sleep(0.1)
        assert not teams
        for times in (1, 2):
            others[0] = 1.0
            until(lambda: kept[0] == 1)
            others[0] = 0.1
            until(lambda: kept[0] == 0)
            assert teams == [2] * times, "as many threads as the program's own, or they would not count"
        others[0] = 1.0
        until(lambda: kept[0] == 1)
    finally:
        end.set()
        watching.join(PATIENCE_S)
        torch.set_num_threads(threads)
    until(lambda: kept[0] == 0)


def test_readings_are_what_others_use_between_one_look_and_the_next() -> None:
    looks = iter([(0.0, 0.0, 0.0), (1.0, 2.0, 0.5), (3.0, 3.0, 1.5)])
    assert list(islice(readings(lambda: next(looks), 0.0), 2)) == [1.5, 0.0]


def test_others_are_all_but_this_program() -> None:
    assert busy_others((10.0, 100.0, 50.0), (12.0, 107.0, 54.0)) == pytest.approx((7.0 - 4.0) / 2.0)


def test_cpu_seconds_count_this_program_once_in_all() -> None:
    before = cpu_seconds()
    # of this thread alone: all of the process may use more of it than time passes
    ends = time.thread_time() + 0.3
    while time.thread_time() < ends:
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


WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")


def said_before_torch(module: str, environment: dict[str, str]) -> str:
    """What is set once a module is imported, and whether torch is, too."""
    kept = {key: value for key, value in os.environ.items() if key not in WAITING}
    code = f"import {module}, os, sys; print([os.environ.get(name) for name in {WAITING}], 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["fsod", "experiments"])
def test_threads_of_other_libraries_sleep_while_they_wait(module: str) -> None:
    assert said_before_torch(module, {}) == "[None, '0', None] False"


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "1000")])
def test_nothing_is_set_beside_what_the_user_has_set(name: str, value: str) -> None:
    said = [value if own == name else None for own in WAITING]
    assert said_before_torch("fsod", {name: value}) == f"{said} False"
