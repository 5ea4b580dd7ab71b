"""Features of a vector file, in any format that people keep them in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from fsod.errors import UserError, one_line
from fsod.files import refuse_pipe
from fsod.geo.quiet import quietly

VectorFile = str | Path
"""A vector file, or one that GDAL finds inside another: /vsizip//places/marks.zip/marks.geojson."""

NOT_FINITE = "a coordinate that is not finite, or larger than any place on Earth has"
FARTHEST = 1e12
"""Of a coordinate, whatever its unit; beyond it, polygons vanish when they are put together."""


UNREADABLE = (
    *(
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        shapely.errors.ShapelyError,
        OSError,
        RuntimeError,
    ),
    *(ValueError, LookupError, TypeError, AttributeError, NameError, OverflowError),
)
"""What GDAL, GEOS, PROJ, Arrow and GeoPandas raise for damaged files: each has errors of its own. NameError is pyogrio's for a
coordinate system that is not in UTF-8."""

SEARCHED = "searched"
"""The layer of what was searched, which ``fsod predict`` puts beside its detections; who wants it names it."""

NAMED = 3
"""How many offending features an error names."""


def read_frame(
    path: VectorFile, layer: str | None, usual: str = "", *, ids: bool = False, option: str = "--layer"
) -> GeoDataFrame:
    """All features of a vector file.

    Tables without geometry do not count as layers: QGIS keeps styles and projects in such tables of a GeoPackage.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, FlatGeobuf or anything else that GDAL reads, or GeoParquet.
        layer: which layer, where the file has several.
        usual: the one that is read of several where none is named, if it is among them.
        ids: index the features by their ids in the file, not by their positions from 0.
        option: of the command that names the layer, for the message.

    Raises:
        UserError: not a vector file; several layers and none named.
    """
    if "://" in str(path) and not Path(path).exists():
        raise UserError(f"{path}: vector files are not fetched from servers; download it and name the file")
    if not _is_inside_another(path) and not Path(path).exists():
        raise UserError(f"{path}: no such vector file")
    refuse_pipe(Path(path))
    try:
        if Path(path).suffix.lower() == ".parquet":  # GDAL's wheels cannot
            return geopandas.read_parquet(path)
        layers = layer_names(path)
        if layer is None and usual in layers:
            layer = usual
        if layer is None and len(layers) > 1:
            raise UserError(f"{path}: has several layers; name one of {', '.join(layers)} ({option})")
        if layer is not None and layer not in (*layers, SEARCHED):
            raise UserError(f"{path}: no layer {layer!r}; it has {', '.join(layers)}")
        with quietly():
            # a ring that nobody closed is closed; what else GDAL and GEOS warn of leaves a feature without a geometry, which is
            # then refused by its number
            frame = pyogrio.read_dataframe(path, layer=layer or layers[0], on_invalid="fix", fid_as_index=ids)
    except UNREADABLE as error:
        reason = error.__context__ if isinstance(error, NameError) else error
        raise UserError(f"{path}: cannot be read as a vector file ({one_line(reason)})") from error
    if not isinstance(frame, GeoDataFrame):
        raise UserError(f"{path}: is a table without geometry; save what it holds as a GeoPackage or GeoJSON")
    return frame


def _is_inside_another(path: VectorFile) -> bool:
    return str(path).startswith("/vsi")


def layer_in(path: VectorFile, layer: str | None) -> str | None:
    """The layer to read of one of several files: the one that is named for all, unless this file has only one anyway."""
    if layer is None:
        return None
    names = _names_in(path)
    return layer if layer in names or len({*names} - {SEARCHED}) > 1 else None


def check_layer(paths: Sequence[VectorFile], layer: str | None) -> None:
    """UserError for a layer that is named for several files and in none of them."""
    names = {path: _names_in(path) for path in paths}
    there = {one for own in names.values() for one in own}
    if there and layer not in (None, *there):
        told = "; ".join(f"{path} has {', '.join(own)}" for path, own in list(names.items())[:NAMED] if own)
        raise UserError(f"--layer {layer}: no file has such a layer; {told}")


def _names_in(path: VectorFile) -> list[str]:
    """Of all layers of a file; none where it has no names, or cannot be read, which ``read_frame`` says."""
    there = _is_inside_another(path) or Path(path).exists()
    if not there or Path(path).suffix.lower() == ".parquet":
        return []
    try:
        searched = [SEARCHED] if SEARCHED in pyogrio.list_layers(path)[:, 0] else []
        return list(dict.fromkeys([*layer_names(path), *searched]))
    except UNREADABLE:
        return []


def layer_names(path: VectorFile) -> list[str]:
    """Names of the layers with geometry, but for what was searched; of all tables, where none has any."""
    tables = pyogrio.list_layers(path)
    if not len(tables):
        raise ValueError("no layer in it")
    on_a_map = [str(name) for name, kind in tables if kind is not None]
    if len(on_a_map) > 1 and SEARCHED in on_a_map:
        on_a_map.remove(SEARCHED)
    return on_a_map or [str(name) for name, _ in tables]


def read_polygons(path: VectorFile, layer: str | None = None, option: str = "--layer") -> GeoSeries:
    """The polygons of a vector file, made valid; UserError where there is none, or a feature that is none."""
    frame = read_frame(path, layer, option=option)
    shapes = np.asarray(frame.geometry)
    if not len(shapes):
        raise UserError(f"{path}: holds no features; draw at least one polygon")
    other = np.flatnonzero((shapely.get_dimensions(shapes) < 2) | shapely.is_empty(shapes)) + 1
    raise_refused(path, dict.fromkeys(other.tolist(), "no polygon, so no area"))
    raise_refused(path, dict.fromkeys((np.flatnonzero(not_finite(shapes)) + 1).tolist(), NOT_FINITE))
    return GeoSeries(shapely.make_valid(shapes), crs=frame.crs)


def polygons_in(shape: BaseGeometry | None) -> shapely.MultiPolygon:
    """The polygons among what an operation left, which may be lines and points too."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.MultiPolygon(parts[(shapely.get_dimensions(parts) == 2) & (shapely.area(parts) > 0)].tolist())


def not_finite(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which of n geometries have a coordinate that is infinite, no number or beyond ``FARTHEST``: (n,)."""
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    return np.isin(np.arange(len(shapes)), owner[~(np.abs(xy) <= FARTHEST).all(axis=1)])


def raise_refused(path: VectorFile, refused: dict[int, str]) -> None:
    """UserError that names the features refused for the first reason there is, if any."""
    for why in refused.values():
        numbers = [str(i) for i, reason in refused.items() if reason == why]
        more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
        raise UserError(f"{path}: feature {', '.join(numbers[:NAMED])}{more}: {why}")
