"""Work in a fork of this process: all is imported already, and what the work breaks, changes or uses up stays there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch

_CONTEXT = multiprocessing.get_context("fork")
MOST_S = 300
"""That anything here may take on a machine that has much else to do."""


class Forked:
    """A process at some work."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._told, tell = _CONTEXT.Pipe(duplex=False)

        def tell_what_came_of_it() -> None:
            torch.set_num_threads(1)  # threads of OpenMP do not survive a fork
            tell.send(work())

        self.process = _CONTEXT.Process(target=tell_what_came_of_it, daemon=True)
        self.process.start()
        tell.close()

    def exit_code(self) -> int:
        """Once it has ended: 0, or minus the signal that ended it."""
        self.process.join(MOST_S)
        code = self.process.exitcode
        self.process.kill()
        assert code is not None, "goes on and on"
        return code

    def answer(self) -> Any:
        """What the work returns; EOFError where the process ends without."""
        assert self._told.poll(MOST_S), "goes on and on"
        told = self._told.recv()
        self.process.join()
        return told
