"""Whether what became of a scene adds up to the scene, on odd rasters.

The scene's own area is taken another way: as the geodesic polygon of its outline. What has no pixels is counted pixel by pixel.

    python -m experiments.searched.areas --json experiments/searched/areas.json
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine
from geopandas import GeoSeries
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning

from experiments.records import commit
from fsod.boxes import Detections
from fsod.data.coco_folder import write_json
from fsod.geo.georeference import Georeference
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import SceneResult, predict_scene
from fsod.geo.searched_area import NODATA, OUTSIDE, SEARCHED
from fsod.geo.searched_layer import SearchedLayer

PLAN = ScenePlan(window_px=96, overlap_px=32)
NOTHING = 0


@dataclass(frozen=True)
class Odd:
    """A raster with a place, and how it is searched.

    Attributes:
        crs: of it.
        transform: of it.
        size_px: columns and rows.
        plan: how it is searched, without the area.
        area_px: area of interest as left, top, right, bottom in its pixels; it is written in ``area_crs``.
        gcps: the place is given by control points.
        cut: bytes that are missing at the end of the file.
        km2: the scene's area, where its outline has none.
    """

    crs: str | None
    transform: Affine
    size_px: tuple[int, int] = (430, 350)
    plan: ScenePlan = PLAN
    area_px: tuple[int, int, int, int] | None = None
    area_crs: str = "EPSG:4326"
    gcps: bool = False
    cut: int = 0
    km2: float | None = None


UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
ODD = {
    "plain, with an area of interest in degrees": Odd("EPSG:32633", UTM, area_px=(40, 60, 333, 290)),
    "resampled from 0.5 m to 0.8 m": Odd("EPSG:32633", UTM, plan=replace(PLAN, gsd_m=0.8)),
    "south up": Odd("EPSG:32633", Affine(0.5, 0, 500_000, 0, 0.5, 5_000_000), area_px=(100, 0, 430, 100)),
    "turned by a quarter": Odd("EPSG:32633", Affine(0, 0.5, 500_000, 0.5, 0, 5_000_000), area_px=(40, 60, 333, 290)),
    "askew by 30 degrees": Odd("EPSG:32633", UTM @ Affine.rotation(30), area_px=(-90, 60, 333, 290)),
    "web mercator at 60 degrees north": Odd("EPSG:3857", Affine(300, 0, 1e6, 0, -300, 8.4e6)),
    "degrees, pixels twice as high as wide": Odd(
        "EPSG:4326", Affine(1e-3, 0, 10, 0, -1e-3, 60), area_px=(40, 60, 333, 290), area_crs="EPSG:32632"
    ),
    "across 180 degrees": Odd("EPSG:4326", Affine(1e-2, 0, 178, 0, -1e-2, 10), area_px=(40, 60, 333, 290)),
    "the north pole in it": Odd("EPSG:3413", Affine(5e3, 0, -1e6, 0, -5e3, 9e5)),
    "the whole globe": Odd("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5, 90), (720, 360), km2=510_065_622),
    "US survey feet": Odd("EPSG:2263", Affine(2, 0, 980_000, 0, -2, 200_000)),
    "placed by control points": Odd("EPSG:32633", UTM, gcps=True),
    "cut short": Odd("EPSG:32633", UTM, plan=replace(PLAN, skip_damaged=True), cut=3 * 64 * 64 * 9),
    "smaller than a window": Odd("EPSG:32633", UTM, (37, 21)),
    "a picture without a place": Odd(None, Affine.identity(), area_px=(40, 60, 333, 290)),
}


def make_raster(path: Path, odd: Odd) -> NDArray[np.bool_]:
    """Writes the raster, a wedge of it without pixels and a rectangle of one colour; where it has pixels (h, w)."""
    width, height = odd.size_px
    pixels = np.random.default_rng(0).integers(1, 255, (3, height, width)).astype(np.uint8)
    pixels[:, height // 2 : height // 2 + 200, width // 2 : width // 2 + 200] = 77
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    wedge = x + 1.7 * y < 0.5 * width
    pixels[:, wedge] = NOTHING
    corners = [(column, row) for column in (0, width) for row in (0, height)]
    place: dict[str, Any] = {"crs": odd.crs, "transform": odd.transform}
    if odd.gcps:
        points = [(odd.transform @ corner, corner) for corner in corners]
        gcps = [GroundControlPoint(row, column, *xy) for xy, (column, row) in points]
        place = {"crs": odd.crs, "gcps": gcps}
    if odd.crs is None:
        place = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", width=width, height=height, count=3, dtype="uint8", tiled=True,
                           blockxsize=64, blockysize=64, nodata=NOTHING, **place) as file:  # fmt: skip
            file.write(pixels)
    with path.open("r+b") as raw:
        raw.truncate(path.stat().st_size - odd.cut)
    return ~wedge


def write_area(path: Path, odd: Odd) -> Path | None:
    """The area of interest as a file in its CRS, its edges as finely cut as needed to stay straight in the raster."""
    if odd.area_px is None:
        return None
    box = shapely.segmentize(shapely.box(*odd.area_px), 5)
    matrix = np.array(odd.transform).reshape(3, 3)
    shape = GeoSeries([shapely.transform(box, lambda xy: xy @ matrix[:2, :2].T + matrix[:2, 2])], crs=odd.crs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        (shape if odd.crs is None else shape.to_crs(odd.area_crs)).to_file(path)
    return path


def nothing(images: NDArray[np.uint8]) -> list[Detections]:
    """A detector that finds nothing."""
    return [Detections.empty() for _ in images]


def outline_km2(place: Georeference, size_px: tuple[int, int]) -> float:
    """Area of a scene as the geodesic polygon of its outline."""
    ring = shapely.get_coordinates(shapely.segmentize(shapely.box(0, 0, *size_px), max(size_px) / 400))
    lon, lat = place.to_lonlat(ring).T
    return abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0]) / 1e6


def off_by(odd: Odd, result: SceneResult, has_pixels: NDArray[np.bool_]) -> dict[str, Any]:
    """How far parts are from where they should be, as shares of the scene."""
    layer = SearchedLayer(result.area, result.georeference, result.scene, {})
    width, height = odd.size_px
    parts = list(result.area.parts_px.values())
    whole = shapely.box(0, 0, width, height)
    overlaps = sum(part.area for part in parts) - shapely.union_all(parts).area
    record: dict[str, Any] = {
        "parts": {status: round(result.area.share(status), 4) for status in result.area.parts_px},
        "gaps_and_overlaps": (shapely.union_all(parts).symmetric_difference(whole).area + abs(overlaps)) / whole.area,
        "km2": layer.total_km2,
    }
    if layer.total_km2 is not None:
        expected = odd.km2 or outline_km2(result.georeference, (width, height))
        record |= {"outline_km2": expected, "total_off": abs(layer.total_km2 / expected - 1)}
    left, top, right, bottom = odd.area_px or (0, 0, width, height)
    asked = np.zeros((height, width), np.bool_)
    asked[max(top, 0) : bottom, max(left, 0) : right] = True
    record["outside_off"] = float(abs(result.area.share(OUTSIDE) - (~asked).mean()))
    if not odd.cut:
        record["nodata_off"] = float(abs(result.area.share(NODATA) - (~has_pixels & asked).mean()))
    return record


def measure(folder: Path, name: str, odd: Odd, run: Callable[..., SceneResult] = predict_scene) -> dict[str, Any]:
    """Makes a raster, searches it, and says how far its parts are off."""
    scene, area = folder / "scene.tif", folder / "area.gpkg"
    area.unlink(missing_ok=True)
    has_pixels = make_raster(scene, odd)
    result = run(scene, nothing, replace(odd.plan, aoi=write_area(area, odd)))
    if SEARCHED not in result.area.parts_px:
        raise ValueError(f"{name}: nothing was searched")
    return {"raster": name, **off_by(odd, result, has_pixels)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    out = parser.parse_args().json
    with TemporaryDirectory() as folder:
        records = [measure(Path(folder), name, odd) for name, odd in ODD.items()]
    for record in records:
        print(*(f"{key} {value:.2g}" if isinstance(value, float) else value for key, value in record.items()), sep="; ")
    write_json(out, {"commit": commit(), "rasters": records})


if __name__ == "__main__":
    main()
