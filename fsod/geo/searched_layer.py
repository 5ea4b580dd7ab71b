"""What was searched, as a layer beside the detections: ``searched`` in their GeoPackage, else a GeoJSON file of its own.

Its style lies where QGIS looks for it: in the GeoPackage's table of styles, as the .qml beside the file is that of the
detections; else in a .qml of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from geopandas import GeoDataFrame
from shapely.geometry.base import BaseGeometry

from fsod.errors import UserError, one_line
from fsod.files import write_bytes
from fsod.geo.antimeridian import lonlat_shape
from fsod.geo.features import SEARCHED as NAME
from fsod.geo.features import UNREADABLE
from fsod.geo.geopackage_file import into_geopackage
from fsod.geo.georeference import WGS84, Georeference
from fsod.geo.layer_files import Framed, geojson_bytes
from fsod.geo.layer_table import PIXEL_FRAME, Value
from fsod.geo.qgis_style import polygon_style
from fsod.geo.scene_frame import UPWARDS
from fsod.geo.searched_area import (
    BLANK,
    DAMAGED,
    NODATA,
    NOT_REACHED,
    OUTSIDE,
    SEARCHED,
    SearchedArea,
    areas_km2,
)

GEOMETRY = "MultiPolygon"
PART_COLOURS = {
    BLANK: (150, 150, 150),
    NODATA: (90, 90, 90),
    DAMAGED: (225, 0, 75),
    NOT_REACHED: (230, 159, 0),
    OUTSIDE: (105, 105, 255),
}
"""RGB of the hatching of what was not searched."""

SEARCHED_COLOUR = (0, 130, 60)
"""RGB of the outline of what was."""

LABEL = "\"status\" || coalesce(' ' || format_number(\"area_km2\", 2) || ' km2', '')"

STYLES = """CREATE TABLE IF NOT EXISTS layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"""
"""As QGIS makes the table of styles."""

STEPS = 64
"""Edges that run along a scene's side are cut into so many before they become longitude and latitude, where they bend."""


@dataclass(frozen=True)
class SearchedLayer:
    """What a scene's file of what was searched holds.

    Attributes:
        area: what became of every part of the scene.
        georeference: of the scene's file.
        scene: its name.
        attributes: of the run, as in the layer of detections.
    """

    area: SearchedArea
    georeference: Georeference
    scene: str
    attributes: Mapping[str, Value]

    def saying(self, more: Mapping[str, Value]) -> SearchedLayer:
        """The same with further attributes; areas, which take a while, are not computed again."""
        said = replace(self, attributes={**self.attributes, **more})
        said.__dict__["areas_km2"] = self.areas_km2
        return said

    @cached_property
    def areas_km2(self) -> dict[str, float | None]:
        """Of each status, on the ground."""
        return areas_km2(self.area, self.georeference)

    @property
    def total_km2(self) -> float | None:
        """Of the scene."""
        return None if self.georeference.crs is None else sum(area or 0.0 for area in self.areas_km2.values())

    @property
    def said(self) -> str:
        """How much was searched, in words."""
        share, total = self.area.share(SEARCHED), self.total_km2
        if total is None:
            return f"searched {share:.1%} of its pixels"
        return f"searched {_rounded(self.areas_km2.get(SEARCHED) or 0.0, total)} of {_rounded(total, total)} km2"

    @property
    def run(self) -> dict[str, Value]:
        """What all parts share; says so if coordinates are pixels."""
        frame = {"coordinate_frame": PIXEL_FRAME} if self.georeference.crs is None else {}
        return {"scene": self.scene, **self.attributes, **frame}

    def frame(self, *, lonlat: bool) -> GeoDataFrame:
        """A row a status: its area in km2 and its share of the scene's pixels, a multipolygon.

        Coordinates are as in the layer of detections, see ``Layer.frame``.
        """
        statuses = list(self.area.parts_px)
        columns: dict[str, Any] = {
            "status": np.array(statuses, dtype=object),
            "area_km2": [None if (km2 := self.areas_km2[status]) is None else round(km2, 9) for status in statuses],
            "share": [round(self.area.share(status), 6) for status in statuses],
            "resampled_from_m": [self.area.resampled_from_m] * len(statuses),
            "scene": [self.scene] * len(statuses),
            **{key: [value] * len(statuses) for key, value in self.attributes.items()},
        }
        for key in ("area_km2", "resampled_from_m", "gsd_m"):
            if key in columns:
                columns[key] = np.array(columns[key], dtype=np.float64)  # unknown ones are NaN
        crs = self.georeference.crs
        shapes = [_multi(self._placed(part, lonlat=lonlat)) for part in self.area.parts_px.values()]
        return GeoDataFrame(columns, geometry=shapes, crs=None if crs is None else WGS84 if lonlat else crs)

    def _placed(self, part_px: BaseGeometry, *, lonlat: bool) -> BaseGeometry | None:
        if self.georeference.crs is None:
            return shapely.transform(part_px, lambda xy: xy * UPWARDS)
        if not lonlat:
            return shapely.transform(part_px, self.georeference.to_crs)
        fine = shapely.segmentize(part_px, max(self.area.size_px) / STEPS)
        return lonlat_shape(shapely.transform(fine, self.georeference.to_lonlat))


