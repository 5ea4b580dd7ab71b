"""Support crops: an example box with context around it and a channel that says where the box is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsod.data.crop import Square

CONTEXT = 1.5  # the crop shows at least this many times the box's longer side


@dataclass(frozen=True)
class SupportCrop:
    """One example of a class.

    Attributes:
        rgb: (S, S, 3) uint8.
        mask: (S, S) uint8, 1 where the box is.
        side_px: sqrt(width * height) of the box in its image, before the crop was resized.
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    side_px: float


def support_crop(rgb: NDArray[np.uint8], box_xyxy_px: NDArray[np.floating], size_px: int) -> SupportCrop:
    """Cuts the surroundings of a box out of an image.

    A box that fits the crop with its context is shown at native scale; a larger one is shrunk until it fits.

    Args:
        rgb: (H, W, 3) uint8.
        box_xyxy_px: (4,) left, top, right, bottom.
        size_px: side S of the crop.
    """
    box = np.asarray(box_xyxy_px, dtype=np.float64)
    sides = box[2:] - box[:2]
    square = Square.around((box[:2] + box[2:]) / 2, max(size_px, CONTEXT * sides.max()), size_px)
    x1, y1, x2, y2 = np.clip(square.boxes(box[None])[0].round().astype(int), 0, size_px)
    mask = np.zeros((size_px, size_px), np.uint8)
    mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = 1  # a box of less than a pixel still marks one
    return SupportCrop(square.pixels(rgb), mask, float(np.sqrt(sides.prod())))


def stack_supports(supports: list[list[SupportCrop]]) -> Tensor:
    """N lists of k crops -> (N, k, 4, S, S) uint8; without crops, S is 0."""
    crops = [[np.dstack([s.rgb, s.mask]) for s in shots] or np.empty((0, 0, 0, 4), np.uint8) for shots in supports]
    return torch.from_numpy(np.stack(crops)).permute(0, 1, 4, 2, 3).contiguous()
