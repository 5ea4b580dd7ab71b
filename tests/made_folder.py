"""A tiny prepared folder: coloured squares and discs on noise, enough for every step to run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from fsod.data.coco_folder import CocoFolder, load_folder, write_json

NAMES = ("square", "disc", "cross")


def make_folder(root: Path, images: int = 8, size_px: int = 128, seed: int = 0) -> CocoFolder:
    """``images`` pictures with two objects of each class, on one side left, middle and right."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    (root / "splits").mkdir()
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(1, images + 1):
        rgb = rng.integers(60, 120, (size_px, size_px, 3)).astype(np.uint8)
        for n in range(6):
            c, side = n % 3, int(rng.integers(14, 24))
            x = 8 + (n % 3) * size_px // 3 + int(rng.integers(8))
            y = 8 + (n // 3) * size_px // 2 + int(rng.integers(20))
            _draw(rgb, c, x, y, side)
            box = [x, y, side, side]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": c + 1,
                    "bbox": box,
                    "area": side**2,
                    "iscrowd": 0,
                }
            )
        name = f"{i:03d}.png"
        Image.fromarray(rgb).save(root / "images" / name)
        records.append({"id": i, "file_name": name, "width": size_px, "height": size_px})
    write_json(
        root / "annotations.json",
        {
            "images": records,
            "annotations": annotations,
            "categories": [{"id": c, "name": name} for c, name in enumerate(NAMES, 1)],
        },
    )
    half = images // 2
    for name, ids in (("train", range(1, half + 1)), ("test", range(half + 1, images + 1))):
        (root / "splits" / f"{name}.txt").write_text("".join(f"{i:03d}\n" for i in ids))
    return load_folder(root)


def _draw(rgb: np.ndarray[Any, np.dtype[np.uint8]], c: int, x: int, y: int, side: int) -> None:
    half = side // 2
    if c == 0:
        rgb[y : y + side, x : x + side] = (220, 60, 60)
    elif c == 1:
        cv2.circle(rgb, (x + half, y + half), half, (60, 220, 60), -1)
    else:
        rgb[y + half - 3 : y + half + 3, x : x + side] = (60, 60, 230)
        rgb[y : y + side, x + half - 3 : x + half + 3] = (60, 60, 230)
