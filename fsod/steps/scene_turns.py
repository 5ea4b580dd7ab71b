"""Time that is shared out among scenes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from threading import Lock


@dataclass
class SceneTurns:
    """Gives each scene its share of the time that is left when its turn comes, so that none of them goes without.

    Attributes:
        ends: when time is up, as of ``time.monotonic``.
        scenes: that are still to come.
        at_once: of them are searched at the same time.
    """

    ends: float
    scenes: int
    at_once: int
    _lock: Lock = field(default_factory=Lock)

    def next(self) -> float:
        """When the search of the next scene is to end, as of ``time.monotonic``."""
        with self._lock:
            now = time.monotonic()
            end = now + max(0.0, self.ends - now) / math.ceil(self.scenes / self.at_once)
            self.scenes -= 1
            return end
