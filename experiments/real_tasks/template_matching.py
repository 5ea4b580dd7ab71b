"""Rotated template matching: what an analyst had before there were detectors, and the least that one has to beat.

Each mark with a margin is a template, turned in steps of 45 degrees about its middle, and laid over the scene; the score is
the normalised cross-correlation of all three colours.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.geo.blank import shows_something
from fsod.geo.scene_nms import nms_scene

TURNS = 8
MARGIN = 0.25
"""Around a mark, in its sides: an object shows by its edge. Without it F1 on boats was 0.08, not 0.11."""

LEAST = 0.2
"""Correlations below this are not looked at."""

MOST = 300
"""Places a template, best first."""

NMS_IOU = 0.3

Rgb = NDArray[np.uint8]


def turned_templates(rgb: Rgb, boxes_xyxy_px: NDArray[np.float64]) -> list[Rgb]:
    """Templates of marks, (h, w, 3) each with the margin, ``TURNS`` a mark.

    How large a turned object is, is not known: a box says nothing of what it holds. An ellipse that fills the box is
    taken for it, which is right for what is round, and between a slim object along its box and one across it.

    Args:
        rgb: (H, W, 3) the scene.
        boxes_xyxy_px: (n, 4) of the marks.
    """
    templates = []
    for x1, y1, x2, y2 in boxes_xyxy_px.tolist():
        half_x, half_y = (0.5 + MARGIN) * (x2 - x1), (0.5 + MARGIN) * (y2 - y1)
        for turn in range(TURNS):
            degrees = 360 * turn / TURNS
            cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            width = max(3, round(2 * float(np.hypot(half_x * cos, half_y * sin))))
            height = max(3, round(2 * float(np.hypot(half_x * sin, half_y * cos))))
            # pixel centres are at whole numbers for OpenCV
            move = cv2.getRotationMatrix2D(((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2), degrees, 1.0)
            move[:, 2] += (width - x1 - x2) / 2, (height - y1 - y2) / 2
            templates.append(
                np.asarray(cv2.warpAffine(rgb, move, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
            )
    return templates


def find_templates(rgb: Rgb, valid: NDArray[np.bool_], templates: list[Rgb]) -> Detections:
    """Where templates fit a scene.

    Args:
        rgb: (H, W, 3) the scene.
        valid: (H, W) where it has pixels.
        templates: of one class.

    Returns:
        Detections of class 0, best first; the score is the correlation.
    """
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0, np.float32)]
    for template in templates:
        height, width = template.shape[:2]
        if height > rgb.shape[0] or width > rgb.shape[1]:
            continue
        fit = cv2.matchTemplate(rgb, template, cv2.TM_CCOEFF_NORMED)
        around = np.ones((height // 2 * 2 + 1, width // 2 * 2 + 1), np.uint8)
        top, left = np.nonzero((fit >= LEAST) & (fit == cv2.dilate(fit, around)))
        own = fit[top, left]
        best = np.argsort(-own, kind="stable")[:MOST]
        corners = np.stack([left[best], top[best]], axis=1).astype(np.float64)
        size = np.array([width, height])
        margin = size * MARGIN / (1 + 2 * MARGIN)
        boxes.append(np.concatenate([corners + margin, corners + size - margin], axis=1))
        scores.append(own[best].clip(0, 1).astype(np.float32))
    found = Detections(np.concatenate(boxes), np.concatenate(scores), np.zeros(sum(map(len, scores)), np.int64))
    # over one value a correlation is what rounding makes of it
    found = found.select(shows_something(rgb, valid, found.boxes_xyxy_px))
    found = found.select(nms_scene(found.boxes_xyxy_px, found.scores, found.class_ids, NMS_IOU))
    return found.select(np.argsort(-found.scores, kind="stable"))
