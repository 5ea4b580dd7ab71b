"""Steps a second alone, beside a Python loop and beside a training in torch, with each way for OpenMP's threads to wait.

    .venv/bin/python -m experiments.contention.contention [--seconds 4] [--rounds 3] [--work train finetune enroll]

Ways take turns, so that what else the machine does falls on all alike. Writes results.json beside this file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from fsod.data.coco_folder import write_json

HERE = Path(__file__).parent
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
WAYS = {
    "libraries' own": {"GOMP_SPINCOUNT": "300000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "fsod's": {},
}
"""What is set before torch is loaded; with nothing set, ``fsod`` sets its own. 300,000 is libgomp's for nothing set."""

BUSY_LOOP = "while True: pass"


class Work:
    """A program that works when it is told to."""

    def __init__(self, kind: str, waiting: dict[str, str]) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in WAITING} | waiting
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.contention.work", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def say(self, line: str) -> None:
        """For how many seconds to work."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """What it says, once it has."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> None:
        """At once."""
        self.process.kill()
        self.process.wait()


@contextmanager
def beside(what: str) -> Iterator[None]:
    """Something else that is busy meanwhile."""
    if what == "alone":
        yield
        return
    if what == "loop":
        busy = subprocess.Popen([sys.executable, "-c", BUSY_LOOP])
        try:
            yield
        finally:
            busy.kill()
            busy.wait()
        return
    other = Work("train", WAYS["libraries' own"])
    try:
        other.hear()
        other.say("3600")
        yield
    finally:
        other.end()


def measure(kind: str, ways: dict[str, dict[str, str]], seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Median steps per second by what is beside it and by the way of waiting."""
    rates: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        works = {way: Work(kind, waiting) for way, waiting in ways.items()}
        for work in works.values():
            stack.callback(work.end)
        for work in works.values():
            work.hear()
        for what in ("alone", "loop", "torch"):
            with beside(what):
                for _ in range(rounds):
                    for way, work in works.items():
                        work.say(str(seconds))
                        rates.setdefault(what, {}).setdefault(way, []).append(float(work.hear()))
            print(kind, what, {way: round(statistics.median(own), 3) for way, own in rates[what].items()}, flush=True)
    return {what: {way: statistics.median(own) for way, own in of.items()} for what, of in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs="+", default=["train", "finetune", "enroll"])
    parser.add_argument("--spins", nargs="*", default=[], help="further counts of GOMP_SPINCOUNT to try")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    ways = WAYS | {f"spins {count}": {"GOMP_SPINCOUNT": count} for count in arguments.spins}
    found = {kind: measure(kind, ways, arguments.seconds, arguments.rounds) for kind in arguments.work}
    for kind, rates in found.items():
        for way in ways:
            alone, loop, other = (rates[what][way] for what in ("alone", "loop", "torch"))
            print(
                f"{kind:9} {way:16} alone {alone:6.2f}/s  beside a loop {loop / alone:.2f} of it, beside torch {other / alone:.2f}"
            )
    write_json(
        arguments.out,
        {"steps_per_s": found, "threads": torch.get_num_threads(), "cores": os.cpu_count(), "load": os.getloadavg()},
    )


if __name__ == "__main__":
    main()
