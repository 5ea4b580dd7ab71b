"""Puts the images of a prepared folder into one large georeferenced scene, and detections of it back onto the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from experiments.geotiff import BLOCK_PX, new_scene
from fsod.boxes import Detections, area_px
from fsod.data.coco_folder import CocoFolder, ImageRecord, read_image

STEP_PX = 32  # places are on the network's coarsest stride, so that it sees an image as it sees it alone


@dataclass(frozen=True)
class Mosaic:
    """A scene made of images.

    Attributes:
        path: the GeoTIFF.
        width_px: its columns.
        height_px: its rows.
        placed: each image with its left and top in the scene.
    """

    path: Path
    width_px: int
    height_px: int
    placed: tuple[tuple[ImageRecord, int, int], ...]

    def to_images(self, detections: Detections) -> tuple[dict[int, Detections], int]:
        """Detections of the scene by COCO image id, in the image's pixels and cut to it, and how many lie between images."""
        boxes = detections.boxes_xyxy_px
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        found, elsewhere = {}, len(detections)
        for image, left, top in self.placed:
            size = np.array([image.width_px, image.height_px])
            inside = ((centres >= [left, top]) & (centres < np.array([left, top]) + size)).all(axis=1)
            own = detections.select(inside).shift(-left, -top)
            cut = Detections(np.clip(own.boxes_xyxy_px, 0, np.tile(size, 2)), own.scores, own.class_ids)
            found[image.id] = cut.select(area_px(cut.boxes_xyxy_px) > 0)
            elsewhere -= len(own)
        return found, elsewhere

    def to_scene(self, found: dict[int, Detections]) -> Detections:
        """Detections by COCO image id as detections of the scene."""
        return Detections.concatenate([found[image.id].shift(left, top) for image, left, top in self.placed])


def build_mosaic(folder: CocoFolder, path: Path, longest_px: int = 9600) -> Mosaic:
    """Writes the images side by side in rows, the highest first; see ``new_scene``.

    What is left between them, to the next multiple of 32 px and to the end of a row, mirrors the image before: a plain
    colour would be an edge that no real scene has, and the network finds things along it.
    """
    rows: list[list[ImageRecord]] = [[]]
    for image in sorted(folder.images, key=lambda i: (-i.height_px, -i.width_px, i.id)):
        if sum(_stepped(i.width_px) for i in [*rows[-1], image]) > longest_px and rows[-1]:
            rows.append([])
        rows[-1].append(image)
    width_px = max(sum(_stepped(i.width_px) for i in row) for row in rows)
    heights_px = [max(_stepped(i.height_px) for i in row) for row in rows]
    pixels = np.zeros((sum(heights_px), width_px, 3), np.uint8)
    placed: list[tuple[ImageRecord, int, int]] = []
    top = 0
    for row, height_px in zip(rows, heights_px, strict=True):
        left = 0
        for image in row:
            end = width_px if image is row[-1] else left + _stepped(image.width_px)
            beyond = (0, height_px - image.height_px), (0, end - left - image.width_px), (0, 0)
            pixels[top : top + height_px, left:end] = np.pad(read_image(image), beyond, "symmetric")
            placed.append((image, left, top))
            left = end
        top += height_px
    _write(path, pixels)
    return Mosaic(path, width_px, len(pixels), tuple(placed))


def _stepped(length_px: int) -> int:
    return -(-length_px // STEP_PX) * STEP_PX


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    height_px, width_px = pixels.shape[:2]
    with new_scene(path, width_px, height_px) as file:
        for row in range(0, height_px, BLOCK_PX):
            rows = pixels[row : row + BLOCK_PX]
            file.write(rows.transpose(2, 0, 1), window=RasterWindow(0, row, width_px, len(rows)))
