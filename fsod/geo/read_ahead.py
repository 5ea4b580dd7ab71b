"""Windows read ahead of the network, by one thread with a handle of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.blank import is_blank
from fsod.geo.scene import Scene
from fsod.geo.windows import Grid, Window


@dataclass(frozen=True)
class WindowRead:
    """A window by its number in the grid: its pixels, (h, w, 3) and (h, w).

    None where it is blank, or damaged, which then says how.
    """

    index: int
    window: Window
    pixels: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None
    damage: str | None = None


def read_ahead(
    scene: Scene, grid: Grid, indices: Sequence[int], depth: int, skip_damaged: bool
) -> Generator[WindowRead, None, None]:
    """The windows at ``indices`` of the grid in order, ``depth`` of them read or being read while the caller is busy with an earlier one.

    Raises:
        UserError: a window cannot be read and ``skip_damaged`` is not set.
    """
    with scene.reopen() as own, ThreadPoolExecutor(1, "fsod-read") as thread:

        def read(index: int) -> WindowRead:
            window = grid[index]
            try:
                rgb, valid = own.read_window(window)
            except UserError as error:
                if not skip_damaged:
                    raise
                return WindowRead(index, window, None, str(error))
            return WindowRead(index, window, None if is_blank(rgb, valid) else (rgb, valid))

        pending: deque[Future[WindowRead]] = deque()
        try:
            for index in indices:
                pending.append(thread.submit(read, index))
                if len(pending) > depth:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)
