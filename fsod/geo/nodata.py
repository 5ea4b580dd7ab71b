"""A value that stands for nothing, declared by the user where a file does not say so; ``undeclared`` recognises others."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.io import DatasetReader, MemoryFile
from rasterio.shutil import copy as copy_raster


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
        return rasterio.open(view.name)


def can_hold(dataset: DatasetReader, nodata: float) -> bool:
    """Whether a pixel of the raster can have this value."""
    kinds = [np.dtype(kind) for kind in dataset.dtypes]
    return all(
        abs(nodata) <= float(np.finfo(kind).max)
        if kind.kind in "fc"
        else float(nodata).is_integer() and np.iinfo(kind).min <= nodata <= np.iinfo(kind).max
        for kind in kinds
    )
