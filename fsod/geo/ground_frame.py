"""A plane with true areas around some places, in which shapes of any coordinate system can be laid over each other."""

from __future__ import annotations

import numpy as np
import pyproj
import shapely
from geopandas import GeoSeries
from numpy.typing import NDArray

from fsod.geo.antimeridian import lonlat_shape
from fsod.geo.georeference import EARTH, WGS84, globe_of

PIECES = 64
"""Edges are cut into so many of a shape's longer side, as they bend on the way into another coordinate system."""


def plane_around(places: GeoSeries) -> pyproj.CRS:
    """Lambert's azimuthal equal-area plane (WGS 84 on the Earth, metres) around the middle of places.

    Areas in it are those on the ellipsoid. Lengths are off by 0.1 % at 600 km from the middle, and by 1 % at 1800 km.
    """
    xy = shapely.get_coordinates(np.asarray(places))
    lon, lat = np.radians(pyproj.Transformer.from_crs(places.crs, WGS84, always_xy=True).transform(xy[:, 0], xy[:, 1]))
    # the mean on the globe: longitudes themselves have none across 180 degrees
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    x, y, z = points[np.isfinite(points).all(axis=1)].mean(axis=0).tolist() if len(points) else (1.0, 0.0, 0.0)
    middle = np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])
    globe = globe_of(pyproj.CRS(places.crs))
    shape = {"datum": "WGS84"} if globe is EARTH else {"a": globe.a, "b": globe.b}
    return pyproj.CRS.from_dict(
        {"proj": "laea", "lat_0": round(middle[0], 3), "lon_0": round(middle[1], 3), **shape, "units": "m"}
    )


def moved_to(shapes: GeoSeries, crs: pyproj.CRS) -> GeoSeries:
    """Polygons in another coordinate system; on the way into degrees they are cut at 180, not laid around the globe."""
    moved = shapes.to_crs(crs)
    if shapes.crs is None or shapes.crs.is_geographic or not pyproj.CRS(crs).is_geographic:
        return moved
    return GeoSeries([lonlat_shape(shape) for shape in moved], index=shapes.index, crs=crs)


def laid_out(shapes: GeoSeries, plane: pyproj.CRS) -> NDArray[np.object_]:
    """Polygons (n,) in a plane; what has no place there is empty."""
    own = np.asarray(shapes)
    bounds = shapely.bounds(own)
    sides = np.nanmax(np.concatenate([bounds[:, 2:] - bounds[:, :2], np.full((len(own), 1), 1e-9)], axis=1), axis=1)
    fine = GeoSeries(shapely.segmentize(own, sides / PIECES), crs=shapes.crs).to_crs(plane)
    placed = np.array(fine, dtype=object)
    xy, owner = shapely.get_coordinates(placed, return_index=True)
    placed[np.isin(np.arange(len(placed)), owner[~np.isfinite(xy).all(axis=1)])] = shapely.Polygon()
    placed[shapely.is_missing(placed)] = shapely.Polygon()
    return np.asarray(shapely.make_valid(placed))


def middles(shapes: GeoSeries, crs: pyproj.CRS) -> NDArray[np.float64]:
    """Centres (n, 2) of polygons in another coordinate system; longitudes within -180..180.

    A box that was cut at 180 degrees has its centre in its larger part.
    """
    parts = np.asarray(shapes)
    cut = np.flatnonzero(shapely.get_num_geometries(parts) > 1)
    for i in cut:
        own = shapely.get_parts(parts[i])
        parts = parts.copy() if i == cut[0] else parts
        parts[i] = own[int(shapely.area(own).argmax())]
    xy = shapely.get_coordinates(shapely.centroid(parts))
    x, y = pyproj.Transformer.from_crs(shapes.crs, crs, always_xy=True).transform(xy[:, 0], xy[:, 1])
    x = np.asarray(x)
    return np.stack([(x + 180) % 360 - 180 if crs.is_geographic else x, np.asarray(y)], axis=1)
