"""Images to cut into tiles: drawn at random by hypothesis, and a small prepared folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fsod.data.coco_folder import ImageRecord, write_json

NAMES = ("ship", "bridge")


def image_record(width_px: int, height_px: int, boxes_xyxy_px: list[tuple[float, ...]]) -> ImageRecord:
    n = len(boxes_xyxy_px)
    return ImageRecord(
        id=4,
        path=Path("scene.png"),
        source="scene",
        width_px=width_px,
        height_px=height_px,
        boxes_xyxy_px=np.array(boxes_xyxy_px, dtype=np.float64).reshape(-1, 4),
        class_ids=np.arange(n) % len(NAMES),
        box_ids=np.arange(n) + 50,
    )


@st.composite
def grids(draw: st.DrawFn) -> tuple[int, int]:
    """Window and overlap."""
    window_px = draw(st.integers(1, 50))
    return window_px, draw(st.integers(0, window_px - 1))


@st.composite
def images(draw: st.DrawFn) -> ImageRecord:
    """An image with up to six boxes."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))

    def side(length: int) -> tuple[float, float]:
        # quarters of a pixel are exact in binary, so that tile and back can be compared exactly
        start = draw(st.integers(0, 4 * length - 1))
        return start / 4, draw(st.integers(start + 1, 4 * length)) / 4

    boxes: list[tuple[float, ...]] = []
    for _ in range(draw(st.integers(0, 6))):
        (x1, x2), (y1, y2) = side(width), side(height)
        boxes.append((x1, y1, x2, y2))
    return image_record(width, height, boxes)


@st.composite
def images_with_gsd(draw: st.DrawFn) -> tuple[ImageRecord, float]:
    """An image of known GSD and the one to resample it to, a factor of 8 apart at most."""
    image = replace(draw(images()), gsd_m=draw(st.floats(0.05, 20)))
    assert image.gsd_m is not None
    return image, image.gsd_m * draw(st.floats(0.13, 8))


def write_one_image(root: Path, image: ImageRecord) -> None:
    """A prepared folder of one black image."""
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (image.width_px, image.height_px)).save(root / "images" / image.path.name)
    annotations = [
        {"id": i, "image_id": image.id, "category_id": c + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for i, c, (x1, y1, x2, y2) in zip(
            image.box_ids.tolist(), image.class_ids.tolist(), image.boxes_xyxy_px.tolist(), strict=True
        )
    ]
    entry = {"id": image.id, "file_name": image.path.name, "width": image.width_px, "height": image.height_px}
    if image.gsd_m is not None:
        entry["gsd_m"] = image.gsd_m
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)]
    write_json(root / "annotations.json", {"images": [entry], "categories": categories, "annotations": annotations})


def make_three_images(root: Path) -> Path:
    """Scene a of 100x70 px with four boxes, small image b of 20x10 px with one, empty image c, lists of stems and of ids.

    Their GSD is 0.5, 1 and 1.5 m.
    """
    (root / "images").mkdir(parents=True)
    (root / "splits").mkdir()
    sizes = {"a": (100, 70), "b": (20, 10), "c": (50, 50)}
    for i, (stem, (width, height)) in enumerate(sizes.items()):
        pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{stem}.png")
    boxes = [
        (1, 1, [5, 5, 10, 10]),  # whole in the first tile of 50 px
        (1, 2, [38, 2, 4, 4]),  # whole in the overlap of two tiles
        (1, 1, [48, 30, 8, 8]),  # a quarter in the first tile
        (1, 2, [10, 44, 10, 10]),  # six tenths in the first tile
        (2, 2, [0, 0, 20, 10]),
    ]
    coco: dict[str, Any] = {
        "images": [
            {"id": i, "file_name": f"{stem}.png", "width": width, "height": height, "gsd_m": 0.5 * i}
            for i, (stem, (width, height)) in enumerate(sizes.items(), 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": c, "bbox": bbox} for i, (image, c, bbox) in enumerate(boxes, 7)
        ],
    }
    write_json(root / "annotations.json", coco)
    (root / "splits" / "train.txt").write_text("a\nc\n")
    (root / "splits" / "test.txt").write_text("2\n")
    return root


def all_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
