"""Where a scene's pixels lie on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.transform import from_gcps

WGS84 = "OGC:CRS84"
"""Longitude and latitude in this order: what GeoJSON is written in."""

UNEVEN = 1.1
"""Pixels whose sides differ by more than this factor on the ground deserve a warning."""


@dataclass(frozen=True)
class Georeference:
    """The way from a scene's pixels to the ground.

    Attributes:
        crs: the coordinate system; None when the scene has none that can be used, and coordinates stay pixels.
        transform: from (column, row) to the CRS; identity without one.
        gsd_xy_m: size of a pixel along a row and along a column at the scene's centre, in metres on the ground; None
            when unknown.
    """

    crs: pyproj.CRS | None
    transform: Affine
    gsd_xy_m: tuple[float, float] | None

    @property
    def gsd_m(self) -> float | None:
        """Ground size of a pixel in metres: the geometric mean of its two sides."""
        return None if self.gsd_xy_m is None else float(np.sqrt(self.gsd_xy_m[0] * self.gsd_xy_m[1]))

    @cached_property
    def _to_lonlat(self) -> pyproj.Transformer:
        return pyproj.Transformer.from_crs(self.crs, WGS84, always_xy=True)

    def to_crs(self, xy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixel positions (n, 2: column, row) in the scene's CRS: (n, 2)."""
        return _apply(self.transform, xy_px)

    def to_pixels(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions (n, 2) in the scene's CRS as column and row: (n, 2)."""
        return _apply(~self.transform, xy)

    def to_lonlat(self, xy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixel positions (n, 2: column, row) as WGS84 longitude and latitude in degrees: (n, 2); needs a CRS."""
        xy = self.to_crs(xy_px)
        return np.stack(self._to_lonlat.transform(xy[:, 0], xy[:, 1]), axis=1)

    def pixel_sizes_m(self, xy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres on the ground of one pixel along a row and along a column at pixel positions (n, 2): (n, 2).

        NaN where the CRS has no longitude and latitude; needs a CRS.
        """
        assert self.crs is not None
        return _pixel_sizes_m(self.crs, self.transform, xy_px)


def _apply(transform: Affine, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.array(transform).reshape(3, 3)
    return np.asarray(xy @ matrix[:2, :2].T + matrix[:2, 2])


def read_georeference(dataset: DatasetReader, name: str) -> tuple[Georeference, tuple[str, ...]]:
    """The georeference of an open raster, and what is odd about it, one line each.

    Without a CRS of its own, ground control points give CRS and affine transform (least squares). A scene without any,
    with a CRS that does not lead to longitude and latitude, or with a CRS but no transform, gets pixel coordinates.
    """
    if dataset.crs is not None and not dataset.transform.is_identity:
        return _georeference(dataset, name, dataset.crs.to_wkt(), dataset.transform, ())
    gcps, gcps_crs = dataset.gcps
    if len(gcps) >= 3 and gcps_crs is not None:
        transform = from_gcps(gcps)
        off_px = _apply(~transform, np.array([[p.x, p.y] for p in gcps])) - [[p.col, p.row] for p in gcps]
        warning = (
            f"{name}: placed by an affine fit to its {len(gcps)} ground control points; "
            f"the worst of them is off by {np.hypot(*off_px.T).max():.1f} px"
        )
        return _georeference(dataset, name, gcps_crs.to_wkt(), transform, (warning,))
    missing = "CRS" if dataset.crs is None else "geotransform"
    advice = "; it has RPCs only: orthorectify it for a place on the ground" if dataset.rpcs is not None else ""
    return _pixels_only(f"{name}: has no {missing}, so coordinates are pixels of the scene{advice}")


def _pixels_only(warning: str) -> tuple[Georeference, tuple[str, ...]]:
    return Georeference(None, Affine.identity(), None), (warning,)


def _georeference(
    dataset: DatasetReader, name: str, crs_wkt: str, transform: Affine, warnings: tuple[str, ...]
) -> tuple[Georeference, tuple[str, ...]]:
    try:
        crs = pyproj.CRS.from_wkt(crs_wkt)
        gsd_xy_m = _ground_size(crs, transform, dataset.width, dataset.height)
    except pyproj.exceptions.ProjError as error:
        reason = str(error).splitlines()[0]
        return _pixels_only(f"{name}: its CRS cannot be used ({reason}), so coordinates are pixels of the scene")
    if transform.b or transform.d:
        warnings += (f"{name}: its pixel grid is rotated; boxes follow the pixels, not north",)
    if max(gsd_xy_m) > UNEVEN * min(gsd_xy_m):
        x_m, y_m = gsd_xy_m
        warnings += (f"{name}: its pixels are {x_m:.3g} x {y_m:.3g} m on the ground; a target GSD makes them square",)
    return Georeference(crs, transform, gsd_xy_m), warnings


def _ground_size(crs: pyproj.CRS, transform: Affine, width_px: int, height_px: int) -> tuple[float, float]:
    """Metres on the ground of one pixel along a row and along a column, at the scene's centre.

    Raises:
        ProjError: the centre has no longitude and latitude in this CRS.
    """
    x_m, y_m = _pixel_sizes_m(crs, transform, np.array([[width_px / 2, height_px / 2]]))[0].tolist()
    if not (0 < x_m < np.inf and 0 < y_m < np.inf):
        raise pyproj.exceptions.ProjError("its pixels have no size on the ground")
    return x_m, y_m


def _pixel_sizes_m(crs: pyproj.CRS, transform: Affine, xy_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres on the ground of one pixel along a row and along a column, at places (n, 2) of the scene: (n, 2)."""
    # ten pixels, not one: a pixel of a few centimetres is close to what degrees in float64 resolve
    half_px = 5.0
    ends_px = xy_px[:, None] + np.array([[-half_px, 0], [half_px, 0], [0, -half_px], [0, half_px]])
    xy = _apply(transform, ends_px.reshape(-1, 2))
    lon, lat = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True).transform(xy[:, 0], xy[:, 1])
    lon, lat = (np.where(np.isfinite(degrees), degrees, np.nan) for degrees in (lon, lat))
    _, _, metres = pyproj.Geod(ellps="WGS84").inv(lon[::2], lat[::2], lon[1::2], lat[1::2])
    return np.asarray(metres).reshape(-1, 2) / (2 * half_px)
