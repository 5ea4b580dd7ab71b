"""What each tile of an image shows of its boxes; no pixels. Tiles lie where the windows of scenes do, see ``fsod.geo.windows``.

An image smaller than the window is one tile of its own size. A box that a tile's edge cuts stays, clipped, if enough of it is inside. What a tile shows of the others,
and of those that an earlier cut dropped, is kept beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import area_px
from fsod.data.coco_folder import ImageRecord
from fsod.geo.scene_opening import SAME_GSD
from fsod.geo.windows import starts_px


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image and what of its objects is inside.

    Attributes:
        xywh_px: place in the image, whole pixels.
        boxes_xyxy_px: (n, 4) float64, kept boxes, clipped, in the tile's own pixels.
        kept: (n,) positions of those boxes among the image's.
        cut_xyxy_px: (m, 4) float64, what is visible of boxes that are not kept, in the tile's own pixels.
        cut_class_ids: (m,) int64, their classes.
        crowd_xyxy_px: (k, 4) float64, what is visible of crowds, in the tile's own pixels.
        crowds: (k,) positions of those crowds among the image's.
    """

    xywh_px: tuple[int, int, int, int]
    boxes_xyxy_px: NDArray[np.float64]
    kept: NDArray[np.intp]
    cut_xyxy_px: NDArray[np.float64]
    cut_class_ids: NDArray[np.int64]
    crowd_xyxy_px: NDArray[np.float64]
    crowds: NDArray[np.intp]


def cut_tiles(image: ImageRecord, window_px: int, overlap_px: int, min_kept_area: float) -> list[Tile]:
    """The tiles of an image, row by row, with their boxes; see ``tile_folder`` for the arguments."""
    width, height = min(window_px, image.width_px), min(window_px, image.height_px)
    areas = area_px(image.boxes_xyxy_px)
    tiles = []
    for y in starts_px(image.height_px, window_px, overlap_px):
        for x in starts_px(image.width_px, window_px, overlap_px):
            origin, size = [x, y, x, y], [width, height, width, height]
            inside = np.clip(image.boxes_xyxy_px - origin, 0, size)
            visible = area_px(inside)
            keep = visible >= min_kept_area * areas * (1 - 1e-9)
            cut = ~keep & (visible > 0)
            cut_before = np.clip(image.cut_boxes_xyxy_px - origin, 0, size)
            shown = area_px(cut_before) > 0
            crowd = np.clip(image.crowd_boxes_xyxy_px - origin, 0, size)
            crowds = np.flatnonzero(area_px(crowd) > 0)
            tiles.append(
                Tile(
                    (x, y, width, height),
                    inside[keep],
                    np.flatnonzero(keep),
                    np.concatenate([inside[cut], cut_before[shown]]),
                    np.concatenate([image.class_ids[cut], image.cut_class_ids[shown]]),
                    crowd[crowds],
                    crowds,
                )
            )
    return tiles


def resample(image: ImageRecord, gsd_m: float) -> ImageRecord:
    """The record of an image once it is resampled to a ground GSD in metres, by the rule that scenes are read by.

    Whole pixels make up the new size, and edges fall on edges: a box is scaled by new width / width and new height /
    height. An image of unknown GSD, or within 5 % of ``gsd_m``, is returned as it is.
    """
    if image.gsd_m is None or 1 / SAME_GSD < image.gsd_m / gsd_m < SAME_GSD:
        return image
    width, height = (max(1, round(n * image.gsd_m / gsd_m)) for n in (image.width_px, image.height_px))
    x, y = width / image.width_px, height / image.height_px
    scale, size = [x, y, x, y], [width, height, width, height]
    return replace(
        image,
        width_px=width,
        height_px=height,
        boxes_xyxy_px=np.minimum(image.boxes_xyxy_px * scale, size),
        cut_boxes_xyxy_px=np.minimum(image.cut_boxes_xyxy_px * scale, size),
        crowd_boxes_xyxy_px=np.minimum(image.crowd_boxes_xyxy_px * scale, size),
        gsd_m=float(image.gsd_m / np.sqrt(x * y)),
    )
