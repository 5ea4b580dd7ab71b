"""A task as the shared tool has them, of images that are drawn here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.real_tasks.tool import Marks, corners_of

SIDE_PX = 192


@dataclass
class MadeTask:
    """Darts on noise, each turned its own way; a third of them is marked."""

    folder: Path
    name: str = "darts"
    meta: dict[str, Any] = field(
        default_factory=lambda: {"class_name": "dart", "repository": "made", "commit": "0" * 10}
    )
    support: str = "support.png"
    test: list[str] = field(default_factory=lambda: ["one.png", "other.png"])

    def __post_init__(self) -> None:
        self.meta |= {"name": self.name, "support": [self.support], "test": self.test, "licence": "none"}
        self.drawn = {name: _draw_darts(self.folder / "images" / name) for name in [self.support, *self.test]}
        images = [
            {"id": i, "file_name": name, "width": SIDE_PX, "height": SIDE_PX} for i, name in enumerate(self.drawn)
        ]
        boxes = [(i, box.tolist()) for i, own in enumerate(self.drawn.values()) for box in own]
        labels = {
            "images": images,
            "categories": [{"id": 1, "name": "dart"}],
            "annotations": [
                {"id": n, "image_id": i, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                for n, (i, box) in enumerate(boxes, 1)
            ],
        }
        (self.folder / "task.json").write_text(json.dumps(self.meta))
        (self.folder / "labels.json").write_text(json.dumps(labels))

    def boxes(self, file: str) -> NDArray[np.float64]:
        return self.drawn[file]

    def marked(self, marks: str, k: int, draw: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        area = None if marks == "scattered" else np.array([0.0, 0.0, SIDE_PX, SIDE_PX])
        return self.boxes(self.support)[:k], area


def _draw_darts(path: Path) -> NDArray[np.float64]:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.stem))
    rgb = rng.integers(90, 110, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    boxes = []
    for i, (row, column) in enumerate(np.ndindex(3, 3)):
        at = np.array([32 + 64 * column, 32 + 64 * row])
        turn = np.radians(45 * i)
        corners = np.array([[14, 0], [-12, 9], [-12, -9]]) @ np.array(
            [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
        )
        cv2.fillPoly(rgb, [np.round(corners + at).astype(np.int32)], (210, 60, 40))
        low, high = corners.min(axis=0) + at, corners.max(axis=0) + at
        boxes.append([*low, *(high - low)])
    Image.fromarray(rgb).save(path)
    return np.array(boxes)


def marks_of(task: MadeTask, k: int, tmp_path: Path) -> Marks:
    scene, boxes = task.folder / "images" / task.support, corners_of(task.marked("scattered", k, 0)[0])
    rings = [[[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]] for x1, y1, x2, y2 in boxes.tolist()]
    features = [
        {"type": "Feature", "properties": {"class": "dart"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for ring in rings
    ]
    examples = tmp_path / "examples.geojson"
    examples.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return Marks(scene, examples, None, boxes, None)
