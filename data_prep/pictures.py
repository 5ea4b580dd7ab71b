"""Source images on their way into a prepared folder, the same way for every reader.

What the network is shown in training must be what it is shown in a scene. So an image is read by the rule of
:mod:`fsod.geo.pixels`, which scales 16-bit and float, picks the colours of many bands and blackens what is not valid. If
the plain reading of the file gives the very same pixels, the file goes as it is; else the pixels are written as PNG. A JPEG is
8-bit always and goes as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.folder import place_file
from fsod.data.coco import read_rgb
from fsod.errors import UserError
from fsod.geo.scene import open_scene

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jp2"))
"""What is taken for an image where a folder is searched, in lower case."""

MAX_PX = 170_000_000
"""Pillow refuses to open larger images, so a prepared folder cannot hold them."""

_ORIENTATION, _UPRIGHT = 0x0112, 1


@dataclass(frozen=True)
class Picture:
    """A source image that has been read to its last byte.

    Attributes:
        path: the file.
        width_px: of the image.
        height_px: of the image.
        gsd_m: ground size of a pixel in metres where the file is georeferenced.
        scaling: how its pixels became 8-bit RGB; None where the file goes as it is.
        rgb: those pixels, (H, W, 3) uint8; None where the file goes as it is.
    """

    path: Path
    width_px: int
    height_px: int
    gsd_m: float | None = None
    scaling: str | None = None
    rgb: NDArray[np.uint8] | None = field(repr=False, default=None)

    def place(self, folder: Path, stem: str) -> str:
        """Puts the picture into ``folder`` and returns its file name: ``stem`` with the suffix that fits."""
        if self.rgb is None:
            name = stem + self.path.suffix.lower()
            place_file(self.path, folder / name)
        else:
            name = f"{stem}.png"
            Image.fromarray(self.rgb).save(folder / name, compress_level=1)
        return name


def open_picture(path: Path) -> Picture:
    """Reads a source image.

    Raises:
        UserError: it is missing, damaged or too large, or its header asks to turn it, which labelling tools do or do
            not do, so that nobody can know where its boxes are.
    """
    kind = _check_header(path)
    if kind in ("JPEG", "MPO"):
        height, width = read_rgb(path).shape[:2]
        return Picture(path, width, height)
    with open_scene(path) as scene:
        if scene.width_px * scene.height_px > MAX_PX:
            raise UserError(
                f"{path}: {scene.width_px}x{scene.height_px} px are too many for one image; cut it up first"
            )
        width, height, gsd_m = scene.width_px, scene.height_px, scene.georeference.gsd_m
        rgb, _ = scene.read_rectangle((0, 0, width, height))
        scaling = str(scene.rule)
    if kind is not None and _reads_plainly(path, rgb):
        return Picture(path, width, height, gsd_m)
    return Picture(path, width, height, gsd_m, scaling, rgb)


def _check_header(path: Path) -> str | None:
    """Pillow's name of the format, None where Pillow does not know it."""
    if not path.is_file():
        raise UserError(f"{path}: no such image")
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT
            kind = image.format
    # as fsod.data.coco.read_rgb; what is wrong is said by those who read the pixels
    except (OSError, SyntaxError, ValueError, ModuleNotFoundError, Image.DecompressionBombError):
        return None
    if turned:
        raise UserError(f"{path}: its EXIF orientation says to turn it; save it upright, and check its boxes")
    return kind


def _reads_plainly(path: Path, rgb: NDArray[np.uint8]) -> bool:
    try:
        return np.array_equal(read_rgb(path), rgb)
    except UserError:  # 16-bit, or a layout of bands that Pillow does not know
        return False
