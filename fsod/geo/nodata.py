"""A value that stands for nothing, declared by the user where a file does not say so; ``undeclared`` recognises others."""

from __future__ import annotations

import re

import numpy as np
import rasterio
from rasterio.io import DatasetReader, MemoryFile
from rasterio.shutil import copy as copy_raster

WIDE = ("int64", "uint64")
"""Types whose ends have more digits than a float."""


def with_nodata(dataset: DatasetReader, nodata: float) -> DatasetReader:
    """A view of an open raster as if its file declared a nodata value; the raster itself is not needed then.

    GDAL makes it, so that edges are resampled as those of a declared one are.

    Raises:
        RasterioError: GDAL cannot make a view of the raster, or no band can hold the value.
    """
    with MemoryFile(ext=".vrt") as view:
        copy_raster(dataset, view.name, driver="VRT")
        with rasterio.open(view.name, "r+") as declared:
            declared.nodata = nodata
        most = min((int(np.iinfo(kind).max) for kind in dataset.dtypes if kind in WIDE), default=0)
        if not most:
            return rasterio.open(view.name)
        # GDAL writes -9.2e+18, and reads -9 of that where pixels are integers
        digits = b"<NoDataValue>%d</NoDataValue>" % min(int(nodata), most)
        text = re.sub(rb"<NoDataValue>.*?</NoDataValue>", digits, bytes(view.getbuffer()))
    with MemoryFile(text, ext=".vrt") as exact:
        return rasterio.open(exact.name)


def can_hold(dataset: DatasetReader, nodata: float) -> bool:
    """Whether a pixel of the raster can have this value."""
    kinds = [np.dtype(kind) for kind in dataset.dtypes]
    return all(
        abs(nodata) <= float(np.finfo(kind).max)
        if kind.kind in "fc"
        else float(nodata).is_integer() and float(np.iinfo(kind).min) <= nodata <= float(np.iinfo(kind).max)
        for kind in kinds
    )
