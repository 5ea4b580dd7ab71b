"""The one detector that all scene benchmarks show windows to, with clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.compute.device import choose_machine
from fsod.config import Precision, RunSettings
from fsod.inference.infer import BatchDetector, batch_detector, warm_up
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import checkpoint_of, load_bank

WINDOW_PX, OVERLAP_PX, SCORE, BATCH = 640, 160, 0.25, 4  # fsod's defaults


@dataclass(frozen=True)
class Weights:
    """A class bank, and the weights if they are not where the bank says."""

    bank: Path
    checkpoint: Path | None


class Clocked:
    """A detector with a clock that runs while any call is under way: network, tensors from pixels, suppression in a window."""

    def __init__(self, detect: BatchDetector) -> None:
        self.detect = detect
        self.seconds = 0.0
        self._calls, self._since = 0, 0.0
        self._lock = Lock()

    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        """As the detector."""
        self._count(1)
        try:
            return self.detect(images)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            now = time.perf_counter()
            if self._calls:
                self.seconds += now - self._since
            self._since = now
            self._calls += change


def warm_detector(weights: Weights, precision: Precision, batch: int) -> tuple[BatchDetector, tuple[str, ...]]:
    """A detector that is warm for batches of one size, and its class names."""
    loaded = load_checkpoint(weights.checkpoint or checkpoint_of(weights.bank))
    bank = load_bank(weights.bank, loaded.detector)
    settings = RunSettings.model_validate(loaded.settings).evaluate
    detect = batch_detector(loaded, bank, choose_machine(precision), settings, SCORE)
    warm_up(detect, batch, WINDOW_PX)
    return detect, bank.class_names
