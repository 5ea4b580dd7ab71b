"""What a camera, the air and an archive do to a scene: blur, haze, colour cast, noise, mottling."""

from __future__ import annotations

from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from fsod.data.procedural.grounds import noise

_HAZE = (176.0, 186.0, 196.0)
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])


def photograph(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The scene as a sensor saw it, (H, W, 3) uint8 RGB; strengths are drawn, positions do not move."""
    haze = rng.uniform(0, 0.22)
    gain = rng.uniform(0.85, 1.12) * (1 + rng.normal(0, 0.025, 3))
    gamma = rng.uniform(0.88, 1.14)
    levels = 255 * (np.arange(256) / 255) ** gamma
    curve = (1 - haze) * levels[:, None] * gain + haze * np.array(_HAZE)
    seen = cv2.LUT(image, np.clip(curve, 0, 255).astype(np.uint8).reshape(1, 256, 3))
    seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.35, 0.8))
    # random bytes looked up in the normal distribution's quantiles: a fifth of the price of drawing normals
    noise = np.rint(rng.uniform(1, 5) * _QUANTILES).astype(np.int16)
    grain = cv2.LUT(rng.integers(256, size=image.shape, dtype=np.uint8), noise.reshape(1, 256))
    return np.asarray(cv2.add(seen, grain, dtype=cv2.CV_8U), dtype=np.uint8)


def archive(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The scene as one of many archives keeps it, (H, W, 3) uint8 RGB: duller or grey, softer, dirt and wear on all.

    Drawn surfaces are too clean: without mottling a network tells objects by their smoothness.
    """
    colour = 0.0 if rng.random() < 0.12 else rng.uniform(0.3, 1.15)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mottled = sum(rng.uniform(0, 9) * noise(rng, image.shape[:2], grain_px) for grain_px in (3, 10))
    seen = (
        cv2.addWeighted(image, colour, grey, 1 - colour, 0).astype(np.int16)
        + np.rint(mottled).astype(np.int16)[..., None]
    )
    seen = np.clip(seen, 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.5, 1.5)) if rng.random() < 0.4 else seen
