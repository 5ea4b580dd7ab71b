"""What is probably wrong with coordinates that lie off a scene: metres taken for degrees, latitude before longitude.

By its standard, GeoJSON that names no coordinate system is in degrees, longitude first. Many files hold something else.
"""

from __future__ import annotations

import numpy as np
import shapely
from geopandas import GeoSeries

from fsod.errors import UserError
from fsod.geo.features import VectorFile
from fsod.geo.scene import Scene
from fsod.geo.scene_frame import vertices_px

MOST_DEGREES = 360.0

FARTHEST_DEG = (720.0, 100.0)
"""Longitudes that run on past 180 degrees are read up to here; latitudes, of frames with a margin around the globe."""


def check_degrees(path: VectorFile, shapes: GeoSeries, why: str = "") -> None:
    """UserError for polygons in degrees that lie nowhere on the globe, and what is probably wrong with them."""
    west, south, east, north = shapes.total_bounds
    if max(abs(west), abs(east)) > FARTHEST_DEG[0]:
        raise UserError(f"{path}: longitudes of {west:g} to {east:g} degrees are nowhere on the globe{why}")
    if max(abs(south), abs(north)) > FARTHEST_DEG[1]:
        raise UserError(f"{path}: latitudes of {south:g} to {north:g} degrees are nowhere on the globe{why}")


def why_misplaced(geometry: GeoSeries, scene: Scene) -> str:
    """What was assumed of coordinates and looks wrong, to be added to a message; empty where nothing does."""
    crs, bounds = geometry.crs, np.asarray(geometry.total_bounds)
    if scene.georeference.crs is None or crs is None or not crs.is_geographic or not np.isfinite(bounds).all():
        return ""
    if np.abs(bounds).max() > MOST_DEGREES:
        return (
            f"; coordinates such as {bounds[0]:.0f}, {bounds[1]:.0f} were taken for degrees ({crs.name}), as the file names "
            "no other CRS; save it with the CRS that they are in"
        )
    turned = GeoSeries(shapely.transform(np.asarray(geometry), lambda xy: xy[:, ::-1]), crs=crs)
    xy_px, _ = vertices_px("", turned, np.arange(1, len(turned) + 1), scene)
    on_it = (xy_px > 0).all(axis=1) & (xy_px < [scene.width_px, scene.height_px]).all(axis=1)
    if not on_it.any():
        return ""
    return "; the first coordinate was taken for the longitude, and would be on the scene as latitude; exchange the two"
