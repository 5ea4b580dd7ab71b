"""How long OpenMP's threads spin while they wait for each other: long on an idle machine, hardly at all on a busy one.

A thread that spins takes up the next piece of work at once, and its core does nothing else until then. On an idle machine there is
nothing else to do. On a busy one it may be the core that the awaited thread needs: training then keeps a fourth of its speed
(experiments/contention). GNU's library (torch on Linux) reads how often to spin once, when it is loaded: 300,000 times. But while a
program has more of the library's threads than cores, each spins only 100 times, and threads are counted whenever some come or go
(libgomp, ``env.c`` and ``config/linux/wait.h``). So while other processes are busy, threads that do nothing are kept here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from threading import Event, Thread

import psutil
import torch

LOOK_S = 0.5
"""Seconds from one look at other processes to the next."""

FREE = 0.3
"""Of a core: what others may use before threads that spin are in their way."""

LARGE = 2**20
"""Numbers that torch divides among its threads."""


@cache
def spin_only_while_idle() -> None:
    """Starts the thread that looks at other processes, once in a program, unless the user has said how to wait."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        Thread(target=watch, args=(readings(),), name="fsod-waiting", daemon=True).start()


def busy_others(before: tuple[float, float, float], now: tuple[float, float, float]) -> float:
    """How many cores other processes have used in the mean, between two readings of ``cpu_seconds``."""
    seconds, everyone, own = (later - earlier for later, earlier in zip(now, before, strict=True))
    return (everyone - own) / seconds


def cpu_seconds() -> tuple[float, float, float]:
    """The time, and the CPU time of all processes and of this one until then, in seconds."""
    cores = psutil.cpu_times()
    everyone = sum(getattr(cores, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq"))
    return time.monotonic(), everyone, time.process_time()


def readings(look: Callable[[], tuple[float, float, float]] = cpu_seconds, look_s: float = LOOK_S) -> Iterator[float]:
    """How many cores other processes use, from one look to the next, for as long as the program lives."""
    before = look()
    while True:
        time.sleep(look_s)
        now = look()
        yield busy_others(before, now)
        before = now


def do_nothing(until: Event) -> None:
    """Has the library's threads and then waits: the library counts them from the first work they share until this thread ends."""
    torch.zeros(LARGE).add_(1)
    until.wait()


def watch(busy_cores: Iterable[float], keep: Callable[[Event], None] = do_nothing) -> None:
    """Keeps threads that do nothing while other processes are busy, until the readings end."""
    free: Event | None = None
    for busy in busy_cores:
        if busy > FREE and free is None:
            free = Event()
            Thread(target=keep, args=(free,), name="fsod-idle", daemon=True).start()
        elif free is not None and busy <= FREE:
            free.set()
            free = None
    if free is not None:
        free.set()
