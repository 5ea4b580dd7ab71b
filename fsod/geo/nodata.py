"""Values that stand for nothing: declared by the user, or recognised where a file does not say so.

A collar of -9999 that no tag declares would set what is black, and all the picture would be white. Only rasters that are
scaled are looked at; in 8 bits nothing is scaled, and 0 is black either way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader, MemoryFile
from rasterio.shutil import copy as copy_raster

LEAST_SHARE = 0.02
"""Of the pixels that a value must fill: what fills less is beyond the percentiles, and sets nothing."""

USUAL = (0.0, -1.0, -999.0, -9999.0, -99999.0, -32768.0, -32767.0, 32767.0, 65535.0, 65534.0)
"""What programs write for nothing, besides the ends of a type's range."""

APART = 1.0
"""Any other value counts if it lies farther from all the rest than this share of the range of the rest."""


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
        kind.kind == "f" or (float(nodata).is_integer() and np.iinfo(kind).min <= nodata <= np.iinfo(kind).max)
        for kind in kinds
    )


def recognise_nodata(raw: NDArray[np.generic], valid: NDArray[np.bool_]) -> tuple[float, float] | None:
    """The value that stands for nothing though no tag says so, and the share of pixels that it fills; None if there is none.

    It is the least or the greatest value of every band, in the same pixels of all, and fills more than 2 % of them.

    Args:
        raw: (bands, h, w), a reduced read of the whole scene.
        valid: (h, w), where the file's own tags leave it valid.
    """
    seen = raw[:, valid]
    if not seen.size:
        return None
    kind = raw.dtype.name
    info: Any = np.iinfo(kind) if raw.dtype.kind in "iu" else np.finfo(kind)
    usual = {*USUAL, float(info.min), float(info.max)}
    for value in (np.nanmin(seen), np.nanmax(seen)) if np.isfinite(seen).any() else ():
        empty = (seen == value).all(axis=0)
        share = float(empty.mean())
        rest = seen[:, ~empty].astype(np.float64)
        rest = rest[np.isfinite(rest)]
        if share <= LEAST_SHARE or not rest.size or rest.min() == rest.max():
            continue  # without it there would be no range to scale
        gap = min(abs(float(value) - rest.min()), abs(float(value) - rest.max()))
        if float(value) in usual or gap > APART * (rest.max() - rest.min()):
            return float(value), share
    return None
