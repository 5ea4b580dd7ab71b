"""The area of interest: the part of a scene that is to be searched.

Windows and detections are taken into the CRS of the area, never the other way: every pixel of a scene has a place
there or clearly none, while an area may reach far beyond what the scene's CRS can hold.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyproj
import shapely
from geopandas import GeoSeries
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from fsod.boxes import Detections
from fsod.geo.antimeridian import lonlat_polygons, within_180
from fsod.geo.features import VectorFile, read_polygons
from fsod.geo.misplaced import check_degrees, why_misplaced
from fsod.geo.scene import Scene
from fsod.geo.scene_frame import transformer, vertices_px, y_factor
from fsod.geo.windows import Grid

OUTLINE_POINTS = 256
"""A scene's outline is taken into another CRS by so many points, and edges of an area by as many a side of the scene."""

AROUND = 0.02
"""Of a scene's side: an area is cut this far around the scene before it is taken into its pixels."""


@dataclass(frozen=True)
class Area:
    """An area of interest.

    Attributes:
        shape: polygons in the CRS of their file, prepared, longitudes within -180..180; in scene pixels where the scene
            has no CRS.
        sha256: hash of the shape and its CRS.
        from_scene: from the scene's CRS to that of the file; None where the scene has no CRS.
        lonlat: whether the CRS of the file is one of longitudes and latitudes, so that windows may cross 180 degrees.
        crs: of the file; None where the shape is in scene pixels.
        doubt: what is probably wrong if it does not touch the scene, to be added to a message.
    """

    shape: shapely.Geometry
    sha256: str
    from_scene: pyproj.Transformer | None
    lonlat: bool
    crs: pyproj.CRS | None = None
    doubt: str = ""

    def reached(self, grid: Grid, scene: Scene) -> NDArray[np.bool_]:
        """Which windows of a grid touch the area: (windows,)."""
        lefts, tops = np.array(grid.x.starts_px), np.array(grid.y.starts_px)
        rows = [self._touches(lefts, top, grid.x.window_px, grid.y.window_px, scene) for top in tops]
        return np.concatenate(rows)

    def holds(self, detections: Detections, scene: Scene) -> NDArray[np.bool_]:
        """Which detections, in the scene's own pixels, have their centre in the area: (n,)."""
        boxes = detections.boxes_xyxy_px
        xy = self._place((boxes[:, :2] + boxes[:, 2:]) / 2, scene)
        return np.asarray(shapely.intersects_xy(self.shape, xy))

    def in_pixels(self, scene: Scene) -> BaseGeometry | None:
        """What of the scene is in the area, in scene pixels; None where CRSs do not reach far enough to tell it to the pixel."""
        outline = shapely.box(0, 0, scene.width_px, scene.height_px)
        if self.from_scene is None or self.crs is None:
            return shapely.intersection(self.shape, outline)
        step_px = 4 * max(scene.width_px, scene.height_px) / OUTLINE_POINTS
        ring = self._place(shapely.get_coordinates(shapely.segmentize(outline, step_px)), scene)
        footprint = lonlat_polygons(ring[None])[0] if self.lonlat else shapely.make_valid(shapely.Polygon(ring))
        if footprint is None or not np.isfinite(ring).all():
            return None
        side = float(np.sqrt(footprint.area))
        near = shapely.intersection(self.shape, shapely.buffer(footprint, AROUND * side))
        parts = shapely.get_parts(shapely.segmentize(near, side / OUTLINE_POINTS))
        parts = parts[shapely.get_dimensions(parts) == 2]
        xy_px, _ = vertices_px("", GeoSeries(parts, crs=self.crs), np.arange(1, len(parts) + 1), scene)
        if not np.isfinite(xy_px).all():
            return None
        shapes = shapely.make_valid(shapely.set_coordinates(parts, xy_px))
        return shapely.intersection(shapely.union_all(shapes), outline)

    def _touches(
        self, lefts_px: NDArray[np.intp], top_px: int, width_px: int, height_px: int, scene: Scene
    ) -> NDArray[np.bool_]:
        """The same for one row of windows."""
        right, bottom = lefts_px + width_px, top_px + height_px
        tops, bottoms = np.full(len(lefts_px), top_px), np.full(len(lefts_px), bottom)
        corners = np.stack([lefts_px, tops, right, tops, right, bottoms, lefts_px, bottoms, lefts_px, tops], axis=1)
        rings = self._place(corners.reshape(-1, 2) * scene.grid_to_scene, scene).reshape(-1, 5, 2)
        placed = np.isfinite(rings).all(axis=-1).sum(axis=1)
        whole = placed == rings.shape[1]
        # a window that lies only in part where the area's CRS reaches is looked at, to be on the safe side
        touches: NDArray[np.bool_] = placed > 0
        polygons = lonlat_polygons if self.lonlat else shapely.polygons
        touches[whole] = shapely.intersects(self.shape, polygons(rings[whole]))
        return touches

    def _place(self, xy_px: NDArray[np.float64], scene: Scene) -> NDArray[np.float64]:
        """Positions (n, 2) in scene pixels as the area has them; not finite for one that has no place there."""
        if self.from_scene is None:
            return xy_px
        xy = scene.georeference.to_crs(xy_px)
        xy = np.stack(self.from_scene.transform(xy[:, 0], xy[:, 1]), axis=1)
        if self.lonlat:  # a scene of 0..360 keeps its longitudes where CRSs are the same
            beyond = np.abs(xy[:, 0]) > 180
            xy[beyond, 0] = (xy[beyond, 0] + 180) % 360 - 180
        return xy


def read_area(path: VectorFile, scene: Scene, layer: str | None = None) -> Area:
    """Reads the polygons of a vector file as the area to search in a scene.

    For a scene without a usable CRS coordinates are taken for its pixels, see ``scene_frame``.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, FlatGeobuf or anything else that GDAL reads, in any CRS.
        scene: to be searched.
        layer: which layer, where the file has several.

    Raises:
        UserError: not a vector file, several layers, no polygon, a feature that is none, a CRS that is missing or does
            not lead to the scene's.
    """
    polygons = read_polygons(path, layer)
    shape = shapely.union_all(np.asarray(polygons))
    sha256 = hashlib.sha256(shapely.to_wkb(shape) + str(polygons.crs).encode()).hexdigest()
    if scene.georeference.crs is None:
        factors = 1, y_factor(path, polygons, np.arange(1, len(polygons) + 1))
        shape = shapely.transform(shape, lambda xy: xy * factors)
        shapely.prepare(shape)
        return Area(shape, sha256, None, lonlat=False)
    from_scene = transformer(path, polygons.crs, scene, back=True)
    doubt = why_misplaced(polygons, scene)
    if polygons.crs.is_geographic:
        check_degrees(path, polygons, doubt)
        shape = within_180(shape)
    shapely.prepare(shape)
    return Area(shape, sha256, from_scene, polygons.crs.is_geographic, polygons.crs, doubt)
