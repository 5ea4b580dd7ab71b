"""Labelled examples from any vector file, as boxes in a scene's own pixels.

A polygon is the box around it. A point is a box of a size given in metres on the ground.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray

from fsod.errors import UserError, is_printable, nearest
from fsod.geo.scene import Scene

NAMED = 3
"""How many offending features an error names."""

_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_POINTS = (shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT)


@dataclass(frozen=True)
class LabelledBoxes:
    """Example boxes of a scene.

    Attributes:
        boxes_xyxy_px: (n, 4) float64 in the scene's own pixels, inside the scene.
        class_names: n names, in the order of the boxes.
        features: (n,) number of each box's feature in its file, from 1.
        visible: (n,) share of each box's area that lies inside the scene, above 0 to 1.
    """

    boxes_xyxy_px: NDArray[np.float64]
    class_names: tuple[str, ...]
    features: NDArray[np.int64]
    visible: NDArray[np.float64]

    def select(self, keep: NDArray[np.bool_]) -> LabelledBoxes:
        """The boxes where ``keep``, (n,), is true."""
        names = tuple(self.class_names[i] for i in np.flatnonzero(keep))
        return LabelledBoxes(self.boxes_xyxy_px[keep], names, self.features[keep], self.visible[keep])


@dataclass(frozen=True)
class LabelLayer:
    """The features of a vector file that can be labels, before they are placed on a scene.

    Attributes:
        path: the file.
        geometry: n polygons or points in the file's CRS.
        class_names: their classes.
        features: (n,) their numbers in the file, from 1.
        point_size_m: side of the box around a point, in metres on the ground.
        refused: number of a feature that cannot be a label -> why.
    """

    path: Path
    geometry: GeoSeries
    class_names: tuple[str, ...]
    features: NDArray[np.int64]
    point_size_m: float | None
    refused: dict[int, str]

    def place(self, scene: Scene) -> LabelledBoxes:
        """The labels that lie on a scene, at least in part, as boxes clipped to it.

        For a scene without a usable CRS coordinates are taken for its pixels.

        Raises:
            UserError: the file has no CRS, or one that does not lead to the scene's; points and a scene without a CRS.
        """
        boxes = self._pixel_boxes(scene)
        inside = np.clip(boxes, 0, np.tile([scene.width_px, scene.height_px], 2))
        # a box of NaN, of a place that the scene's CRS cannot hold, is outside too
        on = np.flatnonzero((inside[:, :2] < inside[:, 2:]).all(axis=1))
        visible = np.prod(inside[on, 2:] - inside[on, :2], axis=1) / np.prod(boxes[on, 2:] - boxes[on, :2], axis=1)
        return LabelledBoxes(inside[on], tuple(self.class_names[i] for i in on), self.features[on], visible)

    def _pixel_boxes(self, scene: Scene) -> NDArray[np.float64]:
        """The bounds of each feature in scene pixels (n, 4): of its vertices, so they fit on a rotated grid too."""
        geometries = np.asarray(self.geometry)
        points = np.isin(shapely.get_type_id(geometries), _POINTS)
        georeference = scene.georeference
        if georeference.crs is None:
            if points.any():
                raise UserError(f"{self.path}: points need a scene whose CRS is known, and {scene.name} has none")
            return np.asarray(shapely.bounds(geometries))
        vertices, feature = shapely.get_coordinates(geometries, return_index=True)
        xy_px = georeference.to_pixels(self._to_crs(vertices, scene))
        starts = np.flatnonzero(np.diff(feature, prepend=-1))
        boxes = np.concatenate([np.minimum.reduceat(xy_px, starts), np.maximum.reduceat(xy_px, starts)], axis=1)
        if points.any():
            half_px = (self.point_size_m or np.nan) / 2 / georeference.pixel_sizes_m(boxes[points, :2])
            boxes[points] += np.concatenate([-half_px, half_px], axis=1)
        return boxes

    def _to_crs(self, vertices: NDArray[np.float64], scene: Scene) -> NDArray[np.float64]:
        """Vertices (n, 2) in the scene's CRS; NaN for a place that it cannot hold."""
        if self.geometry.crs is None:
            raise UserError(f"{self.path}: has no CRS; save it with the one its coordinates are in")
        try:
            to_scene = pyproj.Transformer.from_crs(self.geometry.crs, scene.georeference.crs, always_xy=True)
        except pyproj.exceptions.ProjError as error:
            raise UserError(f"{self.path}: its CRS does not lead to that of {scene.name}") from error
        xy = np.stack(to_scene.transform(vertices[:, 0], vertices[:, 1]), axis=1)
        return np.where(np.isfinite(xy), xy, np.nan)


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
    found = read_layer(path, class_attribute, layer=layer)
    raise_refused(path, found.refused)
    placed = found.place(scene)
    away = sorted(set(found.features.tolist()) - set(placed.features.tolist()))
    raise_refused(path, dict.fromkeys(away, outside(scene)))
    return placed


