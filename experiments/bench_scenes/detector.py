"""The one detector that all scene benchmarks show windows to, with clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fsod.boxes import Detections
from fsod.config import Precision, RunSettings
from fsod.engine.device import choose_machine
from fsod.engine.infer import BatchDetector, batch_detector, warm_up
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import checkpoint_of, load_bank

WINDOW_PX, OVERLAP_PX, SCORE, BATCH = 640, 160, 0.25, 4  # fsod's defaults


@dataclass(frozen=True)
class Weights:
    """A class bank, and the weights if they are not where the bank says."""

    bank: Path
    checkpoint: Path | None


class Timed(nn.Module):
    """A network that counts the seconds spent in it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seconds = 0.0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As the network."""
        started = time.perf_counter()
        found = self.network(images)
        if images.is_cuda:
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - started
        return cast(tuple[Tensor, Tensor], found)


class Clocked:
    """A detector that counts the seconds spent in it: network, tensors from pixels, suppression within a window."""

    def __init__(self, detect: BatchDetector) -> None:
        self.detect = detect
        self.seconds = 0.0

    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        """As the detector."""
        started = time.perf_counter()
        found = self.detect(images)
        self.seconds += time.perf_counter() - started
        return found


def timed_detector(weights: Weights, precision: Precision, batch: int) -> tuple[BatchDetector, Timed, tuple[str, ...]]:
    """A detector that is warm for batches of one size, the clock of its network, and its class names."""
    loaded = load_checkpoint(weights.checkpoint or checkpoint_of(weights.bank))
    bank = load_bank(weights.bank, loaded.detector)
    settings = RunSettings.model_validate(loaded.settings).evaluate
    detect = batch_detector(loaded, bank, choose_machine(precision), settings, SCORE)
    clock = Timed(detect.network)
    detect = replace(detect, network=clock)
    warm_up(detect, batch, WINDOW_PX)
    clock.seconds = 0.0
    return detect, clock, bank.class_names
