"""Rings of longitude and latitude as polygons that end at 180 degrees, as RFC 7946 wants."""

# Not the package antimeridian (0.4.9): in tests/geo/test_antimeridian.py it cuts a box that ends at -180 in two (and invalid), bends
# the edge of one across 180 to a great circle, and takes the globe without the cap for a clockwise ring around a pole.
from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

Geometries = NDArray[np.object_]
"""(n,) shapely geometries."""

SEAM_DEG = 1e-9
"""How near to 180 a part ends that was cut there: 0.1 mm on the ground."""


def lonlat_polygons(rings_deg: NDArray[np.float64]) -> Geometries:
    """Polygons of closed rings, those across 180 degrees cut there into one part on either side.

    A step of a ring is the short way round the globe, so a ring may come with longitudes that jump at 180 degrees or run
    past it. A ring around a pole holds that pole. A ring with a place that has no longitude and latitude is None.

    Args:
        rings_deg: (n, corners + 1, 2) longitude and latitude.
    """
    finite = np.asarray(np.isfinite(rings_deg).all(axis=(1, 2)))
    rings = np.where(finite[:, None, None], rings_deg, 0.0)
    lon = rings[..., 0]
    lon[:] = np.unwrap(lon, period=360, axis=1)
    # one digit off, a ring has a spike, and what is clipped of it may be the rest of the globe
    lon[:, -1] = lon[:, 0] + 360 * np.round((lon[:, -1] - lon[:, 0]) / 360)
    polygons = np.asarray(shapely.polygons(rings), dtype=object)
    for i in np.flatnonzero((lon.min(axis=1) < -180) | (lon.max(axis=1) > 180) | _around_pole(lon)):
        polygons[i] = _cut(rings[i])
    polygons[~finite] = None
    return polygons


def lonlat_shape(shape_deg: BaseGeometry) -> BaseGeometry | None:
    """The same for polygons with holes, whatever their corners: one shape, or None where a corner has no place."""
    if _stays(shape_deg):
        return shape_deg
    parts = [part for part in shapely.get_parts(shape_deg) if isinstance(part, shapely.Polygon)]
    whole = []
    for part in parts:
        outer, *holes = (
            lonlat_polygons(shapely.get_coordinates(ring)[None])[0] for ring in (part.exterior, *part.interiors)
        )
        if outer is None or any(hole is None for hole in holes):
            return None
        whole.append(shapely.difference(outer, shapely.union_all(holes)) if holes else outer)
    return shapely.union_all(whole)


def _stays(shape_deg: BaseGeometry) -> bool:
    """Whether polygons lie on the map of longitudes as they are: no step of a ring is longer than half the globe."""
    rings = shapely.get_rings(shapely.get_parts(shape_deg))
    xy, owner = shapely.get_coordinates(rings, return_index=True)
    steps = np.abs(np.diff(xy[:, 0]))[owner[1:] == owner[:-1]]
    return bool(np.isfinite(xy).all() and (np.abs(xy[:, 0]) <= 180).all() and (steps <= 180).all())


def _around_pole(lon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rings (n, corners + 1) have gone round the globe at their end."""
    return np.asarray(np.abs(lon[:, -1] - lon[:, 0]) > 180)


def _cut(ring_deg: NDArray[np.float64]) -> BaseGeometry:
    if _around_pole(ring_deg[None, :, 0])[0]:
        # on the map of longitudes such a ring is an open line; the pole itself closes it
        first, last = ring_deg[0], ring_deg[-1]
        pole = math.copysign(90, ring_deg[:, 1].mean())
        ring_deg = np.vstack([ring_deg, [last[0], pole], [first[0], pole], first])
    polygon, lon = shapely.Polygon(ring_deg), ring_deg[:, 0]
    parts = []
    for turn in range(math.floor((lon.min() + 180) / 360), math.ceil((lon.max() + 180) / 360)):
        shift = np.array([360 * turn, 0])
        clipped = shapely.clip_by_rect(polygon, shift[0] - 180, -90, shift[0] + 180, 90)
        parts += [shapely.Polygon(ring.coords - shift) for ring in _exteriors(clipped)]
    # around a pole the two parts also meet where the ring began
    return shapely.union_all(parts)


def _exteriors(clipped: BaseGeometry) -> list[shapely.LinearRing]:
    """Of the polygons among what clipping left, which may be lines and points too."""
    return [part.exterior for part in shapely.get_parts(clipped) if isinstance(part, shapely.Polygon)]


def within_180(shape: BaseGeometry) -> BaseGeometry:
    """The same polygons in longitudes of -180..180: what lies beyond is cut off and put where it belongs."""
    west, south, east, north = shape.bounds
    if west >= -180 and east <= 180:
        return shape
    parts = []
    for turn in range(math.floor((west + 180) / 360), math.ceil((east + 180) / 360)):
        clipped = shapely.clip_by_rect(shape, 360 * turn - 180, south - 1, 360 * turn + 180, north + 1)
        parts.append(translate(clipped, -360 * turn))
    return shapely.union_all(parts)


def joined_at_180(shape: BaseGeometry) -> BaseGeometry:
    """What was cut at 180 degrees in one piece again, with longitudes that run past 180; anything else as it is."""
    parts = shapely.get_parts(shape)
    bounds = shapely.bounds(parts)
    if len(parts) < 2 or bounds[:, 0].min() > -180 + SEAM_DEG or bounds[:, 2].max() < 180 - SEAM_DEG:
        return shape
    west = bounds[:, 0] < -180 + SEAM_DEG
    seam = west | (bounds[:, 2] > 180 - SEAM_DEG)
    parts[west] = [translate(part, 360) for part in parts[west]]
    # parts that met at 180 may not do so to the last digit any more
    whole = shapely.union_all(parts[seam], grid_size=SEAM_DEG)
    return shapely.multipolygons([*parts[~seam], *shapely.get_parts(whole)])
