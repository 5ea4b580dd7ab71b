from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsod.model.turned import TURNS, Turned, turned_back, untwist
from fsod.model.yolov7 import STRIDES


class Bright(nn.Module):
    """A box of two strides around each location, and as a score what the image shows there, so both turn with it."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = [], []
        for stride in STRIDES:
            shown = images[:, :1, stride // 2 :: stride, stride // 2 :: stride]
            y, x = torch.meshgrid(torch.arange(shown.shape[2]), torch.arange(shown.shape[3]), indexing="ij")
            x, y = (x.flatten() + 0.5) * stride, (y.flatten() + 0.5) * stride
            own = torch.stack([x - stride, y - stride, x + stride, y + stride], 1)
            boxes.append(own.expand(len(images), -1, -1))
            scores.append(shown.flatten(2))
        return torch.cat(boxes, 1), torch.cat(scores, 2)


class UpperLeft(Bright):
    """Finds only what is in the upper left quarter of an image."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = super().forward(images)
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        return boxes, scores * (centre < torch.tensor(images.shape[:1:-1]) / 2).all(2)[:, None]


def smooth(height: int, width: int) -> Tensor:
    """Brightness that is the same in all pixels of a 32 px cell, so that a turn moves no sample."""
    cells = torch.rand(2, 3, height // 32, width // 32, generator=torch.manual_seed(0))
    return cells.repeat_interleave(32, 2).repeat_interleave(32, 3)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (64, 128)])
def test_what_turns_with_the_image_is_as_without_turns(height: int, width: int) -> None:
    images = smooth(height, width)
    boxes, scores = Turned(Bright())(images)
    expected_boxes, expected_scores = Bright()(images)
    torch.testing.assert_close(boxes, expected_boxes.float())
    torch.testing.assert_close(scores, expected_scores)


def test_the_mean_is_over_all_turns() -> None:
    """What sees a quarter of an image sees each place in one turn of four."""
    images = smooth(64, 64)
    _, scores = Turned(UpperLeft())(images)
    torch.testing.assert_close(scores[..., :64], Bright()(images)[1][..., :64] / TURNS)


def test_a_box_by_hand() -> None:
    image = np.zeros((32, 64))
    image[4:10, 40:60] = 1
    for turn in range(TURNS):
        ys, xs = np.nonzero(np.rot90(image, turn))
        box = torch.tensor([[[xs.min()], [ys.min()], [xs.max() + 1], [ys.max() + 1]]], dtype=torch.float32)
        assert turned_back(box, turn, (32, 64)).flatten().tolist() == [40, 4, 60, 10]


def test_locations_come_level_by_level() -> None:
    order = torch.arange(32 * 64 // 64 + 32 * 64 // 256 + 32 * 64 // 1024, dtype=torch.float32)[None, None]
    assert torch.equal(untwist(order, 0, (32, 64)), order)
    assert untwist(order, 2, (32, 64))[0, 0, :32].tolist() == list(range(31, -1, -1))
