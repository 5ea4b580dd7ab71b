"""Learning from verdicts: ``fsod finetune`` and then ``fsod predict``, each as a process of its own."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fsod.errors import UserError
from fsod.store.any_header import read_any_header

FSOD = (sys.executable, "-P", "-m", "fsod")
"""-P: what lies in the working folder, beside somebody's scenes, is not code of fsod."""

KEPT_LINES = 8
"""Last lines of what the processes say that the page shows."""

_PATIENCE_S = 20.0
_BAR = re.compile(r"(?P<what>[^:]+): (?P<done>\d+)/(?P<total>\d+)")

State = Literal["idle", "running", "done", "failed", "stopped"]


@dataclass(frozen=True)
class Round:
    """One way round the loop.

    Attributes:
        scene: the raster, as the user named it.
        bank: what the layer was found with.
        verdicts: layers that hold verdicts.
        layer: name of their layer inside the file, where a file has several.
        areas: files of areas in which everything is marked.
        minutes: for the training.
        seeing: ``--bands`` and ``--nodata`` of both commands.
        detector: file to write.
        found: layer to write.
    """

    scene: str
    bank: Path
    verdicts: Sequence[Path]
    layer: str | None
    areas: Sequence[Path]
    minutes: float
    seeing: Sequence[str]
    detector: Path
    found: Path

    def commands(self) -> dict[str, list[str]]:
        """What is run, in order: name of the step -> arguments of ``fsod``."""
        known = [option for path in self.verdicts for option in ("--verdicts", str(path))]
        known += ["--layer", self.layer] if self.layer and known else []
        known += [option for path in self.areas for option in ("--area", str(path))]
        learn = [*start_from(self.bank), "--scene", self.scene, *known, *self.seeing]
        written = ["--minutes", f"{self.minutes:g}", "--out", str(self.detector), "--restart"]
        find = [self.scene, "--bank", str(self.detector), *self.seeing, "--out", str(self.found)]
        return {"finetune": ["finetune", *learn, *written], "predict": ["predict", *find]}


def start_from(bank: Path) -> list[str]:
    """Options of ``fsod finetune`` that go on from a bank: with its marks where it has kept them, else from its weights.

    Raises:
        UserError: no bank, or an exported one, which cannot learn.
    """
    if bank.suffix.lower() == ".onnx":
        raise UserError(f"{bank}: an exported network cannot learn; name the bank that it was made of (--bank)")
    header = read_any_header(bank, "a class bank")
    if (header.get("learned_from") or {}).get("marks"):
        return ["--from", str(bank)]
    if (weights := header.get("checkpoint")) == "shipped":
        return []
    checkpoint = bank.parent / weights if weights else bank
    if not checkpoint.is_file():
        raise UserError(
            f"{bank}: its weights, {checkpoint}, are not there; put them back, or name another bank (--bank)"
        )
    return ["--checkpoint", str(checkpoint)]


def check_weights(bank: Path) -> None:
    """UserError where the weights beside a class bank are not those that it was made for; reads them, which takes seconds."""
    header = read_any_header(bank, "a class bank")
    name = header.get("checkpoint") or "shipped"
    if name != "shipped":
        from fsod.store.checkpoint import load_checkpoint, weights_sha256

        if weights_sha256(load_checkpoint(bank.parent / name).detector) != header.get("weights_sha256"):
            raise UserError(
                f"{bank}: was made for other weights than {name} now holds; put those back, or name another bank (--bank)"
            )


def next_files(layer: Path) -> tuple[Path, Path]:
    """Names beside a layer for the next detector and the next layer, the first that nothing has: found-2, found-3, ...

    A number at the end is that of a round only where the layer without it is there.
    """
    stem = re.sub(r"-\d+$", "", layer.stem)
    stem = stem if layer.with_name(stem + layer.suffix).exists() else layer.stem
    number = next(n for n in itertools.count(2) if not list(_files_of(layer.parent, f"{stem}-{n}")))
    name = f"{stem}-{number}"
    return layer.with_name(f"{name}.detector.safetensors"), layer.with_name(name + layer.suffix)


@dataclass
class Learning:
    """A round that is being run, or the last one that was.

    Attributes:
        state: of the round.
        step: ``finetune`` or ``predict``.
        done: steps or windows that are behind, of ``total``.
        total: 0 where it is not known yet.
        lines: what the processes said last.
        error: why it failed, in one line.
        started_s: on the clock of ``time.monotonic``.
        minutes: that were asked for.
    """

    state: State = "idle"
    step: str = ""
    done: int = 0
    total: int = 0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    error: str = ""
    started_s: float = 0.0
    minutes: float = 0.0
    _process: subprocess.Popen[str] | None = None
    _thread: threading.Thread | None = None
    _stopping: bool = False

    def start(self, this: Round, then: Callable[[Round], None]) -> None:
        """Runs a round in the background, and ``then``, in the same thread, where it succeeds."""
        commands = this.commands()
        self.state, self.error, self.minutes, self._stopping = "running", "", this.minutes, False
        self.lines.clear()
        self.started_s = time.monotonic()
        self._begin(next(iter(commands)))
        self._thread = threading.Thread(target=self._run, args=(this, commands, then), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends a round that is running; what it has written so far is removed."""
        if self.state == "running":
            self._stopping = True
            process = self._process
            if process is not None:
                _end(process)
            if self._thread is not None:
                self._thread.join(_PATIENCE_S)

    def _run(self, this: Round, commands: dict[str, list[str]], then: Callable[[Round], None]) -> None:
        try:
            check_weights(this.bank)
            for step, arguments in commands.items():
                self._begin(step)
                self._say(arguments)
                if self._stopping:
                    break
            if self._stopping:
                self.state = "stopped"
            else:
                then(this)
                self.state = "done"  # whoever stops it meanwhile comes too late
        except (UserError, OSError) as error:
            self.error = str(error)
            self.state = "stopped" if self._stopping else "failed"
        finally:
            if self.state == "running":  # an error that nobody foresaw; the thread prints it
                self.state, self.error = "failed", "an error that fsod does not know; the terminal says more"
            if self.state != "done":
                _remove(this)

    def _begin(self, step: str) -> None:
        self.step, self.done, self.total = step, 0, 0

    def _say(self, arguments: list[str]) -> None:
        """Runs one command to its end and takes down what it says; UserError with its last line where it fails."""
        # a session of its own: Ctrl-C at the terminal is for the server, which then ends it; where the server is killed, its end
        # of the standard input closes, which the process takes for Ctrl-C
        self._process = subprocess.Popen(
            [*FSOD, *arguments],
            env={**os.environ, "FSOD_DRIVEN": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        if self._stopping:
            _end(self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        last = ""
        for line in self._process.stdout:
            if text := line.strip():
                last = text
                self.lines.append(text)
                if bar := _BAR.match(text):
                    self.done, self.total = int(bar["done"]), int(bar["total"])
        status = self._process.wait()
        self._process.stdin.close()
        if status and not self._stopping:
            raise UserError(last.removeprefix("fsod: ") or f"fsod {arguments[0]} ended with status {status}")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _files_of(folder: Path, name: str) -> Iterator[Path]:
    """Everything of one name with any ending, locks of a process that was ended too."""
    return (path for path in folder.iterdir() if path.name.removeprefix(".").startswith(f"{name}."))


def _remove(this: Round) -> None:
    """Removes what an unfinished round has left; ``next_files`` gave it names that were nobody else's."""
    for path in list(_files_of(this.found.parent, this.found.stem)):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
