"""A layer of detections, read back from any of the formats that ``fsod predict`` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from fsod.errors import UserError, one_line
from fsod.geo.features import UNREADABLE, raise_refused, read_frame
from fsod.geo.geopackage_file import NAME
from fsod.geo.georeference import WGS84
from fsod.geo.labels import NO_CLASS, class_names
from fsod.geo.layer_files import check_columns, geojson_crs, without_apostrophe
from fsod.geo.layer_table import BOX_COLUMNS, VERDICT
from fsod.geo.verdicts import NO, judged, unclear_verdicts, verdicts_in

NEEDED = ("class", "score", *BOX_COLUMNS)

ROUNDED_PX = 0.02
"""Boxes in attributes are rounded to hundredths of a pixel."""


@dataclass(frozen=True)
class FoundLayer:
    """Detections of a scene.

    Attributes:
        scene: name of the scene, empty for a layer that has neither detections nor its name.
        class_names: (n,) str.
        scores: (n,) float64 in 0..1.
        boxes_xyxy_px: (n, 4) float64, the scene's pixels.
        lonlat: (n, 2) float64, centres in degrees (WGS84); None where the scene has no coordinate system.
        refused: how many detections were judged wrong, and are left out.
        warnings: what the user should know of the layer.
    """

    scene: str
    class_names: NDArray[np.str_]
    scores: NDArray[np.float64]
    boxes_xyxy_px: NDArray[np.float64]
    lonlat: NDArray[np.float64] | None
    refused: int = 0
    warnings: Sequence[str] = ()


MOST_DEGREES = np.array([540.0, 90.0])
"""Longitude and latitude; a layer of a scene in 0 to 360 may reach beyond."""


def read_found(path: Path, layer: str | None = None) -> FoundLayer:
    """Reads a layer.

    Args:
        path: the file.
        layer: which of its layers; the one that ``fsod predict`` writes if None.

    Raises:
        UserError: no file, not readable, not of a known format, or not made by ``fsod predict``.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such layer")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: not a layer of detections; known: {', '.join(_READERS)}")
    if layer is not None and reader is not _vector:
        raise UserError(f"--layer {layer}: {path} has no layers")
    try:
        table, scene = reader(path) if layer is None else _vector(path, layer)
        table = _without_drawn(table)
        verdicts = verdicts_in(table)
        wrong, warnings = judged(verdicts, NO), unclear_verdicts(path, verdicts)
        table, refused = table[~wrong], int(wrong.sum())
        if not len(table):
            return FoundLayer(scene, np.zeros(0, np.str_), np.zeros(0), np.zeros((0, 4)), None, refused)
        check_columns(path, table.columns, NEEDED)
        numbers = table[["score", *BOX_COLUMNS]].to_numpy(np.float64)
        names = np.array(class_names(table["class"]), np.str_)
        raise_refused(path, dict.fromkeys((table.index[names == ""] + 1).tolist(), NO_CLASS.format("class")))
        scenes = [str(name) for name in table["scene"].dropna().unique() if name] if "scene" in table else []
        if len(scenes) > 1:
            named = ", ".join(scenes[:3]) + (", ..." if len(scenes) > 3 else "")
            raise UserError(
                f"{path}: is of several scenes ({named}), and a report shows one; predict them without --together"
            )
        scene = scene or "".join(scenes)
        lonlat = _lonlat(path, table)
    except UNREADABLE as error:
        why = f"{type(error).__name__} {one_line(error)}"
        raise UserError(f"{path}: not a layer that `fsod predict` wrote: {why}") from error
    nowhere = table.index[~np.isfinite(numbers).all(axis=1)]
    raise_refused(path, dict.fromkeys((nowhere + 1).tolist(), "no finite box in its attributes; delete it"))
    return FoundLayer(scene, names, numbers[:, 0], numbers[:, 1:], lonlat, refused, warnings)


