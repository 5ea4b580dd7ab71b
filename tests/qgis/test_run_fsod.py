"""Running a program as the plugin does: what it says is passed on, and nothing of it is left when it is cancelled."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from fsod.qgis.run_fsod import Audience, Outcome, run_fsod


@dataclass
class Listener:
    """Keeps what it hears; cancels as soon as it hears a certain line."""

    cancel_at: str = "never"
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    percents: list[float] = field(default_factory=list)

    def audience(self) -> Audience:
        return Audience(self.said.append, self.warned.append, self.percents.append, lambda: self.cancel_at in self.said)


@dataclass
class Program:
    """Stands in for fsod: a script of a few lines."""

    path: Path

    def run(self, body: str, listener: Listener, patience_s: float = 5, bars: int = 1) -> Outcome:
        self.path.write_text(f"#!{sys.executable} -S\nimport os, sys, time\n{body}")
        self.path.chmod(0o755)
        return run_fsod(self.path, ["predict", "-x"], listener.audience(), bars=bars, patience_s=patience_s)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "fsod")


def test_progress_messages_and_the_result(program: Program) -> None:
    listener = Listener()
    outcome = program.run(
        """
print("windows: 1/4, 1 s, 1/s, 3 s left", file=sys.stderr)
print("warning: has no CRS", file=sys.stderr)
print("windows: 4/4, 4 s, 1/s", file=sys.stderr)
print("layer: found.gpkg")
print("next: fsod report found.gpkg")
assert sys.argv[1:4] == ["predict", "-x", "--json"]
open(sys.argv[4], "w").write('{"found": {"ship": 2}}')
""",
        listener,
    )
    assert outcome == Outcome(0, False, {"found": {"ship": 2}})
    assert listener.percents == [25.0, 100.0]
    assert listener.warned == ["warning: has no CRS"]
    assert "layer: found.gpkg" in listener.said
    assert not any(line.startswith("next:") for line in listener.said), "says nothing of a command line"


def test_bars_share_the_progress(program: Program) -> None:
    listener = Listener()
    body = """
for name in "ab":
    for done in range(1, 101):
        print(f"{name}.tif: windows: {done}/100, 1 s")
"""
    program.run(body, listener, bars=2)
    assert (listener.percents[0], listener.percents[99], listener.percents[-1]) == (0.5, 50.0, 100.0)
    assert len(listener.said) == 2 * 11, "one line for each tenth"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("sys.stderr.write('fsod: x.tif: is not there\\n'); sys.exit(2)", "x.tif: is not there"),
        (
            "print('Usage: fsod'); sys.stderr.write('\\nError: Invalid value for --nodata\\n'); sys.exit(2)",
            "Invalid value for --nodata",
        ),
        ("print('loading'); sys.exit(1)", "fsod ended with status 1; the last it said: loading"),
        ("os.kill(os.getpid(), 9)", "fsod was ended by signal 9; the last it said: nothing"),
    ],
)
def test_what_went_wrong(program: Program, body: str, error: str) -> None:
    outcome = program.run(body, Listener())
    assert (outcome.error, outcome.cancelled) == (error, False)


WITH_CHILD = """
import subprocess
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
print("ready", flush=True)
"""


@pytest.mark.parametrize(
    ("deaf", "patience_s"), [("sys.stdin.read(); sys.exit(130)", 5), ("time.sleep(60)", 0.3)], ids=["polite", "deaf"]
)
def test_cancelling_leaves_nothing_running(program: Program, deaf: str, patience_s: float) -> None:
    listener = Listener(cancel_at="ready")
    started_s = time.monotonic()
    outcome = program.run(WITH_CHILD + deaf, listener, patience_s)
    assert time.monotonic() - started_s < 20, "60 s if it waited for them"
    assert (outcome.cancelled, outcome.error) == (True, "")
    assert ("killed" in " ".join(listener.warned)) == ("sleep" in deaf)
    child = int(listener.said[0].split()[1])
    while runs(child):
        assert time.monotonic() - started_s < 10, "still there"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process is at work; one that has ended may still be listed."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("ignored", ["", "signal.signal(signal.SIGINT, signal.SIG_IGN)"], ids=["", "in the background"])
def test_fsod_takes_the_end_of_its_input_for_ctrl_c(ignored: str) -> None:
    """Which the plugin closes, and a QGIS that has crashed leaves closed; also where a shell has Ctrl-C ignored."""
    code = f"""
import signal
{ignored}
from fsod.cli.end_of_input import stop_at_end_of_input
import time
stop_at_end_of_input()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("stopped")
"""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "FSOD_DRIVEN": "1"}
    with subprocess.Popen(command, stdin=-1, stdout=-1, env=environment, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.stdout.read() == "stopped\n"
