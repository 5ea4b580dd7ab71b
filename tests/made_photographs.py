"""Small made photographs: even ground with a little noise, and bright, dark and red things on it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GROUND = (120, 118, 110)
RECTANGLE = (20, 30, 44, 42)
"""Left, top, right and bottom of a bright one that every photograph has, pixels."""


def made_photograph(seed: int, size_px: int = 128) -> NDArray[np.uint8]:
    """(size_px, size_px, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    image = np.full((size_px, size_px, 3), GROUND, np.uint8)
    left, top, right, bottom = RECTANGLE
    image[top:bottom, left:right] = (225, 228, 230)
    # three dark discs that are alike, and a red one
    for x, y in ((80, 24), (100, 60), (70, 95)):
        cv2.circle(image, (x, y), 7, (38, 60, 40), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(image, (28, 90), 10 + seed % 4, (190, 60, 50), cv2.FILLED, cv2.LINE_AA)
    grain = rng.normal(0, 2, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8)