def _without_drawn(table: pd.DataFrame) -> pd.DataFrame:
    """The detections alone: an object that somebody has drawn in has no score, in a GeoJSON of such objects not even a column."""
    if VERDICT not in table:
        return table
    return table[table["score"].notna()] if "score" in table else table[:0]


def _lonlat(path: Path, table: pd.DataFrame) -> NDArray[np.float64] | None:
    if isinstance(table, GeoDataFrame):
        if table.crs is None or not (table.crs.is_geographic or table.crs.is_projected):
            return None
        # a picture's layer that was saved again no longer says that it is in pixels
        if table.crs.is_geographic and _in_pixels(table):
            return None
        # a point inside, not the mean: a box that is cut at 180 degrees has its mean on the other side of the world
        lonlat = np.full((len(table), 2), np.nan)
        placed = ~(table.geometry.isna() | table.geometry.is_empty).to_numpy()
        points = shapely.get_coordinates(shapely.point_on_surface(table.geometry.to_numpy()[placed]))
        if table.crs.is_geographic and len(off := points[(np.abs(points) > MOST_DEGREES).any(axis=1)]):
            raise UserError(
                f"{path}: its coordinates such as {off[0, 0]:.0f}, {off[0, 1]:.0f} are no degrees, and it names no other CRS; "
                "save it with the CRS that they are in"
            )
        moved = geopandas.points_from_xy(*points.T, crs=table.crs).to_crs(WGS84)
        lonlat[placed] = np.stack([moved.x, moved.y], axis=1)
        return lonlat
    return table[["lon", "lat"]].to_numpy(np.float64) if "lon" in table else None


def _in_pixels(table: GeoDataFrame) -> bool:
    """Whether polygons are the pixel boxes of their attributes; some may have been moved since, not most."""
    boxes = table[list(BOX_COLUMNS)].to_numpy(np.float64)
    bounds = table.geometry.bounds.to_numpy()
    upwards = np.stack([bounds[:, 0], -bounds[:, 3], bounds[:, 2], -bounds[:, 1]], axis=1)
    off_px = np.minimum(*(np.abs(boxes - frame).max(axis=1) for frame in (bounds, upwards)))
    return bool(np.median(off_px) < ROUNDED_PX)


def _geojson(path: Path) -> tuple[pd.DataFrame, str]:
    content = json.loads(path.read_bytes())
    scene = str(content.get("run", {}).get("scene", ""))
    if not content["features"]:
        return pd.DataFrame(), scene
    return GeoDataFrame.from_features(content["features"], crs=geojson_crs(content)), scene


def _vector(path: Path, layer: str | None = None) -> tuple[pd.DataFrame, str]:
    return read_frame(path, layer, usual=NAME), ""


def _parquet(path: Path) -> tuple[pd.DataFrame, str]:
    return geopandas.read_parquet(path), ""


def _csv(path: Path) -> tuple[pd.DataFrame, str]:
    check_columns(path, pd.read_csv(path, nrows=0).columns, NEEDED)  # decimal commas break up rows
    # a class may be called "NA", or 007
    empty = {"score": [""], "lon": [""], "lat": [""]}
    table = pd.read_csv(path, keep_default_na=False, na_values=empty, dtype={"class": str, "scene": str})
    texts = [name for name in ("class", "scene") if name in table]
    return table.assign(**{name: table[name].map(without_apostrophe) for name in texts}), ""


def _coco(path: Path) -> tuple[pd.DataFrame, str]:
    content = json.loads(path.read_bytes())
    names = {category["id"]: category["name"] for category in content["categories"]}
    rows = [
        (names[a["category_id"]], a["score"], x, y, x + width, y + height)
        for a in content["annotations"]
        for x, y, width, height in [a["bbox"]]
    ]
    return pd.DataFrame(rows, columns=["class", "score", *BOX_COLUMNS]), str(content["images"][0]["file_name"])


_READERS = {
    ".geojson": _geojson,
    ".gpkg": _vector,
    ".fgb": _vector,
    ".parquet": _parquet,
    ".csv": _csv,
    ".json": _coco,
}
