"""What was searched, as a layer beside the detections: ``searched`` in their GeoPackage, else a GeoJSON file of its own."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyogrio
import shapely
from geopandas import GeoDataFrame
from shapely.geometry.base import BaseGeometry

from fsod.errors import UserError, one_line
from fsod.files import write_bytes
from fsod.geo.antimeridian import lonlat_shape
from fsod.geo.features import SEARCHED as NAME
from fsod.geo.features import UNREADABLE
from fsod.geo.georeference import WGS84, Georeference
from fsod.geo.layer_files import geojson_bytes
from fsod.geo.layer_table import PIXEL_FRAME, Value
from fsod.geo.scene_frame import UPWARDS
from fsod.geo.searched_area import SEARCHED, SearchedArea, areas_km2

GEOMETRY = "MultiPolygon"
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


def write_searched(layer: Path, searched: SearchedLayer) -> None:
    """Writes what was searched beside a layer of detections, the whole of it or nothing.

    Raises:
        UserError: the file cannot be written; what was there stays.
    """
    path = searched_path(layer)
    try:
        if path == layer:
            _into_geopackage(path, searched)
        else:
            write_bytes(path, geojson_bytes(searched.frame(lonlat=True), searched.run, GEOMETRY))
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be written ({one_line(error)})") from error


def _into_geopackage(path: Path, searched: SearchedLayer) -> None:
    """Puts the layer into a copy of a GeoPackage in place of an earlier one, and the copy in place of the file."""
    run = {key: str(value) for key, value in searched.run.items() if value is not None}
    frame = searched.frame(lonlat=False)
    with TemporaryDirectory(".fsod-part", ".", path.parent) as folder, warnings.catch_warnings():
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.write_dataframe(frame, copy, driver="GPKG", layer=NAME, geometry_type=GEOMETRY, layer_metadata=run)
        if pyogrio.read_info(copy, layer=NAME)["features"] != len(frame):
            raise OSError("the disk may be full")
        copy.replace(path)


def _multi(shape: BaseGeometry | None) -> BaseGeometry | None:
    return (
        shape
        if shape is None or shape.geom_type == GEOMETRY
        else shapely.MultiPolygon(shapely.get_parts(shape).tolist())
    )


def _rounded(km2: float, total_km2: float) -> str:
    """With as many digits as tell apart hundredths of the total, so that 0.4 of 0.5 is not 0 of 1."""
    digits = 0 if total_km2 >= 100 else max(0, 2 - int(np.floor(np.log10(total_km2)))) if total_km2 > 0 else 0
    return f"{km2:.{digits}f}"
