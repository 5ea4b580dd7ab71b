"""What an exported bank of the tests holds, the windows that it is shown, and when two engines find the same."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fsod.boxes import Detections, iou
from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from tests import untrained

NAMES = ("café", "ship", "storage tank")


SCORES = 0.6, 0.78, 0.3


WINDOW_PX = 96


FLOAT32 = Machine(torch.device("cpu"), torch.float32)


FLOOR = 0.02


SETTINGS = untrained.SETTINGS.model_copy(update={"evaluate": EvaluateSettings(nms_iou=0.5)})


def windows(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (count, WINDOW_PX, WINDOW_PX, 3)).astype(np.uint8)


def assert_same(ours: Detections, theirs: Detections) -> None:
    assert len(ours) == len(theirs) > 3
    overlap = iou(ours.boxes_xyxy_px, theirs.boxes_xyxy_px)
    difference = np.abs(ours.scores[:, None] - theirs.scores[None])
    same = (overlap > 0.99) & (difference < 1e-3) & (ours.class_ids[:, None] == theirs.class_ids[None])
    assert same.any(0).all()
    assert same.any(1).all()