def read_layer(
    path: Path, class_attribute: str, *, layer: str | None = None, point_size_m: float | None = None
) -> LabelLayer:
    """Reads the features of a vector file that can be labels, and says of the others why they cannot.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, FlatGeobuf or anything else that GDAL reads.
        class_attribute: the attribute that holds the class.
        layer: which layer, where the file has several.
        point_size_m: take points too, as boxes of this size.

    Raises:
        UserError: not a vector file; several layers and none named; no such attribute; no feature.
    """
    frame = read_frame(path, layer)
    if not len(frame):
        raise UserError(f"{path}: holds no features; mark at least one example")
    attributes = [str(column) for column in frame.columns if column != "geometry"]
    if class_attribute not in attributes:
        raise UserError(
            f"{path}: no attribute {class_attribute!r}{nearest(class_attribute, attributes)}; "
            f"it has {', '.join(attributes) or 'none'}"
        )
    column = frame[class_attribute]
    names = ["" if missing else _class_name(value) for value, missing in zip(column, column.isna(), strict=True)]
    geometries = np.asarray(frame.geometry)
    kinds = shapely.get_type_id(geometries)
    polygon = np.isin(kinds, _POLYGONS) & ~shapely.is_empty(geometries)
    # a point may come as a set of one
    point = np.isin(kinds, _POINTS) & (shapely.get_num_coordinates(geometries) == 1)
    bounds = shapely.bounds(geometries)
    flat = polygon & ~(bounds[:, :2] < bounds[:, 2:]).all(axis=1)
    wrong = {
        f"no class in {class_attribute}": np.array([not name for name in names]),
        "a class with characters that cannot be printed": np.array([not is_printable(name) for name in names]),
        "no polygon": ~(polygon | point),
        "no polygon (a point needs a size in metres)": point & (point_size_m is None),
        "no area": flat,
    }
    refused: dict[int, str] = {}
    for why, where in wrong.items():
        refused |= {i: why for i in (np.flatnonzero(where) + 1).tolist() if i not in refused}
    good = np.array([i for i in range(len(frame)) if i + 1 not in refused], dtype=np.int64)
    class_names = tuple(names[i] for i in good)
    return LabelLayer(path, frame.geometry.iloc[good], class_names, good + 1, point_size_m, refused)


def _class_name(value: object) -> str:
    """The class that an attribute's value names; a whole number stays one where others are missing (1, not 1.0)."""
    if isinstance(value, list | dict):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else " ".join(str(value).split())


def read_frame(path: Path, layer: str | None) -> GeoDataFrame:
    """All features of a vector file, as ``read_layer`` reads them; UserError where it says so."""
    if not path.exists():
        raise UserError(f"{path}: no such vector file")
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        if layer is None and len(layers) > 1:
            raise UserError(f"{path}: has several layers; name one of {', '.join(layers)}")
        if layer is not None and layer not in layers:
            raise UserError(f"{path}: no layer {layer!r}; it has {', '.join(layers)}")
        with warnings.catch_warnings():
            # what GDAL and GEOS warn of leaves a feature without a geometry, which is then refused by its number
            warnings.simplefilter("ignore")
            frame = pyogrio.read_dataframe(path, layer=layer, on_invalid="ignore")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a vector file ({' '.join(str(error).split())})") from error
    if not isinstance(frame, GeoDataFrame):
        raise UserError(f"{path}: is a table without geometry")
    return frame


def raise_refused(path: Path, refused: dict[int, str]) -> None:
    """UserError that names the features refused for the first reason there is, if any."""
    for why in refused.values():
        numbers = [str(i) for i, reason in refused.items() if reason == why]
        more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
        raise UserError(f"{path}: feature {', '.join(numbers[:NAMED])}{more}: {why}")


def outside(scene: Scene) -> str:
    """What is wrong with a feature that does not lie on the scene."""
    text = f"lies outside {scene.name} ({scene.width_px}x{scene.height_px} px)"
    if scene.georeference.crs is None:
        text += ", which has no usable CRS: coordinates must be its pixels, with y downwards from 0"
    return text
