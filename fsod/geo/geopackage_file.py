"""The GeoPackage that layers of ``fsod`` are put into: it may hold layers of others, which stay."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pyogrio
from geopandas import GeoDataFrame

from fsod.errors import UserError
from fsod.geo.features import SEARCHED
from fsod.geo.quiet import quietly

NAME = "detections"
"""Of the layer inside the file. The file's own name would not do: GeoPackage forbids some."""


def check_takes_layer(path: Path) -> None:
    """UserError for a GeoPackage that cannot take the layer.

    It holds a raster of the layer's name, or its last changes are not in the file yet, as another program has it open: they
    lie in a file beside it, which would not fit the one that takes its place.
    """
    log = path.with_name(path.name + "-wal")
    if path.suffix.lower() == ".gpkg" and path.exists() and log.is_file() and log.stat().st_size:
        raise UserError(f"{path}: is open in another program, such as QGIS; close it there, or choose another --out")
    if path.suffix.lower() == ".gpkg" and _selects(path, f"FROM gpkg_tile_matrix_set WHERE table_name = '{NAME}'"):
        raise UserError(f"{path}: holds a raster called {NAME!r}, as its layer would be; choose another --out")
    own = f"SELECT 1 FROM pragma_table_info('{SEARCHED}') WHERE name = 'area_km2'"
    foreign = f"FROM gpkg_contents WHERE table_name = '{SEARCHED}' AND NOT EXISTS ({own})"
    if path.suffix.lower() == ".gpkg" and _selects(path, foreign):
        raise UserError(
            f"{path}: holds a layer called {SEARCHED!r} that is not of `fsod predict`; rename it, or choose another --out"
        )


def has_other_layers(path: Path) -> bool:
    """Whether a GeoPackage holds layers of others, rasters, or tables such as QGIS's styles; what is none is replaced."""
    layers = f"FROM gpkg_contents WHERE table_name NOT IN ('{NAME}', '{SEARCHED}')"
    return _selects(path, layers) or _selects(path, "FROM sqlite_master WHERE name = 'layer_styles'")


def _selects(path: Path, query: str) -> bool:
    """Whether a query finds a row; it finds none where there is no such file, or no such table in it."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            return file.execute(f"SELECT 1 {query} LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False


def empty_searched(path: Path) -> None:
    """Removes all rows of what was searched, which is that of an earlier layer of detections."""
    if SEARCHED in pyogrio.list_layers(path)[:, 0]:
        nothing = pyogrio.read_dataframe(path, layer=SEARCHED)[:0]
        pyogrio.write_dataframe(nothing, path, driver="GPKG", layer=SEARCHED, geometry_type="MultiPolygon")


def into_geopackage(
    path: Path,
    frame: GeoDataFrame,
    name: str,
    geometry_type: str,
    run: dict[str, str],
    then: Callable[[Path], None] = lambda _: None,
) -> None:
    """Puts a layer into a copy of a GeoPackage in place of an earlier one of its name, and the copy in place of the file.

    Args:
        path: the GeoPackage; its other layers stay.
        frame: the features.
        name: of the layer.
        geometry_type: of the features, as GDAL calls it.
        run: what all features share.
        then: done to the copy before it takes the file's place.

    Raises:
        OSError: it cannot be written; the file stays as it was.
    """
    with TemporaryDirectory(".fsod-part", ".", path.parent) as folder, quietly():
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        pyogrio.write_dataframe(frame, copy, driver="GPKG", layer=name, geometry_type=geometry_type, layer_metadata=run)
        if pyogrio.read_info(copy, layer=name)["features"] != len(frame):
            raise OSError("the disk may be full")
        then(copy)
        copy.replace(path)
