"""Merging 90,000 boxes: how long it takes, and whether it keeps what plain suppression keeps."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, iou
from fsod.geo.merge import SeamMerger
from fsod.geo.scene_nms import nms_scene
from fsod.geo.windows import window_grid

BOXES, CLASSES, SIDE_PX = 90_000, 6, 40_000
NMS_IOU, RIVAL_IOU = 0.5, 0.9


def measure() -> dict[str, object]:
    """Seconds and agreement.

    Returns:
        merge_seconds_90k: of all that is left to do when the last window is in, 90,000 boxes being held.
        nms_seconds_90k: of class-wise suppression alone, every box against every other.
        same_keep_set_90k: whether that keeps the boxes that the plain loop keeps.
    """
    crowd = crowded(np.random.default_rng(0))
    started = time.perf_counter()
    kept = nms_scene(crowd.boxes_xyxy_px, crowd.scores, crowd.class_ids, NMS_IOU)
    nms_seconds = time.perf_counter() - started
    merger, held = held_by_windows(crowd)
    started = time.perf_counter()
    merged = merger.result()
    return {
        "merge_seconds_90k": time.perf_counter() - started,
        "nms_seconds_90k": nms_seconds,
        "same_keep_set_90k": bool((kept == plain_nms(crowd)).all()),
        "merging": {"boxes": len(crowd), "kept": int(kept.sum()), "held": held, "merged": len(merged)},
    }


def crowded(rng: np.random.Generator) -> Detections:
    """Objects of 10 to 80 px in clusters, each reported three times with jitter."""
    objects = BOXES // 3
    centres = rng.uniform(0, SIDE_PX, (objects // 10, 1, 2)) + rng.normal(0, 60, (1, 10, 2))
    sizes = rng.uniform(10, 80, (objects, 2))
    boxes = np.concatenate([centres.reshape(-1, 2) - sizes / 2, centres.reshape(-1, 2) + sizes / 2], axis=1)
    boxes = np.repeat(boxes, 3, axis=0) + rng.normal(0, 3, (BOXES, 4))
    class_ids = np.repeat(rng.integers(0, CLASSES, objects), 3)
    return Detections(boxes, rng.uniform(0.05, 1, BOXES).astype(np.float32), class_ids)


def held_by_windows(crowd: Detections) -> tuple[SeamMerger, int]:
    """A merger that windows of 640 px have told of the crowd, each box by one of the windows that see it whole."""
    merger = SeamMerger(NMS_IOU, RIVAL_IOU)
    grid = window_grid(SIDE_PX, SIDE_PX, 640, 160)
    columns = len(grid.x.starts_px)
    centres = (crowd.boxes_xyxy_px[:, :2] + crowd.boxes_xyxy_px[:, 2:]) / 2
    owners = [
        np.searchsorted(np.array([axis.core(i)[1] for i in range(columns)]), centres[:, k])
        for k, axis in enumerate((grid.x, grid.y))
    ]
    number = owners[1].clip(0, columns - 1) * columns + owners[0].clip(0, columns - 1)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(grid) + 1))
    for index, (start, end) in enumerate(pairwise(bounds)):
        window = grid[index]
        merger.add(window, crowd.select(order[start:end]).shift(-window.left_px, -window.top_px))
    return merger, sum(len(part) for part in (*merger._whole, *merger._cut))


def plain_nms(crowd: Detections) -> NDArray[np.bool_]:
    """The textbook loop, class by class: the best box stays, all that overlap it go, and so on."""
    stays = np.zeros(len(crowd), np.bool_)
    for class_id in range(CLASSES):
        waiting = np.flatnonzero(crowd.class_ids == class_id)
        waiting = waiting[np.argsort(-crowd.scores[waiting], kind="stable")]
        while len(waiting):
            best, waiting = waiting[0], waiting[1:]
            stays[best] = True
            waiting = waiting[iou(crowd.boxes_xyxy_px[best][None], crowd.boxes_xyxy_px[waiting])[0] <= NMS_IOU]
    return stays
