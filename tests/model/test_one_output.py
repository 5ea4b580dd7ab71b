from __future__ import annotations

import numpy as np
import pytest
import torch

from fsod.model.one_output import SHOWN_FROM, OneOutput, boxes_and_scores, rescale

SHOWN = 0.01, 0.25, 0.9


class Said(torch.nn.Module):
    """A network that says what it was told to, whatever it sees."""

    def __init__(self, boxes: torch.Tensor, scores: torch.Tensor) -> None:
        super().__init__()
        self.said = boxes, scores

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.said


@pytest.mark.parametrize("shown_from", [0.001, 0.1, SHOWN_FROM, 0.8, 0.999])
def test_scores_are_rescaled_to_one_threshold_in_their_order(shown_from: float) -> None:
    scores = torch.linspace(0, 1, 1001)
    least = torch.tensor(shown_from)
    there = rescale(scores, least, SHOWN_FROM)
    np.testing.assert_allclose(there, np.interp(scores, [0, float(least), 1], [0, SHOWN_FROM, 1]), atol=1e-6)
    assert (there.diff() > 0).all()
    assert ((there >= SHOWN_FROM) == (scores >= least)).all()
    np.testing.assert_allclose(rescale(there, SHOWN_FROM, least), scores, rtol=1e-6, atol=1e-6)


def test_what_goes_in_comes_out_again() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2, 50, 2, generator=generator) * 600
    boxes = torch.cat([corner, corner + torch.rand(2, 50, 2, generator=generator) * 300], 2)
    scores = torch.rand(2, 3, 50, generator=generator)
    output = OneOutput(Said(boxes, scores), SHOWN)(torch.zeros(2, 3, 64, 64))
    assert output.shape == (2, 7, 50)
    np.testing.assert_allclose(output[:, 2:4].transpose(1, 2), boxes[..., 2:] - boxes[..., :2], atol=1e-3)
    for least, own, rescaled in zip(SHOWN, scores[0], output[0, 4:], strict=True):
        np.testing.assert_array_equal(rescaled >= SHOWN_FROM, own >= least)
    again = boxes_and_scores(output, SHOWN)
    np.testing.assert_allclose(again[0], boxes, atol=1e-3)
    np.testing.assert_allclose(again[1], scores, atol=1e-6)


@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_a_class_that_is_always_or_never_shown_keeps_its_scores(extreme: float) -> None:
    scores = torch.linspace(0, 1, 101)[None, None]
    output = OneOutput(Said(torch.zeros(1, 101, 4), scores), (extreme,))(torch.zeros(1, 3, 64, 64))
    assert torch.isfinite(output).all()
    np.testing.assert_allclose(boxes_and_scores(output, (extreme,))[1], scores, atol=1e-4)
