"""What ``annotations.json`` holds, put together image by image and box by box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def no_annotations(class_names: Iterable[str]) -> dict[str, Any]:
    """COCO with categories, counted from 1, to which images and boxes are added."""
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names, 1)]
    return {"images": [], "categories": categories, "annotations": []}


def add_box(coco: dict[str, Any], box_xyxy_px: Sequence[float], class_id: int, **more: int) -> None:
    """Adds a box of the image that was added last; ``class_id`` is a position in the class names."""
    x1, y1, x2, y2 = box_xyxy_px
    coco["annotations"].append(
        {
            "id": len(coco["annotations"]) + 1,
            "image_id": coco["images"][-1]["id"],
            "category_id": class_id + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
            **more,
        }
    )


def cut_boxes(boxes_xyxy_px: NDArray[np.float64], class_ids: NDArray[np.int64]) -> list[list[float]]:
    """An image's ``cut_boxes_xywh_px``: x, y, width, height, category."""
    xywh = np.hstack([boxes_xyxy_px[:, :2], boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]]).tolist()
    return [[*box, category] for box, category in zip(xywh, (class_ids + 1).tolist(), strict=True)]
