"""An array or a picture as a raster that GDAL opens by a name, so that it is read as any scene is: window by window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from fsod.errors import UserError
from fsod.geo.quiet import quietly

Pixels = NDArray[np.generic] | Image.Image
"""(H, W, 3) RGB or (H, W) grey of any stride; uint8 as it is, other types scaled by their percentiles. Or a picture.

What numpy's masked array masks, and where a picture is transparent, there is nothing, as where a file declares no data.
"""

IN_MEMORY = "array"
"""What messages and files call a scene that has no name."""

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
    array, valid = _array_of(pixels) if isinstance(pixels, Image.Image) else (np.asarray(pixels), None)
    bands = array[..., None] if array.ndim == 2 else array
    if bands.ndim != 3 or bands.shape[2] not in (1, 3) or not bands.size:
        raise UserError(f"array: of shape {array.shape}; give (height, width, 3) for RGB, or (height, width) for grey")
    if isinstance(pixels, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(pixels).reshape(bands.shape)
        valid = np.logical_not(masked.all(axis=2, keepdims=True))[..., 0]  # valid where any band is, as in files
    height, width, count = bands.shape
    how = {"photometric": "RGB" if count == 3 else "MINISBLACK", "tiled": True, "bigtiff": "IF_SAFER"}
    with MemoryFile(ext=".tif") as memory:
        try:
            # a mask in a file of its own would stay in memory
            with (
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
                quietly(),
                memory.open(driver="GTiff", width=width, height=height, count=count, dtype=bands.dtype, **how) as file,
            ):
                file.write(np.ascontiguousarray(np.moveaxis(bands, -1, 0)))
                if valid is not None and not valid.all():
                    file.write_mask(valid)
        except (RasterioError, TypeError, KeyError) as error:
            raise UserError(f"array: pixels of type {array.dtype}; give uint8, uint16, int16 or float32") from error
        yield memory.name


def _array_of(picture: Image.Image) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """Its pixels, and where there are any; None: everywhere. Grey of more than 8 bits stays, which Pillow cuts off at 255."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return np.asarray(picture), None
    if picture.has_transparency_data:
        rgba = np.asarray(picture.convert("RGBA"))
        return rgba[..., :3], rgba[..., 3] > 0
    return np.asarray(picture.convert("RGB")), None
