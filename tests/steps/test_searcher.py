"""What a search is made ready with, on the machine that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fsod.compute.device import Machine
from fsod.config import PredictSettings
from fsod.inference.infer import BatchDetector, batch_detector
from fsod.steps import searcher
from tests.untrained import make_bank


def on_the_cpu(checkpoint: Any, bank: Any, machine: Machine, *rest: Any) -> BatchDetector:
    """A detector of another machine, as far as one without a GPU can make it."""
    return batch_detector(checkpoint, bank, Machine(torch.device("cpu"), machine.trunk_dtype), *rest)


@pytest.mark.parametrize(("device", "filled_to"), [("cpu", None), ("cuda", (2, 96, 96)), ("mps", (2, 96, 96))])
def test_a_gpu_sees_batches_of_one_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, filled_to: tuple[int, int, int] | None
) -> None:
    monkeypatch.setattr(searcher, "choose_machine", lambda _: Machine(torch.device(device), torch.float32))
    monkeypatch.setattr(searcher, "batch_detector", on_the_cpu)
    plan = PredictSettings(window_px=96, overlap_px=32, batch=2)
    made = searcher.load_searcher(make_bank(tmp_path), None, plan)
    assert made.glancer is not None
    for detect in (made.detect, made.glancer.detect):
        assert isinstance(detect, BatchDetector)
        assert detect.filled_to == filled_to
