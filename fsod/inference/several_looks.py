"""Several looks at an image, turned and at several sizes, and what they agree on.

A detector that a few marks have made knows its class the way the marks lay, at the size that they had. So each look is a
quarter turn on from the one before, and two of four are at other sizes. Means of test-time views are usual (``augment=True`` of
YOLOv5: three sizes, one of them mirrored). Each box has the mean of the scores that all looks give it (experiments/real_tasks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from fsod.boxes import Detections, best_of_rivals, iou, nms
from fsod.config import EvaluateSettings
from fsod.data.crop import resized
from fsod.model.turned import turned_back

LOOKS = ((0, 1.0), (1, 0.7), (2, 1.0), (3, 1.4))
"""Quarter turns counterclockwise, and the size in sizes of the image."""

COST = sum(size**2 for _, size in LOOKS)
"""In looks at the image as it is."""

SAME_IOU = 0.55
"""Boxes of two looks that overlap at least so much are of one object."""

FAINT = 0.01
"""From this score on a detection of one look counts where others see the same."""

Look = Callable[[NDArray[np.uint8], float], list[Detections]]
"""From (B, H, W, 3) uint8 RGB and a least score to one Detections an image, in its pixel frame."""


def look_around(
    look: Look, images: NDArray[np.uint8], score_floor: float | tuple[float, ...], settings: EvaluateSettings
) -> list[Detections]:
    """What a detector finds in images in all of ``LOOKS``, one Detections an image, best first.

    Args:
        look: the detector.
        images: (B, H, W, 3) uint8 RGB.
        score_floor: detections below this are dropped; one number, or one per class.
        settings: of suppression.
    """
    floors = np.asarray(score_floor)
    faint = min(FAINT, float(floors.min()))
    looks = [_look_once(look, images, turn, size, faint) for turn, size in LOOKS]
    return [_worth_showing(agreed(of_image, settings), floors) for of_image in zip(*looks, strict=True)]


def agreed(looks: Sequence[Detections], settings: EvaluateSettings) -> Detections:
    """What several looks at one image find, each box with the mean of the scores that they give it.

    Args:
        looks: in the frame of the image. A look that finds nothing at a place gives 0 there.
        settings: of suppression.

    Returns:
        Detections, best first. Their boxes are means, weighted by score.
    """
    found = Detections.concatenate(list(looks))
    if not len(found):
        return looks[0]
    seen = [_seen_again(found, look) for look in looks]
    boxes, weights = np.stack([boxes for boxes, _ in seen]), np.stack([scores for _, scores in seen])
    mean_boxes = (boxes * weights[..., None]).sum(0) / weights.sum(0)[:, None]
    merged = nms(Detections(mean_boxes, weights.mean(0).astype(np.float32), found.class_ids), settings.nms_iou)
    return best_of_rivals(merged, settings.rival_iou, settings.max_detections)


def _look_once(look: Look, images: NDArray[np.uint8], turn: int, size: float, least: float) -> list[Detections]:
    """One look, in the frame of the images."""
    seen = np.stack([resized(rgb, size) for rgb in images])
    height, width = seen.shape[1:3]
    x, y = images.shape[2] / width, images.shape[1] / height
    found = look(np.ascontiguousarray(np.rot90(seen, turn, (1, 2))), least)
    return [_turned_back(own, turn, (height, width)).scaled(x, y) for own in found]


def _turned_back(found: Detections, turn: int, sides_px: tuple[int, int]) -> Detections:
    """Detections of a turned image in the frame of the image as it lies, whose height and width are given."""
    corners = torch.from_numpy(found.boxes_xyxy_px.T[None])
    boxes = turned_back(corners, turn, sides_px)[0].T.numpy()
    return replace(found, boxes_xyxy_px=boxes)


def _seen_again(found: Detections, look: Detections) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each of n detections the likeliest box of its object in a look, (n, 4), and its score, (n,): 0 if there is none."""
    if not len(look):
        return found.boxes_xyxy_px, np.zeros(len(found))
    same = iou(found.boxes_xyxy_px, look.boxes_xyxy_px) >= SAME_IOU
    same &= found.class_ids[:, None] == look.class_ids[None]
    scores = np.where(same, look.scores[None].astype(np.float64), 0)
    best = scores.argmax(1)
    return look.boxes_xyxy_px[best], scores[np.arange(len(best)), best]


def _worth_showing(found: Detections, floors: NDArray[np.float64]) -> Detections:
    """Detections that reach their floor, (classes,) or one for all; where none does, what was missed."""
    if not len(found):
        return found
    shown = found.select(found.scores >= (floors[found.class_ids] if floors.ndim else floors))
    return shown if len(shown) else replace(shown, missed=(float(found.scores[0]), int(found.class_ids[0])))
