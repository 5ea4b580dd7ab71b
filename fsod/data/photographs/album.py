"""Photographs and what stands out in them, found when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fsod.data.photographs.standing_out import Thing, find_things


class Album:
    """Unlabelled photographs.

    Args:
        photographs: (H, W, 3) uint8 RGB each, of any sizes.
    """

    def __init__(self, photographs: Sequence[NDArray[np.uint8]]) -> None:
        self.photographs = photographs
        self._things: dict[int, list[Thing]] = {}

    def __len__(self) -> int:
        return len(self.photographs)

    def things(self, i: int) -> list[Thing]:
        """What stands out in photograph ``i``."""
        if i not in self._things:
            self._things[i] = find_things(self.photographs[i])
        return self._things[i]
