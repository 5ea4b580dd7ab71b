"""Labelled examples from any vector file, as boxes in a scene's own pixels.

A polygon or a line is the box around it, and each part of a set of them a label of its own. A point is a box of a given size;
see ``mark_shapes``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from fsod.errors import UserError, is_name, nearest, spaced
from fsod.geo.antimeridian import joined_at_180
from fsod.geo.features import NOT_FINITE, VectorFile, not_finite, raise_refused, read_frame
from fsod.geo.mark_shapes import LINES, POINTS, POLYGONS, PointSize, box_kinds
from fsod.geo.misplaced import why_misplaced
from fsod.geo.scene import Scene
from fsod.geo.scene_frame import vertices_px

NO_CLASS = "no class in its attribute {}"
"""Why a feature is refused, of the attribute that was to hold its class."""

ALIKE = 0.1
"""Scenes that show parts of a box differing by less than this share of it show it alike."""


@dataclass(frozen=True)
class LabelledBoxes:
    """Example boxes of a scene.

    Attributes:
        boxes_xyxy_px: (n, 4) float64 in the scene's own pixels, inside the scene.
        class_names: n names, in the order of the boxes.
        features: (n,) number of each box's feature in its file, from 1.
        numbers: (n,) number of each box among the labels of its file, from 1; other than ``features`` from the first
            feature on that has several parts.
        visible: (n,) share of each box's area that lies inside the scene, above 0 to 1.
        kinds: (n,) uint8, what each box is drawn around, see ``box_kinds``.
    """

    boxes_xyxy_px: NDArray[np.float64]
    class_names: tuple[str, ...]
    features: NDArray[np.int64]
    numbers: NDArray[np.int64]
    visible: NDArray[np.float64]
    kinds: NDArray[np.uint8]

    def select(self, keep: NDArray[np.bool_]) -> LabelledBoxes:
        """The boxes where ``keep``, (n,), is true."""
        names = tuple(self.class_names[i] for i in np.flatnonzero(keep))
        return LabelledBoxes(
            self.boxes_xyxy_px[keep],
            names,
            self.features[keep],
            self.numbers[keep],
            self.visible[keep],
            self.kinds[keep],
        )


@dataclass(frozen=True)
class LabelLayer:
    """The features of a vector file that can be labels, before they are placed on a scene.

    Attributes:
        path: the file.
        geometry: n polygons, lines or points in the file's CRS.
        class_names: their classes.
        features: (n,) the numbers of their features in the file, from 1; parts of one feature share its.
        numbers: (n,) their own numbers in the file, from 1; what is refused has one too.
        count: of all labels in the file, those refused among them.
        point_size: of the box around a point.
        refused: number of a feature that cannot be a label -> why.
        unread: what these features look like, in the file's CRS; something is there, and nobody knows what.
    """

    path: VectorFile
    geometry: GeoSeries
    class_names: tuple[str, ...]
    features: NDArray[np.int64]
    numbers: NDArray[np.int64]
    count: int
    point_size: PointSize | None
    refused: dict[int, str]
    unread: GeoSeries

    def select(self, keep: NDArray[np.bool_]) -> LabelLayer:
        """The labels where ``keep``, (n,), is true."""
        names = tuple(self.class_names[i] for i in np.flatnonzero(keep))
        geometry, features, numbers = self.geometry[keep], self.features[keep], self.numbers[keep]
        return replace(self, geometry=geometry, class_names=names, features=features, numbers=numbers)

    def place(self, scene: Scene) -> LabelledBoxes:
        """The labels that lie on a scene, at least in part, as boxes clipped to it.

        For a scene without a usable CRS coordinates are taken for its pixels, see ``scene_frame``.

        Raises:
            UserError: the file has no CRS, or one that does not lead to the scene's; points of a size in metres and a scene
                without a CRS.
        """
        boxes, kinds = self._pixel_boxes(scene)
        inside = np.clip(boxes, 0, np.tile([scene.width_px, scene.height_px], 2))
        # a box of NaN, of a place that the scene's CRS cannot hold, is outside too
        on = np.asarray((inside[:, :2] < inside[:, 2:]).all(axis=1))
        visible = np.prod(inside[on, 2:] - inside[on, :2], axis=1) / np.prod(boxes[on, 2:] - boxes[on, :2], axis=1)
        there = self.select(on)
        return LabelledBoxes(inside[on], there.class_names, there.features, there.numbers, visible, kinds[on])

    def place_on(
        self, scenes: Sequence[Scene], hint: str = "", meant: NDArray[np.int64] | None = None
    ) -> list[LabelledBoxes]:
        """The same for several scenes; where they share ground, a label is on the one that shows most of it, once.

        Args:
            scenes: at least one.
            hint: to be said of labels that lie on none of them.
            meant: (n, scenes) how much speaks for each label on each scene: of those that show about as much of it as any
                the one with most has it.

        Raises:
            UserError: besides, a label that lies on none of them.
        """
        placed = [self.place(scene) for scene in scenes]
        row = {int(n): k for k, n in enumerate(self.numbers)}
        rows = [np.array([row[n] for n in boxes.numbers.tolist()], np.intp) for boxes in placed]
        shares = np.zeros((len(row), len(scenes)))
        for i, boxes in enumerate(placed):
            shares[rows[i], i] = boxes.visible
        most = shares > shares.max(axis=1, initial=0, keepdims=True) - ALIKE
        said = 0 if meant is None else most * meant
        best = np.where(shares > 0, 2 * said + shares.round(6), -1).argmax(axis=1)
        why = outside(scenes[0]) if len(scenes) == 1 else "lies on none of the scenes"
        why += next(filter(None, (why_misplaced(self.geometry, scene) for scene in scenes)), "")
        nowhere = self.features[~shares.any(axis=1)].tolist()
        raise_refused(self.path, dict.fromkeys(nowhere, why + hint))
        return [boxes.select(best[rows[i]] == i) for i, boxes in enumerate(placed)]

    def unread_on(self, scene: Scene, around_px: float) -> NDArray[np.float64]:
        """Where on a scene features lie that could not be labels, as the boxes around them (m, 4), clipped to it.

        Args:
            scene: as of ``place``.
            around_px: how far around points and lines the object may reach.
        """
        if not len(self.unread):
            return np.zeros((0, 4))
        features = np.arange(1, len(self.unread) + 1)
        boxes = _bounds(*vertices_px(self.path, self.unread, features, scene))
        flat = shapely.get_dimensions(np.asarray(self.unread)) < 2
        boxes[flat] += np.array([-around_px, -around_px, around_px, around_px])
        inside = np.clip(boxes, 0, np.tile([scene.width_px, scene.height_px], 2))
        return inside[(inside[:, :2] < inside[:, 2:]).all(axis=1)]

    def _pixel_boxes(self, scene: Scene) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """The bounds of each label in scene pixels (n, 4): of its vertices, so they fit on a rotated grid too; their kinds."""
        xy_px, owner = vertices_px(self.path, self.geometry, self.features, scene)
        if not len(owner):
            return np.zeros((0, 4)), np.zeros(0, np.uint8)
        boxes = _bounds(xy_px, owner)
        kinds = box_kinds(self.geometry, xy_px, boxes)
        points = np.isin(shapely.get_type_id(np.asarray(self.geometry)), POINTS)
        if points.any() and self.point_size is not None:
            half_px = self.point_size.halves_px(self.path, scene, boxes[points, :2])
            boxes[points] += np.concatenate([-half_px, half_px], axis=1)
        return boxes, kinds


def _bounds(xy_px: NDArray[np.float64], owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """The box (n, 4) around the vertices (v, 2) of each of n geometries; ``owner`` (v,) rises from 0 to n - 1."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    return np.concatenate([np.minimum.reduceat(xy_px, starts), np.maximum.reduceat(xy_px, starts)], axis=1)


