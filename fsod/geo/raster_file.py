"""Opening a raster as GDAL does, with its errors in one line, and nothing fetched or run that nobody asked for."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from fsod.config import WINDOW_PX
from fsod.errors import UserError
from fsod.files import refuse_pipe
from fsod.geo.network import gdal_for, safe_drivers, why_closed
from fsod.geo.nodata import with_nodata
from fsod.geo.quiet import quietly
from fsod.geo.stac_scenes import RASTERS
from fsod.geo.tile_mosaic import TILES, TileMosaic
from fsod.geo.tile_names import tiles_named, zoom_of_mbtiles

MOST_WINDOW_BYTES = 2**36
"""Of a window of ``WINDOW_PX`` all blocks are decoded that it touches, whole; of more bytes nobody waits for it."""

OPENED_BY = {"HDF5Image": ("HDF5Image", "HDF5"), "HDF4Image": ("HDF4Image", "HDF4")}
"""A driver that a raster says it is of -> those that open it: a file of one raster is opened by another one."""

NAMED_PARTS = 5
"""Rasters of a file that a message names."""


def open_dataset(name: str, driver: str | None = None, nodata: float | None = None) -> DatasetReader:
    """GDAL's handle of a raster; UserError if it cannot be opened.

    Args:
        name: a file, or anything else that GDAL opens; map tiles, see ``tile_names``.
        driver: the only one of GDAL's that may open it.
        nodata: value that stands for nothing, see ``with_nodata``.
    """
    refuse_pipe(Path(name))
    if driver in (None, TILES) and (tiles := tiles_named(name)) is not None:
        return TileMosaic(tiles, nodata)
    try:
        with gdal_for(name), quietly():
            safe = safe_drivers()
            if (zoom := zoom_of_mbtiles(name)) is not None and driver in (None, "MBTiles"):
                dataset = rasterio.open(str(Path(name).parent), driver="MBTiles", ZOOM_LEVEL=zoom)
            elif driver is None and safe is not None:
                dataset = DatasetReader(name, driver=list(safe))  # rasterio.open takes no more than one
            elif driver in OPENED_BY:
                dataset = DatasetReader(name, driver=list(OPENED_BY[driver]))
            else:
                dataset = rasterio.open(name, driver=driver)
            dataset.colorinterp  # noqa: B018 - GDAL reads sidecars only when it is asked for what they hold
            if dataset.count and nodata is not None:
                with dataset:
                    return with_nodata(dataset, nodata)
    except (RasterioError, CPLE_BaseError, OSError, ValueError) as error:
        hint = _of_folder(Path(name)) if Path(name).is_dir() else ""
        raise UserError(f"{name}: cannot be opened as a raster ({gdals_reason(name, error)}){hint}") from error
    if not dataset.count or not dataset.width * dataset.height:
        parts = dataset.subdatasets
        dataset.close()
        several = f"; it holds {len(parts)} rasters, name one: {', '.join(parts[:NAMED_PARTS])}" if parts else ""
        stack = " (or stack them: gdalbuildvrt -separate)" if parts else ""
        raise UserError(f"{name}: holds no pixels of its own{several}{stack}")
    if dataset.driver == "WEBP" and _is_animation(Path(name)):
        dataset.close()
        raise UserError(f"{name}: is an animation; save one of its pictures as a file of its own")
    height, width = dataset.block_shapes[0]
    window_bytes = (WINDOW_PX + 2 * height) * (WINDOW_PX + 2 * width) * np.dtype(dataset.dtypes[0]).itemsize
    if window_bytes > MOST_WINDOW_BYTES:
        dataset.close()
        raise UserError(
            f"{name}: is stored in pieces of {width}x{height} px, so that {window_bytes / 2**30:.0f} GB would be read to see "
            "any place of it; store it in tiles (gdal_translate -co TILED=YES)"
        )
    return dataset


def _is_animation(webp: Path) -> bool:
    """Whether a WebP moves; GDAL opens such a file and fails to read it."""
    if not webp.is_file():
        return False
    with webp.open("rb") as file:
        head = file.read(21)
    return head[12:16] == b"VP8X" and head[20] & 0b10 != 0


def _of_folder(folder: Path) -> str:
    """What to name instead of a folder: its rasters, of the kind that most of them are of."""
    kinds: Counter[str] = Counter()
    with suppress(OSError):
        kinds.update(path.suffix for path in folder.iterdir() if path.suffix.lower() in RASTERS)
    return f"; name its rasters: '{folder}/*{kinds.most_common(1)[0][0]}'" if kinds else "; it holds no rasters"


def gdals_reason(name: str, error: Exception) -> str:
    """The innermost message, which is GDAL's own, on one line; and what to do where the network was closed to it."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    reason = " ".join(str(error).split())
    return reason + why_closed(name, reason)
