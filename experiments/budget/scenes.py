"""Sparse scenes: a few labelled images laid on a large ground that shows none of the classes.

The ground is made of squares without a labelled object, cut out of images of the same list, or of NAIP tiles; each is mirrored to
both sides, so that an edge that no real scene has comes only every second square. Images keep their own borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from data_prep.nwpu import CLASS_NAMES
from experiments.geotiff import BLOCK_PX, new_scene
from fsod.data.coco_folder import CocoFolder, ImageRecord, read_image

SIDE_PX = 7168
GROUND_PX = 256
"""Side of a square of ground before it is mirrored."""

CLEAR_PX = 24
"""A square of ground keeps this far from every labelled box."""

GAP_PX = 64
"""Least distance between two images."""


@dataclass(frozen=True)
class Recipe:
    """What a scene is made of.

    Attributes:
        split: list of NWPU images, ``train`` (for choosing a rule) or ``test`` (for reporting).
        classes: images that show one of them are laid out, and no other class is searched.
        images: how many.
        cities: of NAIP tiles for the ground; none: squares of NWPU images.
        seed: of the draw of images, ground and places.
    """

    split: str
    classes: tuple[str, ...]
    images: int
    cities: tuple[str, ...]
    seed: int


CHOSEN_ON = ("palm_springs_2016", "riverside_2016", "long_beach_2016", "chico_2018")
REPORTED_ON = ("claremont_2020", "santa_monica_2020", "eureka_2020", "bishop_2020", "chico_2020")
DRAWS = 3
RECIPES = {
    "choose-ten": Recipe("train", CLASS_NAMES, 12, (), 1),
    "choose-aircraft": Recipe("train", ("airplane",), 8, CHOSEN_ON, 2),
    "choose-vehicles": Recipe("train", ("vehicle",), 8, CHOSEN_ON, 3),
    **{f"ten-{draw}": Recipe("test", CLASS_NAMES, 12, (), 4 + 10 * draw) for draw in range(DRAWS)},
    **{f"aircraft-{draw}": Recipe("test", ("airplane",), 8, REPORTED_ON, 5 + 10 * draw) for draw in range(DRAWS)},
    **{f"vehicles-{draw}": Recipe("test", ("vehicle",), 8, REPORTED_ON, 6 + 10 * draw) for draw in range(DRAWS)},
}


@dataclass(frozen=True)
class SparseScene:
    """A scene that was built.

    Attributes:
        path: the GeoTIFF.
        boxes_xyxy_px: (n, 4) float64, its objects.
        class_ids: (n,) int64, positions in the recipe's classes.
        object_share: of the scene's pixels that lie in labelled images.
    """

    path: Path
    boxes_xyxy_px: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    object_share: float


def build_scene(recipe: Recipe, folder: CocoFolder, naip: Path, path: Path) -> SparseScene:
    """Writes the scene of a recipe.

    Args:
        recipe: what it is made of.
        folder: prepared images of the recipe's list.
        naip: folder of NAIP tiles, ``<city>_<number>.jpg``.
        path: to write.
    """
    rng = np.random.default_rng(recipe.seed)
    wanted = {folder.class_names.index(name): i for i, name in enumerate(recipe.classes)}
    shows = [image for image in folder.images if set(image.class_ids.tolist()) & set(wanted)]
    laid = [shows[i] for i in rng.permutation(len(shows))[: recipe.images]]
    others = [image for image in folder.images if image not in laid]
    squares = list(_tiles(naip, recipe.cities) if recipe.cities else _clear_squares(others, rng))
    pixels = _ground([squares[i] for i in rng.permutation(len(squares))])
    boxes, class_ids = [np.zeros((0, 4))], []
    for image, (left, top) in zip(laid, _places(laid, rng), strict=True):
        pixels[top : top + image.height_px, left : left + image.width_px] = read_image(image)
        for box, class_id in zip(image.boxes_xyxy_px, image.class_ids.tolist(), strict=True):
            if class_id in wanted:
                boxes.append(np.asarray(box, np.float64)[None] + np.tile([left, top], 2))
                class_ids.append(wanted[class_id])
    with new_scene(path, SIDE_PX, SIDE_PX) as file:
        for row in range(0, SIDE_PX, BLOCK_PX):
            rows = pixels[row : row + BLOCK_PX]
            file.write(rows.transpose(2, 0, 1), window=RasterWindow(0, row, SIDE_PX, len(rows)))
    share = sum(image.width_px * image.height_px for image in laid) / SIDE_PX**2
    return SparseScene(path, np.concatenate(boxes), np.array(class_ids, np.int64), share)


def _ground(squares: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """All of a scene, of squares that are each mirrored to both sides; squares come again where there are too few."""
    pixels = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    side, used = 2 * GROUND_PX, 0
    for top in range(0, SIDE_PX, side):
        for left in range(0, SIDE_PX, side):
            square = squares[used % len(squares)]
            pixels[top : top + side, left : left + side] = np.pad(
                square, ((0, GROUND_PX), (0, GROUND_PX), (0, 0)), "symmetric"
            )
            used += 1
    return pixels


def _tiles(naip: Path, cities: tuple[str, ...]) -> Iterator[NDArray[np.uint8]]:
    for city in cities:
        for path in sorted(naip.glob(f"{city}_*.jpg")):
            yield np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


def _clear_squares(images: Sequence[ImageRecord], rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Up to two squares of each image that keep clear of all its boxes."""
    for image in images:
        pixels = read_image(image)
        lefts = rng.integers(0, max(1, image.width_px - GROUND_PX + 1), 60)
        tops = rng.integers(0, max(1, image.height_px - GROUND_PX + 1), 60)
        found: list[tuple[int, int]] = []
        for left, top in zip(lefts.tolist(), tops.tolist(), strict=True):
            near = np.array([left, top, left + GROUND_PX, top + GROUND_PX]) + CLEAR_PX * np.array([-1, -1, 1, 1])
            boxes = image.boxes_xyxy_px
            hit = (boxes[:, :2] < near[2:]).all(axis=1) & (boxes[:, 2:] > near[:2]).all(axis=1)
            apart = all(max(abs(left - x), abs(top - y)) >= GROUND_PX for x, y in found)
            if not hit.any() and apart and len(found) < 2 and min(pixels.shape[:2]) >= GROUND_PX:
                found.append((left, top))
                yield pixels[top : top + GROUND_PX, left : left + GROUND_PX]


def _places(images: Sequence[ImageRecord], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Left and top of each image, drawn anew until it keeps clear of those before it."""
    taken: list[tuple[int, int, int, int]] = []
    for image in images:
        while True:
            left, top = (int(rng.integers(0, SIDE_PX - side)) for side in (image.width_px, image.height_px))
            box = left, top, left + image.width_px, top + image.height_px
            if all(
                box[0] > x2 + GAP_PX or box[2] < x1 - GAP_PX or box[1] > y2 + GAP_PX or box[3] < y1 - GAP_PX
                for x1, y1, x2, y2 in taken
            ):
                taken.append(box)
                break
    return [(left, top) for left, top, _, _ in taken]