def read_boxes(path: VectorFile, class_attribute: str, scene: Scene, *, layer: str | None = None) -> LabelledBoxes:
    """Reads polygons and lines of a vector file as the boxes around them in the scene's pixels.

    Coordinates come from whatever CRS the file has. For a scene without a usable CRS they are taken for its pixels, with y
    downwards, or upwards and negative as in QGIS. A polygon that reaches over the scene's edge is clipped to it. A feature
    of several polygons is as many boxes, except where one polygon was cut at 180 degrees.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, FlatGeobuf or anything else that GDAL reads, or GeoParquet.
        class_attribute: the attribute that holds the class.
        scene: the raster that the examples lie on.
        layer: which layer, where the file has several.

    Raises:
        UserError: not a vector file; several layers and none named; no such attribute; no CRS; no feature; a feature
            without a class, that is neither polygon nor line, or that lies outside the scene. Features are counted from 1.
    """
    found = read_layer(path, class_attribute, layer=layer)
    raise_refused(path, found.refused)
    return found.place_on([scene])[0]


def read_layer(
    path: VectorFile, class_attribute: str, *, layer: str | None = None, point_size: PointSize | None = None
) -> LabelLayer:
    """Reads the features of a vector file that can be labels, and says of the others why they cannot.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, FlatGeobuf or anything else that GDAL reads, or GeoParquet.
        class_attribute: the attribute that holds the class.
        layer: which layer, where the file has several.
        point_size: take points too, as boxes of this size.

    Raises:
        UserError: not a vector file; several layers and none named; no such attribute; no feature.
    """
    return labels_of(path, read_frame(path, layer), class_attribute, point_size)


