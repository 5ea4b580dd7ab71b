"""Where features of a vector file lie in the pixels of one scene, and what boxes of these pixels are in the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
import shapely
from geopandas import GeoSeries
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from fsod.errors import UserError
from fsod.geo.antimeridian import joined_at_180, lonlat_polygons
from fsod.geo.layer_table import corners_px
from fsod.geo.scene import Scene
from fsod.geo.scene_frame import UPWARDS, transformer, vertices_px, y_factor


@dataclass(frozen=True)
class Placing:
    """The way between a vector file and a scene, which is seen as it is stored.

    Attributes:
        path: the file.
        scene: opened with ``north_up=False``.
        crs: of the file; of no meaning where the scene has none.
        y_factor: -1 where the file counts y of a scene without a CRS upwards, see ``scene_frame``, else 1.
    """

    path: Path
    scene: Scene
    crs: pyproj.CRS | None
    y_factor: float

    def boxes_px(self, geometry: GeoSeries) -> NDArray[np.float64]:
        """The boxes around n features, (n, 4) in the scene's pixels; NaN for one without a place there.

        Raises:
            UserError: the file's CRS is missing or does not lead to the scene's.
        """
        shapes = np.array(geometry, dtype=object)
        if self.crs is not None and self.crs.is_geographic:
            several = shapely.get_num_geometries(shapes) > 1
            shapes[several] = [joined_at_180(shape) for shape in shapes[several]]
        xy_px, _ = vertices_px(self.path, GeoSeries(shapes, crs=self.crs), np.arange(1, len(shapes) + 1), self.scene)
        return np.asarray(shapely.bounds(shapely.set_coordinates(shapes, xy_px)), np.float64)

    def polygons_px(self, geometry: GeoSeries) -> list[shapely.Polygon]:
        """All parts of polygons in the scene's pixels; lines and points are left out."""
        parts = shapely.get_parts(np.asarray(geometry))
        parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
        xy_px, _ = vertices_px(self.path, GeoSeries(parts, crs=self.crs), np.arange(1, len(parts) + 1), self.scene)
        return list(shapely.set_coordinates(parts, xy_px))

    def box(self, box_xyxy_px: NDArray[np.float64]) -> BaseGeometry:
        """A box (4,) of the scene's pixels as the file holds it."""
        return self._ring(corners_px(box_xyxy_px[None])[0])

    def polygon(self, polygon_px: shapely.Polygon) -> BaseGeometry:
        """A polygon of the scene's pixels as the file holds it.

        Raises:
            UserError: it has no place in the file's CRS.
        """
        outer, *holes = (
            self._ring(shapely.get_coordinates(ring)) for ring in (polygon_px.exterior, *polygon_px.interiors)
        )
        if not holes:
            return outer
        # a polygon with holes that crosses itself may be drawn elsewhere, and has to stay as it is read
        return shapely.difference(shapely.make_valid(outer), shapely.union_all(shapely.make_valid(holes)))

    def _ring(self, ring_px: NDArray[np.float64]) -> BaseGeometry:
        """What a closed ring (vertices + 1, 2) holds."""
        own = self.scene.georeference
        if own.crs is None:
            return shapely.Polygon(ring_px * [1, self.y_factor])
        xy = own.to_crs(ring_px)
        ring = np.stack(transformer(self.path, self.crs, self.scene, back=True).transform(xy[:, 0], xy[:, 1]), axis=1)
        lonlat = self.crs is not None and self.crs.is_geographic
        polygon = lonlat_polygons(ring[None])[0] if lonlat else shapely.Polygon(ring)
        if polygon is None or not np.isfinite(ring).all():
            raise UserError(f"{self.path}: what was drawn cannot be converted to its CRS")
        return polygon


def placing(path: Path, geometry: GeoSeries, scene: Scene) -> Placing:
    """The way between a file with these features and a scene."""
    upwards = float(UPWARDS[1])
    if scene.georeference.crs is None and len(geometry):
        upwards = y_factor(path, geometry, np.arange(1, len(geometry) + 1))
    return Placing(path, scene, geometry.crs, upwards)
