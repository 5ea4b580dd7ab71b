"""Progress on the screen: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fsod.about import DRIVEN
from fsod.errors import escaped


class _Screen(Console):
    """Writes texts so that none of them, whatever file it comes from, tells the terminal to do something."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401, they are rich's
        """As rich's."""
        super().print(*(escaped(thing) if isinstance(thing, str) else thing for thing in objects), **options)


def say(text: str) -> None:
    """Prints a line of the result, as ``console`` prints what is said on the way."""
    print(escaped(text), flush=True)


console = _Screen(stderr=True, soft_wrap=True, markup=False, highlight=False)
LINE_EVERY_S = 1.0 if DRIVEN else 20.0


def warn(warnings: Iterable[str]) -> None:
    """Prints what a user should know, a line each."""
    for warning in warnings:
        console.print(f"warning: {warning}")


@dataclass
class Bar:
    """A running bar.

    Attributes:
        name: what is being done.
        total: how many steps it takes.
        done: how many are done.
    """

    name: str
    total: int
    done: int = 0
    _progress: Progress | None = None
    _task: TaskID | None = None
    _started_s: float = field(default_factory=time.monotonic)
    _last_line_s: float = field(default_factory=time.monotonic)
    _counted_from: tuple[int, float] | None = None  # the first report: an interrupted work has steps behind it already

    def advance(self) -> None:
        """One more step is done."""
        self.advance_to(self.done + 1)

    def of(self, done: int, total: int) -> None:
        """``done`` of ``total`` steps are done, for work whose length shows itself on the way."""
        self.total = total
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=total)
        self.advance_to(done)

    def advance_to(self, done: int, note: str = "") -> None:
        """``done`` steps are done; ``note`` is shown beside the bar."""
        now_s = time.monotonic()
        fresh = self._counted_from is None
        self.done, self._counted_from = done, self._counted_from or (done, now_s)
        if self._progress is not None and self._task is not None:
            if fresh:
                self._progress.reset(self._task, completed=done, note=note)
            else:
                self._progress.update(self._task, completed=done, note=note)
        elif now_s - self._last_line_s >= LINE_EVERY_S or done >= self.total:
            self._last_line_s = now_s
            parts = [f"{self.name}: {done}/{self.total}", f"{now_s - self._started_s:.0f} s", *self._pace(now_s), note]
            console.print(", ".join(part for part in parts if part))

    def _pace(self, now_s: float) -> list[str]:
        """Rate and time left, as soon as they are known."""
        before, since_s = self._counted_from or (self.done, now_s)
        if self.done <= before or now_s <= since_s:
            return []
        rate = (self.done - before) / (now_s - since_s)
        left = [f"{(self.total - self.done) / rate:.0f} s left"] if self.done < self.total else []
        return [f"{rate:.3g}/s", *left]


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress_bar(name: str, total: int) -> Iterator[Bar]:
    """A bar for a known number of steps; lines where there is no terminal, or threads would fight for it."""
    name = escaped(name)
    if not console.is_terminal or threading.current_thread() is not threading.main_thread():
        yield Bar(name, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        yield Bar(name, total, _progress=progress, _task=progress.add_task(name, total=total, note=""))