def searched_path(layer: Path) -> Path:
    """The file that the layer of what was searched is in, of a layer of detections."""
    return layer if layer.suffix.lower() == ".gpkg" else layer.with_suffix(".searched.geojson")


def remove_searched(layer: Path) -> None:
    """Removes what was written beside an earlier layer of that name: it tells of another search."""
    if (path := searched_path(layer)) != layer:
        path.unlink(missing_ok=True)


def write_searched(layer: Path, searched: Framed) -> None:
    """Writes what was searched beside a layer of detections, the whole of it or nothing.

    Raises:
        UserError: the file cannot be written; what was there stays.
    """
    path = searched_path(layer)
    try:
        if path == layer:
            run = {key: str(value) for key, value in searched.run.items() if value is not None}
            into_geopackage(path, searched.frame(lonlat=False), NAME, GEOMETRY, run, _put_style)
        else:
            write_bytes(path, geojson_bytes(searched.frame(lonlat=True), searched.run, GEOMETRY))
            write_bytes(path.with_suffix(".qml"), _style())
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be written ({one_line(error)})") from error


def _style() -> bytes:
    return polygon_style("status", {SEARCHED: SEARCHED_COLOUR, **PART_COLOURS}, LABEL, PART_COLOURS)


def _put_style(path: Path) -> None:
    """Into the table of styles of a GeoPackage, unless somebody has put one there."""
    own = "f_table_name = ? AND f_geometry_column = 'geom'"
    try:
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(STYLES)
            if file.execute(f"SELECT 1 FROM layer_styles WHERE {own}", (NAME,)).fetchone() is None:
                columns = (
                    "f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, styleSLD"
                )
                values = ("", "", NAME, "geom", NAME, _style().decode(), "", True, "what was searched", "fsod", "")
                marks = ", ".join("?" * len(values))
                file.execute(
                    f"INSERT INTO layer_styles ({columns}, useAsDefault, description, owner, ui) VALUES ({marks})",
                    values,
                )
            file.execute(
                "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) "
                "VALUES ('layer_styles', 'attributes', 'layer_styles', '', 0)"
            )
    except sqlite3.Error as error:
        raise OSError(f"its table of styles: {error}") from error


def _multi(shape: BaseGeometry | None) -> BaseGeometry | None:
    return (
        shape
        if shape is None or shape.geom_type == GEOMETRY
        else shapely.MultiPolygon(shapely.get_parts(shape).tolist())
    )


def _rounded(km2: float, total_km2: float) -> str:
    """With as many digits as tell apart hundredths of the total, and two of its own, so that 0.4 of 0.5 is not 0 of 1."""
    of_total = 2 - int(np.floor(np.log10(total_km2))) if 0 < total_km2 < 100 else 0
    of_own = 1 - int(np.floor(np.log10(km2))) if km2 > 0 else 0
    return f"{km2:.{max(of_total, of_own, 0)}f}"
