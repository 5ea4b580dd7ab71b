"""Runs ``fsod`` as a process of its own: passes on what it says, and stops it. Knows nothing of QGIS."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .find_fsod import environment_of_fsod

LOOK_EVERY_S = 0.1
REST_S = 0.5
"""How long the last that a command said may take to arrive."""

PATIENCE_S = 20.0
"""How long a command has to stop in its own way."""

_BAR = re.compile(r"(?P<name>.+): (?P<done>\d+)/(?P<total>\d+), ")
_ERRORS = ("fsod: ", "Error: ")
"""Start of the line that says what was wrong; the second is about an option."""

_TOLD_NOBODY = "next: "
"""Start of the line that tells which command to type next."""


@dataclass
class Audience:
    """Who listens to a command; called in the thread that ``run_fsod`` is called in.

    Attributes:
        say: takes a line.
        warn: takes a line that needs attention.
        progress: takes 0..100.
        cancelled: whether to stop.
    """

    say: Callable[[str], None]
    warn: Callable[[str], None]
    progress: Callable[[float], None]
    cancelled: Callable[[], bool]


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        status: its exit status; 0 is success.
        cancelled: whether it was told to stop.
        result: what it wrote as its result; empty if it wrote none.
        error: what was wrong; empty on success.
    """

    status: int
    cancelled: bool
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def run_fsod(
    executable: Path, arguments: Sequence[str], audience: Audience, *, bars: int = 1, patience_s: float = PATIENCE_S
) -> Outcome:
    """Runs a command to its end, or until the audience wants no more of it.

    A command that is cancelled, or whose parent is gone, finds its standard input closed, which ``FSOD_DRIVEN`` makes the same
    as Ctrl-C. What is left of it and its children after its time is killed.

    Args:
        executable: of fsod.
        arguments: subcommand and options; ``--json`` is added.
        audience: who listens.
        bars: how many bars of progress the command shows one after the other.
        patience_s: time to stop in.

    Raises:
        OSError: the executable cannot be started.
    """
    with TemporaryDirectory(prefix="fsod-") as folder:
        result = Path(folder) / "result.json"
        process = _start([str(executable), *arguments, "--json", str(result)])
        try:
            outcome = _attend(process, _Listener(audience, bars), audience.cancelled, patience_s)
        finally:
            if process.poll() is None:
                _kill(process)
            if process.stdin is not None:
                process.stdin.close()
        if result.is_file():
            outcome.result = json.loads(result.read_text(encoding="utf-8"))
        return outcome


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    # a group of its own, so that children of it are stopped with it, and a Ctrl-C meant for others is not
    alone: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        alone = {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment_of_fsod(os.environ),
        encoding="utf-8",
        errors="replace",
        **alone,
    )


def _attend(
    process: subprocess.Popen[str], listener: _Listener, wants_end: Callable[[], bool], patience_s: float
) -> Outcome:
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    deadline_s: float | None = None
    ended = at_end = False
    while True:
        try:
            line = lines.get(timeout=REST_S if ended else LOOK_EVERY_S)
        except queue.Empty:
            if ended:  # a child of it may hold the pipe open
                break
        else:
            at_end = at_end or line is None
            if line is not None:
                listener.hear(line)
        ended = process.poll() is not None
        if ended and at_end:
            break
        if deadline_s is None and wants_end() and process.stdin is not None:
            deadline_s = time.monotonic() + patience_s
            process.stdin.close()
        if deadline_s is not None and time.monotonic() > deadline_s:
            listener.audience.warn("fsod did not stop in time and was killed")
            _kill(process)
            break
    status = process.wait()
    if deadline_s is not None:
        _kill(process)  # children that outlive it
    error = "" if status == 0 or deadline_s is not None else listener.error(status)
    return Outcome(status, deadline_s is not None, error=error)


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line.rstrip("\n"))
    lines.put(None)


def _kill(process: subprocess.Popen[str]) -> None:
    """The process and its children."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        with suppress(ProcessLookupError, PermissionError):  # the latter on macOS, of a group that has ended
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Listener:
    """Tells progress, warnings and errors from the rest of what fsod says."""

    def __init__(self, audience: Audience, bars: int) -> None:
        self.audience = audience
        self._bars, self._seen, self._tenth = bars, list[str](), -1
        self._errors, self._last = list[str](), ""

    def hear(self, line: str) -> None:
        bar = _BAR.match(line)
        if bar is not None:
            self._advance(bar.group("name"), int(bar.group("done")), int(bar.group("total")), line)
        elif line.startswith(_ERRORS):
            self._errors.append(line.partition(": ")[2])
        elif line.startswith(("warning: ", "failed: ")):
            self.audience.warn(line)
        elif line.strip() and not line.startswith(_TOLD_NOBODY):
            self._last = line
            self.audience.say(line)

    def error(self, status: int) -> str:
        """What was wrong; a program that was ended from outside, or does not know itself, leaves its last line at most."""
        if self._errors:
            return " ".join(self._errors)
        by = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"fsod {by}; the last it said: {self._last or 'nothing'}"

    def _advance(self, name: str, done: int, total: int, line: str) -> None:
        if name not in self._seen:
            self._seen.append(name)
            self._tenth = -1
        part = done / total if total else 0.0
        self.audience.progress(min(100.0, 100 * (len(self._seen) - 1 + part) / max(self._bars, len(self._seen))))
        if int(10 * part) > self._tenth:  # one line per second would bury the others
            self._tenth = int(10 * part)
            self.audience.say(line)