def labels_of(
    path: VectorFile, frame: GeoDataFrame, class_attribute: str, point_size: PointSize | None = None
) -> LabelLayer:
    """The same of features that have been read."""
    if not len(frame):
        raise UserError(f"{path}: holds no features; mark at least one example")
    column = frame[attribute_in(path, frame, class_attribute, "; name the one of the classes with --attribute")]
    names = class_names(column)
    geometries = np.asarray(frame.geometry)
    kinds = shapely.get_type_id(geometries)
    extended = np.isin(kinds, (*POLYGONS, *LINES)) & ~shapely.is_empty(geometries)
    point = np.isin(kinds, POINTS) & ~shapely.is_empty(geometries)
    parts = [_parts(g, frame) if read else [g] for g, read in zip(geometries, extended | point, strict=True)]
    owner = np.repeat(np.arange(len(frame)), [len(of_feature) for of_feature in parts])
    labels = np.array([part for of_feature in parts for part in of_feature], dtype=object)
    bounds = shapely.bounds(labels)
    flat = extended[owner] & ~(bounds[:, :2] < bounds[:, 2:]).all(axis=1)
    wrong = {
        NO_CLASS.format(class_attribute): np.array([not name for name in names]),
        "a class with characters that cannot be printed, or too many": np.array([not is_name(name) for name in names]),
        "a collection of shapes; split it into single parts": kinds == shapely.GeometryType.GEOMETRYCOLLECTION,
        "no geometry; delete it": shapely.is_missing(geometries) | shapely.is_empty(geometries),
        "neither a polygon, a line nor a point": ~(extended | point),
        NOT_FINITE: not_finite(geometries),
        "a point, which needs a size (--size-m, or --size-px in pixels)": point & (point_size is None),
        "no area": np.isin(np.arange(len(frame)), owner[flat]),
    }
    refused: dict[int, str] = {}
    for why, where in wrong.items():
        refused |= {i: why for i in (np.flatnonzero(where) + 1).tolist() if i not in refused}
    good = np.flatnonzero(~np.isin(owner + 1, list(refused)))
    unread = np.isin(np.arange(1, len(frame) + 1), list(refused)) & (shapely.get_num_coordinates(geometries) > 0)
    return LabelLayer(
        path,
        GeoSeries(labels[good], crs=frame.crs),
        tuple(names[i] for i in owner[good]),
        owner[good] + 1,
        good + 1,
        len(labels),
        point_size,
        refused,
        GeoSeries(geometries[unread], crs=frame.crs),
    )


def attribute_in(path: VectorFile, frame: GeoDataFrame, attribute: str, advice: str = "") -> str:
    """The attribute itself; UserError, which ends in ``advice``, where the features have none of this name."""
    attributes = [str(column) for column in frame.columns if column != frame.geometry.name]
    if attribute not in attributes:
        raise UserError(
            f"{path}: no attribute {attribute!r}{nearest(attribute, attributes)}; "
            f"it has {', '.join(attributes) or 'none'}{advice if attributes else ''}"
        )
    return attribute


def _parts(shape: BaseGeometry, frame: GeoDataFrame) -> list[BaseGeometry]:
    """The polygons, lines or points that a feature consists of; polygons that were cut at 180 degrees are one."""
    cut = frame.crs is not None and frame.crs.is_geographic and shapely.get_dimensions(shape) == 2
    return list(shapely.get_parts(joined_at_180(shape) if cut else shape))


def class_names(column: pd.Series) -> list[str]:
    """The classes that the values of an attribute name, one each; empty where a value names none."""
    return ["" if missing else _class_name(value) for value, missing in zip(column, column.isna(), strict=True)]


def _class_name(value: object) -> str:
    """The class that an attribute's value names; a whole number stays one where others are missing (1, not 1.0)."""
    if isinstance(value, np.ndarray) and len(value) == 1:
        value = value[0]  # where one feature has a list, GDAL makes one of every other's class
    if isinstance(value, list | dict | np.ndarray):
        return ""
    name = str(int(value)) if isinstance(value, float) and value.is_integer() else spaced(str(value))
    return "" if _is_json_object(name) else name


def _is_json_object(text: str) -> bool:
    """Whether a text is what GDAL makes of an object in a GeoJSON where other features have a text."""
    try:
        return text.startswith("{") and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def assumed_encoding(layer: LabelLayer) -> list[str]:
    """A warning where a Shapefile does not say how its texts are encoded, and the classes show that it matters."""
    path = Path(layer.path)
    if path.suffix.lower() != ".shp" or not path.exists():
        return []
    sidecars = {part.suffix.lower() for part in path.parent.iterdir() if part.stem == path.stem}
    strange = [name for name in layer.class_names if not name.isascii()]
    if ".cpg" in sidecars or not strange:
        return []
    encoding = pyogrio.read_info(path)["encoding"]
    warning = (
        f"{path}: does not say how its texts are encoded; read as {encoding}, which gives a class {strange[0]!r}; "
        f"if that is wrong write the right encoding, as UTF-8, into {path.with_suffix('.cpg').name}"
    )
    return [warning]


def outside(scene: Scene) -> str:
    """What is wrong with a feature that does not lie on the scene."""
    text = f"lies outside {scene.name} ({scene.width_px}x{scene.height_px} px)"
    if scene.georeference.crs is None:
        text += (
            ", which has no usable CRS: coordinates must be its pixels, with y downwards from 0, or negative as in QGIS"
        )
    return text
