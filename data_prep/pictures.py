"""Source images on their way into a prepared folder, the same way for every reader.

What the network is shown in training must be what it is shown in a scene. So an image is read by the rule of
:mod:`fsod.geo.pixels`, which scales 16-bit and float, picks the colours of many bands and blackens what is not valid. If
the plain reading of the file gives the very same pixels, the file goes as it is; else the pixels are written as PNG. A JPEG is
8-bit always and goes as it is; its ground GSD is that of its world file or of the like.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.folder import place_file
from fsod.data.coco_folder import IMAGE_FORMATS
from fsod.errors import UserError
from fsod.geo.georeference import read_georeference
from fsod.geo.raster_file import open_dataset
from fsod.geo.scene_opening import open_scene

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jp2"))
"""What is taken for an image where a folder is searched, in lower case."""

MAX_PX = 170_000_000
"""Pillow refuses to open larger images, so a prepared folder cannot hold them."""

_LFS_POINTER = b"version https://git-lfs"
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
    plain = _read_plainly(path)
    if plain is not None and plain.kind in ("JPEG", "MPO"):
        height, width = plain.rgb.shape[:2]
        return Picture(path, width, height, _gsd_m(path))
    with open_scene(path, north_up=False) as scene:  # annotations count in the file's pixels
        width, height, gsd_m = scene.width_px, scene.height_px, scene.georeference.gsd_m
        if width * height > MAX_PX:
            raise UserError(f"{path}: {width}x{height} px are too many for one image; cut it up first")
        rgb, _ = scene.read_rectangle((0, 0, width, height))
        scaling = str(scene.rule)
    if plain is not None and np.array_equal(plain.rgb, rgb):
        return Picture(path, width, height, gsd_m)
    return Picture(path, width, height, gsd_m, scaling, rgb)


def _gsd_m(path: Path) -> float | None:
    """Ground size of a pixel in metres, None where the file is not georeferenced."""
    try:
        with open_dataset(str(path)) as dataset:
            return read_georeference(dataset, str(path))[0].gsd_m
    except UserError:  # a kind of JPEG that Pillow knows and GDAL does not: there is nobody to know a place for it
        return None


class _Plain(NamedTuple):
    kind: str | None
    rgb: NDArray[np.uint8]


def _read_plainly(path: Path) -> _Plain | None:
    """The format and the pixels (H, W, 3) that Pillow sees; None where it cannot say, which is no fault of the file."""
    if not path.is_file():
        gone = (
            f"is a link to {path.readlink()}, which is not there; fetch it first"
            if path.is_symlink()
            else "no such image"
        )
        raise UserError(f"{path}: {gone}")
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise UserError(f"{path}: is a Git LFS pointer, not an image; fetch the image with `git lfs pull`")
    kind = None
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            kind = image.format
            if image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
                raise UserError(f"{path}: its EXIF orientation says to turn it; save it upright, and check its boxes")
            image.load()  # the whole of it: GDAL takes half a PNG for a whole one
            return None if image.mode.startswith(("I", "F")) else _Plain(kind, np.array(image.convert("RGB")))
    # as fsod.data.coco_folder.read_rgb
    except (OSError, SyntaxError, ValueError, ModuleNotFoundError, Image.DecompressionBombError) as error:
        if kind in (None, "TIFF"):  # not its kind, or bands in an order that it does not know: GDAL will say
            return None
        raise UserError(f"{path}: not a readable image: {error}") from error
