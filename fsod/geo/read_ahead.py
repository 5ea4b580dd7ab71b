"""Reads windows into batches ahead of the network, in one thread with its own handle of the scene."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.blank import gaps_in, is_blank
from fsod.geo.scene import Scene
from fsod.geo.windows import STEP_PX, Grid

AHEAD = 2
"""Batches that are ready or being read while the caller is busy with an earlier one."""

BLANKS_AT_ONCE = 100
"""Blank windows that are handed on at once: in an empty part of a scene no batch ever fills."""


@dataclass(frozen=True)
class Reading:
    """Which windows are read, and into what batches.

    Attributes:
        scene: read by a handle of its own.
        grid: its windows.
        indices: which of them, in this order.
        batch: windows per batch.
        window_px: side of a window.
        skip_damaged: go on where pixels cannot be read.
        ends: no batch is begun from then on, as of ``time.monotonic``; None: all windows are read.
        class_ids: of the classes that a detector is asked for there; None: all of them.
    """

    scene: Scene
    grid: Grid
    indices: Sequence[int]
    batch: int
    window_px: int
    skip_damaged: bool
    ends: float | None = None
    class_ids: tuple[int, ...] | None = None

    @property
    def is_over(self) -> bool:
        """Whether time is up."""
        return self.ends is not None and time.monotonic() >= self.ends


@dataclass
class Batch:
    """Windows that were read, by their numbers in the grid.

    Attributes:
        images: (batch, H, W, 3) uint8 RGB, padded with 0 at the right and bottom to multiples of 32; the last ones are empty
            where a batch is not full.
        valid: by number, validity (h, w) of the windows in ``images``, in their order.
        blank: windows that show nothing, which are not in ``images``.
        nodata: those of ``blank`` that have no valid pixel.
        gaps: see ``Finished``.
        damaged: by number, a message for each that could not be read.
    """

    images: NDArray[np.uint8]
    valid: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    blank: list[int] = field(default_factory=list)
    nodata: list[int] = field(default_factory=list)
    gaps: dict[int, bytes] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.valid) + len(self.blank) + len(self.damaged)

    @property
    def is_full(self) -> bool:
        """Whether it is to be handed on."""
        return len(self.valid) == len(self.images) or (not self.valid and len(self) >= BLANKS_AT_ONCE)


def read_ahead(reading: Reading) -> Generator[Batch, None, None]:
    """The windows in order, each once, until time is up.

    Raises:
        UserError: a window cannot be read and ``skip_damaged`` is not set.
    """
    with reading.scene.reopen() as own, ThreadPoolExecutor(1, "fsod-read") as thread:
        batches = _batches(replace(reading, scene=own))
        pending = deque(thread.submit(next, batches, None) for _ in range(AHEAD))
        try:
            while (read := pending.popleft().result()) is not None:
                pending.append(thread.submit(next, batches, None))
                yield read
        finally:
            thread.shutdown(cancel_futures=True)


def _batches(reading: Reading) -> Iterator[Batch]:
    sides_px = (-(-axis.window_px // STEP_PX) * STEP_PX for axis in (reading.grid.y, reading.grid.x))
    shape = reading.batch, *sides_px, 3
    read = Batch(np.zeros(shape, np.uint8))
    for index in reading.indices:
        if not len(read) and reading.is_over:
            return
        try:
            rgb, valid = reading.scene.read_window(reading.grid[index])
        except UserError as error:
            if not reading.skip_damaged:
                raise
            read.damaged[index] = str(error)
        else:
            gaps = gaps_in(valid)
            if is_blank(rgb, valid):
                read.blank.append(index)
                if gaps and not valid.any():
                    read.nodata.append(index)
                    gaps = b""
            else:
                read.images[len(read.valid), : rgb.shape[0], : rgb.shape[1]] = reading.scene.in_tone(rgb, valid)
                read.valid[index] = valid
            if gaps:
                read.gaps[index] = gaps
        if read.is_full:
            yield read
            read = Batch(np.zeros(shape, np.uint8))
    if len(read):
        yield read
