"""Progress on the screen: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
LINE_EVERY_S = 20.0


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
    _started: float = field(default_factory=time.monotonic)
    _last_line: float = field(default_factory=time.monotonic)

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
        self.done = done
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_S or done >= self.total:
            self._last_line = now
            console.print(f"{self.name}: {done}/{self.total}, {now - self._started:.0f} s {note}".rstrip())


@contextmanager
def progress_bar(name: str, total: int) -> Iterator[Bar]:
    """A bar for a known number of steps."""
    if not console.is_terminal:
        yield Bar(name, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        yield Bar(name, total, _progress=progress, _task=progress.add_task(name, total=total, note=""))
