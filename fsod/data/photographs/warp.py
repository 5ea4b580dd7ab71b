"""Photographs turned, scaled and mirrored; pixels and outlines go the same way.

Points here are as OpenCV has them: the middle of an image's first pixel is (0, 0).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
"""(2, 3), from pixels of a photograph to pixels of an image."""

_SOFTER_BELOW = 0.8  # scale from which on a photograph is smoothed before it is shrunk
_FINER = 4  # outlines are filled so many times finer than pixels
_BITS = 4


def affine(
    start_px: NDArray[np.float64],
    goal_px: NDArray[np.float64],
    turn_rad: float,
    enlarged: float,
    *,
    stretched: float = 1.0,
    mirrored: bool = False,
) -> Affine:
    """The map that brings ``start_px`` of a photograph to ``goal_px``, turned and enlarged about it.

    Args:
        start_px: (2,) x and y.
        goal_px: (2,) x and y.
        turn_rad: from the x axis towards the y axis.
        enlarged: factor on lengths.
        stretched: further factor along the photograph's x axis, its root's inverse along y.
        mirrored: left becomes right, before it is turned.
    """
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    sides = enlarged * np.array([stretched * (-1.0 if mirrored else 1.0), 1 / np.sqrt(stretched)])
    matrix = np.array([[cos, -sin], [sin, cos]]) * sides
    return np.concatenate([matrix, (goal_px - matrix @ start_px)[:, None]], 1)


def moved(points_px: NDArray[np.floating], by: Affine) -> NDArray[np.float64]:
    """(n, 2) points after the map."""
    return np.asarray(points_px @ by[:, :2].T + by[:, 2], dtype=np.float64)


def warp(photograph: NDArray[np.uint8], by: Affine, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """The image of (height, width) pixels that a photograph (H, W, 3) becomes; beyond its edges it is mirrored."""
    scale = float(np.sqrt(abs(np.linalg.det(by[:, :2]))))
    if scale < _SOFTER_BELOW:
        photograph = cv2.GaussianBlur(photograph, (0, 0), 0.45 * np.sqrt(scale**-2 - 1))
    kernel = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    out = cv2.warpAffine(photograph, by, size_px[::-1], flags=kernel, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(out, dtype=np.uint8)


def filled(outline_px: NDArray[np.float64], softness_px: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """How much of each pixel an outline covers, (h, w) float32 in 0..1, and the left top pixel of that, (2,)."""
    margin = 2 + int(np.ceil(2 * softness_px))
    low = np.floor(outline_px.min(0)).astype(np.int64) - margin
    width, height = (np.ceil(outline_px.max(0)).astype(np.int64) + margin + 1 - low).tolist()
    canvas = np.zeros((height * _FINER, width * _FINER), np.uint8)
    fine = (outline_px - low + 0.5) * _FINER - 0.5
    cv2.fillPoly(canvas, [np.rint(fine * (1 << _BITS)).astype(np.int32)], 255, shift=_BITS)
    cover = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    if softness_px > 0.3:
        cover = cv2.GaussianBlur(cover, (0, 0), softness_px)
    return np.asarray(cover, dtype=np.float32), low
