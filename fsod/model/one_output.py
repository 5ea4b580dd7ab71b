"""The inference network with one output, in the layout of YOLOv8 and its like, which others' software decodes without fsod.

That software has one threshold for all classes, while a bank has one for each class. So each class's scores are rescaled until
its threshold is the common one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHOWN_FROM = 0.25
"""The one threshold. Also what ultralytics takes unless it is told otherwise."""

LEAST, MOST = 1e-3, 1 - 1e-3  # thresholds that scores are rescaled by; 0 and 1 would leave nothing below or above them


class OneOutput(nn.Module):
    """A network whose only output holds boxes and rescaled scores.

    Args:
        network: for N classes, from images to boxes and scores as ``BakedDetector``.
        shown_from: (N,) from which score on detections of each class are worth showing, in 0..1.
    """

    shown_from: Tensor

    def __init__(self, network: nn.Module, shown_from: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shown_from", _column(shown_from))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float in 0..1, sides multiples of 32 -> (B, 4 + N, L) float32.

        Rows are a box's centre x, y, its width and height, in pixels, and the rescaled score of each class.
        """
        boxes, scores = self.network(images)
        corner, opposite = boxes.transpose(1, 2).split(2, 1)
        return torch.cat([(corner + opposite) / 2, opposite - corner, rescale(scores, self.shown_from, SHOWN_FROM)], 1)


def boxes_and_scores(output: Tensor, shown_from: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """What a ``OneOutput`` was made of: (B, 4 + N, L) -> boxes_xyxy_px (B, L, 4) and scores (B, N, L) of ``BakedDetector``."""
    centre, size, scores = output.split([2, 2, output.shape[1] - 4], 1)
    boxes = torch.cat([centre - size / 2, centre + size / 2], 1).transpose(1, 2)
    return boxes, rescale(scores, SHOWN_FROM, _column(shown_from))


def rescale(scores: Tensor, of: Tensor | float, to: Tensor | float) -> Tensor:
    """Maps 0..1 onto itself in two straight pieces that meet where ``of`` becomes ``to``; the way back swaps these two."""
    above = to + (scores - of) * ((1 - to) / (1 - of))  # so that ``of`` itself becomes ``to`` to the last bit
    return torch.where(scores < of, scores * (to / of), above).clamp(max=1)


def _column(shown_from: tuple[float, ...]) -> Tensor:
    return torch.tensor(shown_from)[:, None].clamp(LEAST, MOST)
