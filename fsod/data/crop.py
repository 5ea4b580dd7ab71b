"""Square crops of an image, with boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GREY = 114


@dataclass(frozen=True)
class Square:
    """A square of an image that becomes a crop of ``out_px``.

    Attributes:
        left_px: of the square in the image; may be negative.
        top_px: likewise.
        side_px: of the square in the image.
        out_px: side of the crop.
    """

    left_px: int
    top_px: int
    side_px: int
    out_px: int

    @staticmethod
    def around(centre_xy_px: NDArray[np.floating], side_px: float, out_px: int) -> Square:
        """The square of ``side_px`` whose centre is nearest to ``centre_xy_px``, in whole pixels."""
        side = max(round(side_px), 1)
        return Square(round(centre_xy_px[0] - side / 2), round(centre_xy_px[1] - side / 2), side, out_px)

    def pixels(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The crop of (H, W, 3), or (H, W), as (out_px, out_px, 3), or without the 3; grey beyond the image."""
        height, width = rgb.shape[:2]
        x1, y1 = max(self.left_px, 0), max(self.top_px, 0)
        x2, y2 = min(self.left_px + self.side_px, width), min(self.top_px + self.side_px, height)
        # one number for all three: a tuple would be filled in 40 times as slowly
        square = np.full((self.side_px, self.side_px, *rgb.shape[2:]), GREY, np.uint8)
        if x1 < x2 and y1 < y2:
            square[y1 - self.top_px : y2 - self.top_px, x1 - self.left_px : x2 - self.left_px] = rgb[y1:y2, x1:x2]
        if self.side_px == self.out_px:
            return square
        how = cv2.INTER_AREA if self.side_px > self.out_px else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(square, (self.out_px, self.out_px), interpolation=how), dtype=np.uint8)

    def mask(self, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The same crop of a (H, W) mask, (out_px, out_px) bool; False beyond the image."""
        return np.asarray(self.pixels(known.astype(np.uint8) * 255) == 255)  # beyond the image it is grey

    def boxes(self, boxes_xyxy_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Image boxes (n, 4) in the crop's frame, not clipped."""
        origin = np.array([self.left_px, self.top_px] * 2, dtype=np.float64)
        return (boxes_xyxy_px - origin) * (self.out_px / self.side_px)


def resized(rgb: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """An image (H, W, 3) that is ``factor`` times as large, to the nearest pixel."""
    if factor == 1:
        return rgb
    height_px, width_px = (resized_px(side_px, factor) for side_px in rgb.shape[:2])
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width_px, height_px), interpolation=smooth), dtype=np.uint8)


def resized_px(side_px: int, factor: float) -> int:
    """The side of an image that is ``factor`` times as large."""
    return max(round(factor * side_px), 1)


def visible(boxes_xyxy_px: NDArray[np.float64], size_px: int, share: float) -> NDArray[np.bool_]:
    """(n,) bool: at least ``share`` of the box's area lies inside a crop of ``size_px``."""
    clipped = np.clip(boxes_xyxy_px, 0, size_px)
    inside = (clipped[:, 2:] - clipped[:, :2]).prod(1)
    return np.asarray(inside >= share * (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).prod(1))
