"""An array or a picture as a raster that GDAL opens by a name, so that it is read as any scene is: window by window."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from fsod.errors import UserError

Pixels = NDArray[np.generic] | Image.Image
"""(H, W, 3) RGB or (H, W) grey of any stride; uint8 as it is, other types scaled by their percentiles. Or a picture."""

_PREFIX = "/vsimem/"


def is_in_memory(scene: str) -> bool:
    """Whether a scene is one of ``raster_in_memory``, which is gone when its block ends."""
    return scene.startswith(_PREFIX)


@contextmanager
def raster_in_memory(pixels: Pixels) -> Iterator[str]:
    """The name of a raster without a coordinate system that holds a copy of the pixels, while the block runs.

    Raises:
        UserError: not one or three bands, no pixel at all, or a type that no raster holds.
    """
    array = _array_of(pixels) if isinstance(pixels, Image.Image) else np.asarray(pixels)
    bands = array[..., None] if array.ndim == 2 else array
    if bands.ndim != 3 or bands.shape[2] not in (1, 3) or not bands.size:
        raise UserError(f"array: of shape {array.shape}; give (height, width, 3) for RGB, or (height, width) for grey")
    height, width, count = bands.shape
    how = {"photometric": "RGB" if count == 3 else "MINISBLACK", "tiled": True, "bigtiff": "IF_SAFER"}
    with MemoryFile(ext=".tif") as memory:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with memory.open(
                    driver="GTiff", width=width, height=height, count=count, dtype=bands.dtype, **how
                ) as file:
                    file.write(np.ascontiguousarray(np.moveaxis(bands, -1, 0)))
        except (RasterioError, TypeError, KeyError) as error:
            raise UserError(f"array: pixels of type {array.dtype}; give uint8, uint16, int16 or float32") from error
        yield memory.name


def _array_of(picture: Image.Image) -> NDArray[np.generic]:
    """Its pixels: colours as RGB, grey of more than 8 bits as it is, which Pillow would cut off at 255."""
    deep = picture.mode in ("I", "F") or picture.mode.startswith("I;16")
    return np.asarray(picture if deep else picture.convert("RGB"))
