"""From examples to class vectors, without training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fsod.compute.device import Machine
from fsod.data.support import SupportCrop
from fsod.inference import enrollment
from fsod.inference.enrollment import encode_examples
from fsod.model.detector import Detector
from fsod.model.support_encoder import ClassVectors

CPU = Machine(torch.device("cpu"), torch.float32)


def test_an_example_counts_the_same_in_whichever_turn_it_was_marked() -> None:
    torch.manual_seed(0)
    detector, rng = Detector("nano", 1).eval(), np.random.default_rng(0)
    rgb, mask = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8), np.zeros((64, 64), np.uint8)
    mask[8:24, 20:50] = 1
    crops = [SupportCrop(np.rot90(rgb, turn).copy(), np.rot90(mask, turn).copy(), 21.9) for turn in range(4)]
    crops.append(SupportCrop(rgb[:, ::-1].copy(), mask[:, ::-1].copy(), 21.9))
    first, *others = [encode_examples(detector, {"thing": [crop]}, CPU) for crop in crops]
    for other in others:
        for a, b in zip(first.vectors, other.vectors, strict=True):
            # not to the last bit: crops on a canvas see a little of their neighbours. Seen once each, they have 0.75 to 0.99
            assert torch.cosine_similarity(a, b) > 0.99


def test_of_many_examples_few_are_in_the_network_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    detector, rng = Detector("nano", 1).eval(), np.random.default_rng(0)
    mask = np.zeros((64, 64), np.uint8)
    mask[8:24, 20:50] = 1
    crops = [SupportCrop(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8), mask, 10.0 * i) for i in range(1, 8)]
    together = encode_examples(detector, {"thing": crops}, CPU)
    monkeypatch.setattr(enrollment, "AT_ONCE", 3)
    sizes, whole = [], detector.class_vectors

    def seen(pixels: torch.Tensor, sides: torch.Tensor) -> ClassVectors:
        sizes.append(pixels.shape[1])
        return whole(pixels, sides)

    monkeypatch.setattr(detector, "class_vectors", seen)
    apart = encode_examples(detector, {"thing": crops}, CPU)
    assert sizes == [24, 24, 8]
    torch.testing.assert_close(apart.size_code, together.size_code)
    for a, b in zip(apart.vectors + apart.surroundings, together.vectors + together.surroundings, strict=True):
        torch.testing.assert_close(a, b)
