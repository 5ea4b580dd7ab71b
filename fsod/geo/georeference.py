"""Where a scene's pixels lie on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from fsod.geo.quiet import quietly

WGS84 = "OGC:CRS84"
"""Longitude and latitude in this order: what GeoJSON is written in."""

PIXELS_ONLY = "so coordinates are pixels of the scene"
"""Said of a scene without a place on the ground."""

LEAST_SPREAD = 1e-6
"""Control points that spread less than this across their own line give no plane."""

UNEVEN = 1.1
"""Pixels whose sides differ by more than this factor on the ground deserve a warning."""

HALF_PX = 5.0
"""A pixel's size is taken from ten, not from one: a few centimetres are close to what degrees in float64 resolve."""

_AROUND = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
EARTH = pyproj.Geod(ellps="WGS84")
_EARTH_RADIUS_M = 6.3e6, 6.4e6


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

    def pixel_areas_m2(self, xy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Square metres on the ground of a pixel at pixel positions (n, 2): (n,), NaN where there is no ground; needs a CRS."""
        assert self.crs is not None
        # of a diamond around each, by Bretschneider's formula from its sides and diagonals: azimuths fail near a pole
        left, right, above, below = range(4)
        xy = _apply(self.transform, (xy_px[:, None] + HALF_PX * _AROUND).reshape(-1, 2))
        lon, lat = (degrees.reshape(-1, 4) for degrees in _degrees(self.crs, xy))
        pairs = [(left, above), (above, right), (right, below), (below, left), (left, right), (above, below)]
        globe = globe_of(self.crs)
        a, b, c, d, p, q = (np.asarray(globe.inv(lon[:, i], lat[:, i], lon[:, j], lat[:, j])[2]) ** 2 for i, j in pairs)
        diamonds_m2 = np.sqrt(np.maximum(4 * p * q - (b + d - a - c) ** 2, 0)) / 4
        return np.asarray(diamonds_m2 / (2 * HALF_PX**2))

    def directions(self, width_px: int, height_px: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where a row and where a column of so large a scene runs at its centre, each as (east, north) of length 1.

        Needs a CRS.
        """
        assert self.crs is not None
        centre = np.array([[width_px / 2, height_px / 2]])
        azimuths_deg, _ = _across_pixels(self.crs, self.transform, centre)
        right, down = np.radians(azimuths_deg[0]).tolist()
        return (float(np.sin(right)), float(np.cos(right))), (float(np.sin(down)), float(np.cos(down)))


def globe_of(crs: pyproj.CRS) -> pyproj.Geod:
    """The ellipsoid that longitudes and latitudes of a CRS are on: WGS 84, or that of another body than the Earth."""
    own = crs.get_geod()
    return EARTH if own is None or _EARTH_RADIUS_M[0] < own.a < _EARTH_RADIUS_M[1] else own


def _apply(transform: Affine, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.array(transform).reshape(3, 3)
    return np.asarray(xy @ matrix[:2, :2].T + matrix[:2, 2])


def read_georeference(dataset: DatasetReader, name: str) -> tuple[Georeference, tuple[str, ...]]:
    """The georeference of an open raster, and what is odd about it, one line each.

    Without a CRS of its own, ground control points give CRS and affine transform (least squares). A scene without any,
    with a CRS that does not lead to longitude and latitude, or with a CRS but no transform, gets pixel coordinates.
    """
    if dataset.crs is not None and _has_transform(dataset):
        return _georeference(dataset, name, dataset.crs.to_wkt(), dataset.transform, ())
    try:
        gcps, gcps_crs = dataset.gcps
    except UnicodeDecodeError:
        return _pixels_only(
            f"{name}: the names of its ground control points are not in UTF-8, so they cannot be read and coordinates are "
            "pixels of the scene"
        )
    if gcps_crs is not None and gcps:
        transform = _fit(gcps, turns=gcps_crs.is_geographic)
        if transform is None:
            return _pixels_only(
                f"{name}: its {len(gcps)} ground control points lie on one line or one spot, so they give no place on the "
                "ground and coordinates are pixels of the scene"
            )
        off_px = _apply(~transform, _places(gcps, turns=gcps_crs.is_geographic)) - [[p.col, p.row] for p in gcps]
        warning = (
            f"{name}: placed by an affine fit to its {len(gcps)} ground control points; "
            f"the worst of them is off by {np.hypot(*off_px.T).max():.1f} px"
        )
        return _georeference(dataset, name, gcps_crs.to_wkt(), transform, (warning,))
    missing = "CRS" if dataset.crs is None else "geotransform"
    advice = "; it has RPCs only: orthorectify it for a place on the ground" if dataset.rpcs is not None else ""
    return _pixels_only(f"{name}: has no {missing}, {PIXELS_ONLY}{advice}")


def _has_transform(dataset: DatasetReader) -> bool:
    """Whether a raster says where its pixels lie; where PNM does not, ``transform`` is whatever the memory held before."""
    if isinstance(dataset, DatasetReader):
        with quietly():
            try:
                dataset.read_transform()
            except NotGeoreferencedWarning:
                return False
    return not dataset.transform.is_identity


def _places(gcps: list[GroundControlPoint], *, turns: bool) -> NDArray[np.float64]:
    """Where control points lie, (n, 2); longitudes in one piece, as those on both sides of 180 degrees are neighbours."""
    xy = np.array([[p.x, p.y] for p in gcps], dtype=np.float64)
    if turns:
        xy[:, 0] = xy[0, 0] + (xy[:, 0] - xy[0, 0] + 180) % 360 - 180
    return xy


def _fit(gcps: list[GroundControlPoint], *, turns: bool) -> Affine | None:
    """The affine transform from pixels to the ground that is nearest to control points; None where they leave it open."""
    places, pixels = _places(gcps, turns=turns), np.array([[p.col, p.row] for p in gcps], dtype=np.float64)
    if not (np.isfinite(places).all() and np.isfinite(pixels).all()):
        return None
    middle, origin = pixels.mean(axis=0), places.mean(axis=0)  # far from 0 float64 would lose millimetres
    spread = np.linalg.svd(pixels - middle, compute_uv=False)
    if len(spread) < 2 or spread[1] <= LEAST_SPREAD * max(spread[0], 1):
        return None
    (a, d), (b, e) = np.linalg.lstsq(pixels - middle, places - origin, rcond=None)[0].tolist()
    shift = Affine.translation(*origin) @ Affine(a, b, 0, d, e, 0) @ Affine.translation(*-middle)
    sizes = np.linalg.svd([[a, b], [d, e]], compute_uv=False)
    return shift if sizes[1] > LEAST_SPREAD * sizes[0] else None


def _pixels_only(warning: str) -> tuple[Georeference, tuple[str, ...]]:
    return Georeference(None, Affine.identity(), None), (warning,)


def _georeference(
    dataset: DatasetReader, name: str, crs_wkt: str, transform: Affine, warnings: tuple[str, ...]
) -> tuple[Georeference, tuple[str, ...]]:
    if not np.isfinite(transform[:6]).all() or transform.is_degenerate:
        return _pixels_only(f"{name}: its geotransform gives pixels no area, {PIXELS_ONLY}")
    try:
        crs = pyproj.CRS.from_wkt(crs_wkt)
        gsd_xy_m = _ground_size(crs, transform, dataset.width, dataset.height)
    except pyproj.exceptions.ProjError as error:
        reason = str(error).splitlines()[0]
        return _pixels_only(f"{name}: its CRS cannot be used ({reason}), {PIXELS_ONLY}")
    if crs.geodetic_crs is not None and globe_of(crs) is not EARTH:
        degrees = f"longitudes and latitudes are those of {crs.geodetic_crs.name}"
        warnings += (f"{name}: is not on the Earth; {degrees}, which GeoJSON cannot say: write .gpkg",)
    if _askew_px(transform, dataset.width, dataset.height) > 1:
        warnings += (f"{name}: its pixel grid is rotated; boxes follow the pixels, not north",)
    if max(gsd_xy_m) > UNEVEN * min(gsd_xy_m):
        x_m, y_m = gsd_xy_m
        warnings += (
            f"{name}: its pixels are {x_m:.3g} x {y_m:.3g} m on the ground; it is seen as if they were square",
        )
    return Georeference(crs, transform, gsd_xy_m), warnings


def _askew_px(transform: Affine, width_px: int, height_px: int) -> float:
    """How far rows or columns of a raster stray from the nearer axis of its CRS, from one end to the other."""
    a, b, _, d, e, _ = transform[:6]
    strays = [min(abs(x), abs(y)) / max(abs(x), abs(y)) for x, y in ((a, d), (b, e))]
    return max(strays[0] * width_px, strays[1] * height_px)


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
    return _across_pixels(crs, transform, xy_px)[1]


def _across_pixels(
    crs: pyproj.CRS, transform: Affine, xy_px: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Azimuth in degrees from north and length in metres of one pixel along a row and along a column, both (n, 2)."""
    xy = _apply(transform, (xy_px[:, None] + HALF_PX * _AROUND).reshape(-1, 2))
    lon, lat = _degrees(crs, xy)
    azimuths_deg, _, metres = globe_of(crs).inv(lon[::2], lat[::2], lon[1::2], lat[1::2])
    return np.asarray(azimuths_deg).reshape(-1, 2), np.asarray(metres).reshape(-1, 2) / (2 * HALF_PX)


def _degrees(crs: pyproj.CRS, xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of positions (n, 2), each (n,), NaN where there is none."""
    lon, lat = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True).transform(xy[:, 0], xy[:, 1])
    return np.where(np.isfinite(lon), lon, np.nan), np.where(np.isfinite(lat), lat, np.nan)
