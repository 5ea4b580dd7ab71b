"""The tone that a network sees a scene in: as bright, and at least as rich in contrast, as what it has learned from.

A hazy scene, a dark one or one of pale sand shows the same objects in a fraction of the range that 8 bits have. So a
scene's luminance is brought to one mean, and its contrast is raised where it is low, never lowered. All bands get the
same, so colours stay what they are. All windows get the same, so they stay comparable (experiments/real_tasks, "Tone").
Pictures of what was found keep the scene's own tone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fsod.geo.pixels import where_valid
from fsod.image_look import LUMINANCE

MIDDLE, CONTRAST = 127.0, 50.0
"""Mean and least standard deviation of the luminance of what a network sees, in 8-bit values."""

STRONGEST = 4.0
"""Contrast is raised up to so many times; what is flatter still is hardly more than noise."""

RANGE = (0.5, 99.5)
"""Percentiles of the luminance. Contrast is raised as long as what lies between them stays between black and white."""

SHOULDER = 16
"""The last values at either end, which all share that would lie beyond it: what differs goes on to differ."""

FILL = 3
"""So near to black, or to white, a pixel may be what a scene is filled up with, where no tag says so."""


@dataclass(frozen=True)
class Tone:
    """How 8-bit values change: ``MIDDLE + gain (value - mean)``, and less at both ends.

    Attributes:
        mean: of the scene's luminance, 0 to 255.
        gain: of its contrast, 1 to ``STRONGEST``.
    """

    mean: float
    gain: float

    def __str__(self) -> str:
        return f"brightness {self.mean:.0f} seen as {MIDDLE:.0f}" + (f", contrast x {self.gain:.3g}" * (self.gain > 1))

    @property
    def table(self) -> NDArray[np.uint8]:
        """What each value becomes, (256,)."""
        dark, bright = (self.mean + (end - MIDDLE) / self.gain for end in (SHOULDER, 255 - SHOULDER))
        knots = np.array([0, max(dark, 0), min(bright, 255), 255])
        become = np.clip(MIDDLE + self.gain * (knots - self.mean), 0, 255)
        return np.rint(np.interp(np.arange(256), knots, become)).astype(np.uint8)

    def of(self, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) in this tone; those that are not valid, (h, w), stay 0."""
        return where_valid(np.take(self.table, rgb), valid)


def is_picture(rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pixels (h, w) are valid, and neither black nor white as what a scene is filled up with."""
    filled = [cv2.inRange(rgb, (least,) * 3, (least + FILL,) * 3) > 0 for least in (0, 255 - FILL)]
    return np.asarray(valid & ~filled[0] & ~filled[1])


def tone_of(squares: Iterable[tuple[NDArray[np.uint8], NDArray[np.bool_]]]) -> Tone | None:
    """The tone that a scene is to be seen in, by squares of it: (h, w, 3) uint8 RGB and validity (h, w).

    None where no pixel is valid and neither black nor white.
    """
    seen = [rgb[is_picture(rgb, valid)] @ LUMINANCE for rgb, valid in squares]
    luminance = np.concatenate(seen) if seen else np.zeros(0, np.float32)
    if not len(luminance):
        return None
    mean, (least, most) = float(luminance.mean()), np.percentile(luminance, RANGE).tolist()
    of_contrast = CONTRAST / max(float(luminance.std()), CONTRAST / STRONGEST)
    of_range = min(MIDDLE, 255 - MIDDLE) / max(most - mean, mean - least, 1.0)
    return Tone(round(mean, 2), round(max(min(of_contrast, of_range), 1.0), 4))
