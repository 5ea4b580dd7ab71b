"""Labelled examples from any vector file, as boxes in a scene's own pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from fsod.errors import UserError, nearest
from fsod.geo.scene import Scene

NAMED = 3
"""How many offending features an error names."""


@dataclass(frozen=True)
class LabelledBoxes:
    """Example boxes of a scene.

    Attributes:
        boxes_xyxy_px: (n, 4) float64 in the scene's own pixels, inside the scene.
        class_names: n names, in the order of the boxes.
    """

    boxes_xyxy_px: NDArray[np.float64]
    class_names: tuple[str, ...]


def read_boxes(path: Path, class_attribute: str, scene: Scene, *, layer: str | None = None) -> LabelledBoxes:
    """Reads polygons of a vector file as the boxes around them in the scene's pixels; one feature is one box.

    Coordinates come from whatever CRS the file has. For a scene without a usable CRS they are taken for its pixels. A
    polygon that reaches over the scene's edge is clipped to it.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, FlatGeobuf or anything else that GDAL reads.
        class_attribute: the attribute that holds the class.
        scene: the raster that the examples lie on.
        layer: which layer, where the file has several.

    Raises:
        UserError: not a vector file; several layers and none named; no such attribute; no CRS; no feature; a feature
            without a class, that is no polygon, or that lies outside the scene. Features are counted from 1.
    """
    frame = _read_layer(path, layer)
    if not len(frame):
        raise UserError(f"{path}: holds no features; mark at least one example")
    attributes = [str(column) for column in frame.columns if column != "geometry"]
    if class_attribute not in attributes:
        raise UserError(
            f"{path}: no attribute {class_attribute!r}{nearest(class_attribute, attributes)}; "
            f"it has {', '.join(attributes) or 'none'}"
        )
    names = frame[class_attribute]
    _refuse(path, "no class in " + class_attribute, names.isna() | (names.astype(str).str.strip() == ""))
    kinds = shapely.get_type_id(frame.geometry)
    _refuse(
        path,
        "no polygon",
        ~np.isin(kinds, (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)) | frame.geometry.is_empty,
    )
    boxes = _pixel_boxes(path, frame, scene)
    inside = np.clip(boxes, 0, np.tile([scene.width_px, scene.height_px], 2))
    width, height = (inside[:, 2:] - inside[:, :2]).T
    _refuse(path, _outside(scene), ~((width > 0) & (height > 0)))
    return LabelledBoxes(inside, tuple(str(name).strip() for name in names))


def _read_layer(path: Path, layer: str | None) -> GeoDataFrame:
    if not path.exists():
        raise UserError(f"{path}: no such vector file")
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        if layer is None and len(layers) > 1:
            raise UserError(f"{path}: has several layers; name one of {', '.join(layers)}")
        if layer is not None and layer not in layers:
            raise UserError(f"{path}: no layer {layer!r}; it has {', '.join(layers)}")
        frame = pyogrio.read_dataframe(path, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise UserError(f"{path}: cannot be read as a vector file ({' '.join(str(error).split())})") from error
    if not isinstance(frame, GeoDataFrame):
        raise UserError(f"{path}: is a table without geometry")
    return frame


def _refuse(path: Path, what: str, wrong: Iterable[bool]) -> None:
    """UserError that names the features for which ``wrong`` holds."""
    numbers = [str(i) for i, is_wrong in enumerate(wrong, start=1) if is_wrong]
    if numbers:
        more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
        raise UserError(f"{path}: feature {', '.join(numbers[:NAMED])}{more}: {what}")


def _outside(scene: Scene) -> str:
    text = f"lies outside {scene.name} ({scene.width_px}x{scene.height_px} px)"
    if scene.georeference.crs is None:
        text += ", which has no usable CRS: coordinates must be its pixels, with y downwards from 0"
    return text


def _pixel_boxes(path: Path, frame: GeoDataFrame, scene: Scene) -> NDArray[np.float64]:
    """The bounds of each feature in scene pixels (n, 4): of its vertices, so they fit on a rotated grid too."""
    geometries = np.asarray(frame.geometry)
    crs = scene.georeference.crs
    if crs is None:
        return np.asarray(shapely.bounds(geometries))
    if frame.crs is None:
        raise UserError(f"{path}: has no CRS; save it with the one its coordinates are in")
    vertices, feature = shapely.get_coordinates(geometries, return_index=True)
    try:
        to_scene = pyproj.Transformer.from_crs(frame.crs, crs, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise UserError(f"{path}: its CRS does not lead to that of {scene.name}") from error
    xy = np.stack(to_scene.transform(vertices[:, 0], vertices[:, 1]), axis=1)
    # a vertex that the scene's CRS cannot hold becomes infinite; as NaN it makes its feature's box one, which is outside
    xy_px = scene.georeference.to_pixels(np.where(np.isfinite(xy), xy, np.nan))
    starts = np.flatnonzero(np.diff(feature, prepend=-1))
    return np.concatenate([np.minimum.reduceat(xy_px, starts), np.maximum.reduceat(xy_px, starts)], axis=1)
