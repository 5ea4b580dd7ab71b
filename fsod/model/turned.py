"""A network that looks at each image in several quarter turns, and takes the mean of what it sees.

Seen from above an object has no upright position, but a network that has learned from few marks knows them best the way they
lay. Means of test-time views are usual (e.g. ``augment=True`` of ultralytics). These are taken location by location, before
anything is suppressed, so one set of boxes comes out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsod.model.yolov7 import STRIDES

TURNS = 4
"""Quarter turns until an image lies as before."""


class Turned(nn.Module):
    """The mean over all four quarter turns.

    Args:
        network: from images to boxes and scores as ``BakedDetector``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See ``BakedDetector.forward``."""
        height, width = images.shape[2:]
        views = []
        for turn in range(TURNS):
            boxes, scores = self.network(torch.rot90(images, turn, (2, 3)))
            sides = (height, width) if turn % 2 == 0 else (width, height)
            corners, scores = untwist(boxes.transpose(1, 2), turn, sides), untwist(scores, turn, sides)
            views.append((turned_back(corners, turn, (height, width)), scores))
        boxes = torch.stack([corners for corners, _ in views]).mean(0).transpose(1, 2)
        return boxes, torch.stack([scores for _, scores in views]).mean(0)


def untwist(values: Tensor, turn: int, sides_px: tuple[int, int]) -> Tensor:
    """Puts the locations of a turned image, (B, C, L), in the order of the image as it lies.

    Args:
        values: of each location, level by level, row by row.
        turn: quarter turns, counterclockwise, by which the image was turned.
        sides_px: height and width of the turned image, multiples of 32.
    """
    rows = [(sides_px[0] // stride, sides_px[1] // stride) for stride in STRIDES]
    levels = values.split([high * wide for high, wide in rows], 2)
    maps = [level.unflatten(2, sides) for level, sides in zip(levels, rows, strict=True)]
    return torch.cat([torch.rot90(level, -turn, (2, 3)).flatten(2) for level in maps], 2)


def turned_back(corners: Tensor, turn: int, sides_px: tuple[int, int]) -> Tensor:
    """Boxes (B, 4, L) of a turned image, x1, y1, x2, y2 in pixels, in the frame of the image as it lies.

    Args:
        corners: in the turned image.
        turn: quarter turns, counterclockwise, by which the image was turned.
        sides_px: height and width of the image as it lies.
    """
    height, width = sides_px
    for done in range(turn, 0, -1):
        # one turn counterclockwise took (x, y) to (y, side - x), with the width that the image had before it
        side = width if done % 2 else height
        left, top, right, bottom = corners.unbind(1)
        corners = torch.stack([side - bottom, left, side - top, right], 1)
    return corners
