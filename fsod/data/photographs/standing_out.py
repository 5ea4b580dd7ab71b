"""Things in a photograph that stand out: closed contours, compact, unlike what surrounds them.

Candidates are maximally stable extremal regions (Matas et al. 2002) of each Lab channel: what stays the same over many
thresholds, light or dark, red or green, blue or yellow. They are kept where they are compact and where a ring about them
is of another colour. Nothing is known of what they are: crowns, cars, roofs, pools, shadows, boulders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PASSES = ((2.0, 4.0, 40.0), (0.75, 18.0, 128.0))
"""At how many times the resolution regions are looked for, and how long they are there, in pixels of the photograph: a
contour about 5 px takes a finer grid than there is, and texture parts a crown or a roof unless it is smoothed."""
MAX_ASPECT = 7.0
MIN_SOLIDITY = 0.83  # of its convex hull
UNLIKE = 10.0  # Lab distance from a thing's colour that sets a pixel beside it apart
MIN_APART = 0.8  # share of the pixels about it that are set apart
SHARED = 0.35  # things that share more than this of the smaller one's bounds are one
SIZE = 3  # of a thing's looks
MAX_VARIATION = 0.3  # of a region's area over the step below
_STEPS = (4, 2, 2)  # thresholds that a region has to outlast, in 8-bit levels of L, a and b
_UNITS = np.array([12, 6, 6, 0.3, 0.35, 0.12, 9, 16], np.float32)


@dataclass(frozen=True)
class Thing:
    """Something that stands out.

    Attributes:
        contour_px: (n, 2) float32, x and y in the photograph, the middle of its first pixel being (0, 0).
        looks: (8,) float32, in units of about what is just seen to differ: Lab of it, log of its side in pixels, log
            of its aspect, how it fills its rectangle, spread of its lightness, lightness of what is about it.
        clearness: how well its contour parts it from what is about it; larger things are given some more.
    """

    contour_px: NDArray[np.float32]
    looks: NDArray[np.float32]
    clearness: float

    @property
    def centre_px(self) -> NDArray[np.float64]:
        """(2,) middle of its bounds."""
        return (self.contour_px.min(0) + self.contour_px.max(0)).astype(np.float64) / 2

    @property
    def longer_px(self) -> float:
        """Longer side of its bounds."""
        return float((self.contour_px.max(0) - self.contour_px.min(0)).max())

    @property
    def lying(self) -> tuple[NDArray[np.float64], float]:
        """Its long and its short side in pixels, (2,), and the direction of the long one in radians."""
        _, sides, degrees = cv2.minAreaRect(self.contour_px)
        turn = np.deg2rad(degrees) + (np.pi / 2 if sides[1] > sides[0] else 0.0)
        return np.sort(np.array(sides, np.float64))[::-1], float(turn)


def unlikeness(things: Sequence[Thing], other: Thing, enlarged: float = 1.0) -> NDArray[np.float32]:
    """(n,) float32, how far things look from another one that is shown ``enlarged``; 1 is just seen."""
    looks = np.array([thing.looks for thing in things], np.float32).reshape(-1, len(_UNITS))
    shown = other.looks.copy()
    shown[SIZE] += np.log(enlarged) / _UNITS[SIZE]
    return np.asarray(np.linalg.norm(looks - shown, axis=1), dtype=np.float32)


def find_things(rgb: NDArray[np.uint8]) -> list[Thing]:
    """Things that stand out in a photograph, the clearest first.

    Args:
        rgb: (H, W, 3) uint8.
    """
    found = []
    for finer, shortest_px, longest_px in PASSES:
        kernel = cv2.INTER_CUBIC if finer > 1 else cv2.INTER_AREA
        lab = cv2.cvtColor(cv2.resize(rgb, None, fx=finer, fy=finer, interpolation=kernel), cv2.COLOR_RGB2LAB)
        # what is as sharp as the grid has an area that does not change with the threshold, and is no extremum of anything
        lab = cv2.GaussianBlur(lab, (0, 0), 1.0)
        shortest, longest = finer * shortest_px, finer * longest_px
        met: set[tuple[int, ...]] = set()
        for channel, step in zip(cv2.split(lab), _STEPS, strict=True):
            detector = cv2.MSER.create(step, round(0.3 * shortest**2), round(longest**2), MAX_VARIATION, 0.0)
            regions, rectangles = detector.detectRegions(channel)
            for points, rectangle in zip(regions, rectangles, strict=True):
                left, top, width, height = rectangle
                beyond = left < 2 or top < 2 or left + width > lab.shape[1] - 2 or top + height > lab.shape[0] - 2
                about = tuple(np.rint(rectangle / max(2.0, 0.08 * max(width, height))).astype(int).tolist())
                if beyond or about in met or not shortest <= max(width, height) <= longest:
                    continue
                met.add(about)
                thing = _judge(lab, np.asarray(points), rectangle, finer)
                if thing is not None:
                    found.append(thing)
    return _distinct(sorted(found, key=lambda thing: -thing.clearness))


def _judge(lab: NDArray[np.uint8], points: NDArray[np.intp], rectangle: Sequence[int], finer: float) -> Thing | None:
    """A region as a thing, or None where it is ragged or not unlike its surroundings."""
    left, top, width, height = rectangle
    margin = 4 + round(0.1 * max(width, height))
    x1, y1 = max(left - margin, 0), max(top - margin, 0)
    x2, y2 = min(left + width + margin, lab.shape[1]), min(top + height + margin, lab.shape[0])
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    mask[points[:, 1] - y1, points[:, 0] - x1] = 1
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contour = max(contours, key=cv2.contourArea)
    area = cv2.contourArea(contour)
    if area < 12 or area < MIN_SOLIDITY * cv2.contourArea(cv2.convexHull(contour)):
        return None
    sides = np.maximum(cv2.minAreaRect(contour)[1], 1.0)
    aspect = float(sides.max() / sides.min())
    if aspect > MAX_ASPECT:
        return None
    filled = cv2.drawContours(np.zeros_like(mask), [contour], -1, 1, cv2.FILLED)
    reach = 2 * (margin // 2) + 1
    near = cv2.dilate(filled, np.ones((3, 3), np.uint8))
    ring = cv2.dilate(filled, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) - near
    patch = lab[y1:y2, x1:x2]
    own, own_spread = cv2.meanStdDev(patch, mask=filled)
    about = patch[ring > 0]
    away = about - own[:, 0].astype(np.float32)
    squares = np.einsum("ij,ij->i", away, away)
    limit = max(UNLIKE**2, 1.3**2 * float((own_spread**2).sum()))
    apart = np.count_nonzero(squares > limit) / max(len(squares), 1)
    if apart < MIN_APART:
        return None
    size_px = np.sqrt(area) / finer
    looks = [*own[:, 0], np.log(size_px), np.log(aspect), area / sides.prod(), own_spread[0, 0], about[:, 0].mean()]
    middle = (finer - 1) / 2
    outline = np.asarray((contour[:, 0] + np.array([x1 - middle, y1 - middle])) / finer, np.float32)
    # OpenCV leads a contour through the middles of the outermost pixels; a thing goes on to their outer edge
    away = outline - outline.mean(0)
    outline += away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-3) * np.float32(0.5 / finer)
    clearness = apart * float(np.log(4 + size_px) * np.log(squares.mean()) / 2)
    return Thing(outline, np.array(looks, np.float32) / _UNITS, clearness)


def _distinct(things: list[Thing]) -> list[Thing]:
    """Of things at one place the clearest."""
    kept: list[Thing] = []
    bounds = np.zeros((0, 4))
    for thing in things:
        box = np.concatenate([thing.contour_px.min(0), thing.contour_px.max(0)]).astype(np.float64)
        sides = np.clip(np.minimum(box[2:], bounds[:, 2:]) - np.maximum(box[:2], bounds[:, :2]), 0, None)
        least = np.minimum((box[2:] - box[:2]).prod(), (bounds[:, 2:] - bounds[:, :2]).prod(1))
        if not (sides.prod(1) > SHARED * least).any():
            kept.append(thing)
            bounds = np.concatenate([bounds, box[None]])
    return kept
