"""What a camera and the air do to a scene: blur, haze, colour cast and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_HAZE = (176.0, 186.0, 196.0)


def photograph(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The scene as a sensor saw it, (H, W, 3) uint8 RGB; strengths are drawn, positions do not move."""
    haze = rng.uniform(0, 0.22)
    gain = rng.uniform(0.85, 1.12) * (1 + rng.normal(0, 0.025, 3))
    gamma = rng.uniform(0.88, 1.14)
    levels = 255 * (np.arange(256) / 255) ** gamma
    curve = (1 - haze) * levels[:, None] * gain + haze * np.array(_HAZE)
    seen = cv2.LUT(image, np.clip(curve, 0, 255).astype(np.uint8).reshape(1, 256, 3))
    seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.35, 0.8))
    grey = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(rng.uniform(1, 5))
    # the channels' noise is one field, moved: independent enough to the eye, and a third of the price
    coarse = np.rint(grey).astype(np.int16)
    shifted = cv2.merge([np.roll(coarse, step, axis=1) for step in (0, 17, 41)])
    return np.asarray(cv2.add(seen, shifted, dtype=cv2.CV_8U), dtype=np.uint8)
