"""Coordinates of a vector file as pixels of a scene.

On a scene with a CRS they are taken there from the file's. A picture without one has two frames. Most programs count its
pixels with y downwards. QGIS lays its top edge on y = 0 and counts upwards, so on the picture y is negative. Which of the
two is meant shows by the sign of y, for a whole file at once.
"""

from __future__ import annotations

import numpy as np
import pyproj
import shapely
from geopandas import GeoSeries
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.features import VectorFile
from fsod.geo.scene import Scene

UPWARDS = np.array([1.0, -1.0])
"""Factors from x and y in one frame of a picture to the other."""


def vertices_px(
    path: VectorFile, geometry: GeoSeries, features: NDArray[np.int64], scene: Scene
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """All vertices of n geometries as pixels of a scene.

    Args:
        path: their file.
        geometry: in the CRS of the file.
        features: (n,) their numbers in the file, from 1.
        scene: with or without a CRS.

    Returns:
        (vertices, 2) column and row, NaN for a place that the scene's CRS cannot hold; (vertices,) the position 0..n-1 of
        the geometry that each belongs to, rising.

    Raises:
        UserError: the file has no CRS, or one that does not lead to the scene's; for a scene without, see ``y_factor``.
    """
    xy, owner = shapely.get_coordinates(np.asarray(geometry), return_index=True)
    crs = scene.georeference.crs
    if crs is None:
        return xy * [1, y_factor(path, geometry, features)], owner
    xy = np.stack(transformer(path, geometry.crs, scene).transform(xy[:, 0], xy[:, 1]), axis=1)
    xy = np.where(np.isfinite(xy), xy, np.nan)
    if crs.is_geographic:
        middle_deg = scene.georeference.to_crs(np.array([[scene.width_px / 2, scene.height_px / 2]]))[0, 0]
        xy[:, 0] = _turned(xy[:, 0], owner, middle_deg)
    return scene.georeference.to_pixels(xy), owner


def y_factor(path: VectorFile, geometry: GeoSeries, features: NDArray[np.int64]) -> int:
    """-1 where y is counted upwards, as QGIS does on a picture without a place on the map, else 1.

    A feature may reach over the top edge of the picture, so its middle decides.

    Raises:
        UserError: some features of the file lie above 0 and others below.
    """
    bounds = shapely.bounds(np.asarray(geometry))
    middles = bounds[:, 1] + bounds[:, 3]
    upwards, downwards = features[middles < 0], features[middles > 0]
    if len(upwards) and len(downwards):
        raise UserError(
            f"{path}: y is above 0 in feature {downwards[0]} and below 0 in feature {upwards[0]}; pixels of a picture "
            "count downwards from 0, or have negative y throughout as in QGIS"
        )
    return -1 if len(upwards) else 1


def transformer(path: VectorFile, crs: pyproj.CRS | None, scene: Scene, *, back: bool = False) -> pyproj.Transformer:
    """From the CRS of a file to that of a scene, or back; UserError where there is no way."""
    if crs is None:
        raise UserError(f"{path}: has no CRS; save it with the one its coordinates are in")
    source, target = (scene.georeference.crs, crs) if back else (crs, scene.georeference.crs)
    try:
        return pyproj.Transformer.from_crs(source, target, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise UserError(f"{path}: its CRS cannot be converted to that of {scene.name}") from error


def _turned(lon_deg: NDArray[np.float64], owner: NDArray[np.int64], middle_deg: float) -> NDArray[np.float64]:
    """Longitudes of vertices, those of each geometry in one piece and turned as near to a meridian as whole turns allow.

    The same place is -160 degrees in most files and 200 in a scene of 0..360.
    """
    if not len(lon_deg):
        return lon_deg
    lon, finite = lon_deg.copy(), np.isfinite(lon_deg)
    lon[finite] = np.unwrap(lon[finite], period=360)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    middles = (np.minimum.reduceat(lon, starts) + np.maximum.reduceat(lon, starts)) / 2
    turns = np.round((middle_deg - middles) / 360)
    return np.asarray(lon + 360 * np.repeat(turns, np.diff(starts, append=len(lon))))
