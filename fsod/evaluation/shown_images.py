"""How the images of a prepared folder are shown to a detector that is evaluated: whole, or window by window as scenes are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, best_of_rivals
from fsod.data.coco_folder import CocoFolder, ImageRecord, check_size_px, read_image
from fsod.data.crop import resized
from fsod.errors import UserError
from fsod.geo.passes import classes_by_reduction
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import USUAL_PLAN, ScenePlan
from fsod.geo.scene_prediction import predict_scene
from fsod.geo.search import asked_for
from fsod.geo.tone import tone_of

WHOLE_PX = 2048
"""Longest side of an image that is shown whole; at 4,000 px that takes a gigabyte, at 20,000 px it would take 24."""


def detect_folder(
    folder: CocoFolder,
    detect: Callable[[NDArray[np.uint8]], list[Detections]],
    on_image: Callable[[], None] = lambda: None,
    windows: ScenePlan = USUAL_PLAN,
) -> dict[int, Detections]:
    """Detections of every image by COCO id, at the image's own size.

    Args:
        folder: the images.
        detect: a batch of images (B, H, W, 3) uint8 RGB to one Detections an image. An image of at most ``WHOLE_PX`` comes
            alone, others in batches of windows.
        on_image: told after each image.
        windows: how larger images are gone over; smaller ones by its ``enlargement``, ``reductions``, ``toned`` and
            ``suppression`` alone.

    Raises:
        UserError: an image is missing, damaged, not of 8 bits, or of another size than the annotations say.
    """
    found = {}
    for image in folder.images:
        if max(image.width_px, image.height_px) * max(windows.enlargement, 1) <= WHOLE_PX:
            found[image.id] = _detect_whole(read_image(image), detect, windows)
        else:
            check = partial(_check, image)
            found[image.id] = predict_scene(image.path, detect, windows, on_open=check).detections
        on_image()
    return found


def _detect_whole(
    rgb: NDArray[np.uint8], detect: Callable[[NDArray[np.uint8]], list[Detections]], plan: ScenePlan
) -> Detections:
    """What is found in an image that is shown at once, for classes that are seen coarser in a smaller copy of it."""
    everywhere = np.ones(rgb.shape[:2], np.bool_)
    if plan.toned and (tone := tone_of([(rgb, everywhere)])) is not None:
        rgb = tone.of(rgb, everywhere)
    groups = classes_by_reduction(plan.reductions)
    if not groups:
        return _found_in(rgb, plan.enlargement, detect)
    parts = [
        _found_in(rgb, plan.enlargement / reduction, asked_for(detect, class_ids)).of_classes(class_ids)
        for reduction, class_ids in groups.items()
    ]
    rules = plan.suppression
    return best_of_rivals(Detections.concatenate(parts), rules.rival_iou, rules.max_detections)


def _found_in(
    rgb: NDArray[np.uint8], factor: float, detect: Callable[[NDArray[np.uint8]], list[Detections]]
) -> Detections:
    """What is found in an image that is seen so many times as large as it is."""
    seen = resized(rgb, factor)
    return detect(seen[None])[0].scaled(rgb.shape[1] / seen.shape[1], rgb.shape[0] / seen.shape[0])


def read_small(image: ImageRecord) -> tuple[NDArray[np.uint8], float]:
    """An image to be looked at, (h, w, 3) uint8, its longer side at most ``WHOLE_PX``, and how many times smaller it is.

    Raises:
        UserError: as ``detect_folder``.
    """
    if max(image.width_px, image.height_px) <= WHOLE_PX:
        return read_image(image), 1.0
    with open_scene(image.path, north_up=False) as scene:
        _check(image, scene)
        rgb, _ = scene.read_reduced(WHOLE_PX)
    return rgb, image.width_px / rgb.shape[1]


def _check(image: ImageRecord, scene: Scene, *_: int) -> None:
    """UserError for what ``read_image`` refuses as well."""
    check_size_px(scene.file_size_px, image)
    if not scene.is_8_bit:
        raise UserError(f"{image.path}: is not an 8-bit image; scale it to 8 bits first")
