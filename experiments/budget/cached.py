"""A detector that looks at each window once, whatever the run that shows it: a curve of many budgets costs one full search."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.files import atomic_write
from fsod.geo.search import Detect


@dataclass
class CachedDetector:
    """Answers from memory where it can.

    Attributes:
        detect: asked for windows that are new.
        known: hash of a window's pixels -> what the detector said.
    """

    detect: Detect
    known: dict[str, Detections] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        """(B, H, W, 3) uint8 RGB -> one Detections an image."""
        keys = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        with self._lock:  # called by two threads
            new = [i for i, key in enumerate(keys) if key not in self.known]
            if new:
                self.known |= dict(zip([keys[i] for i in new], self.detect(images[new]), strict=True))
            return [self.known[key] for key in keys]

    def save(self, path: Path) -> None:
        """Writes all answers to an .npz file."""
        found = Detections.concatenate(list(self.known.values()))
        counts = [len(own) for own in self.known.values()]
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(
                file,
                keys=list(self.known),
                counts=counts,
                boxes=found.boxes_xyxy_px,
                scores=found.scores,
                ids=found.class_ids,
            )

    def load(self, path: Path) -> None:
        """Reads the answers of an earlier run, if there was one."""
        if not path.is_file():
            return
        kept = np.load(path, allow_pickle=False)
        ends = np.cumsum(kept["counts"])
        for key, start, end in zip(kept["keys"].tolist(), ends - kept["counts"], ends, strict=True):
            own = slice(start, end)
            self.known[key] = Detections(kept["boxes"][own], kept["scores"][own], kept["ids"][own])
