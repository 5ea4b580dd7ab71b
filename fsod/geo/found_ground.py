"""A layer of detections and what was searched for it, read back as places on the ground."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.features import SEARCHED as SEARCHED_LAYER
from fsod.geo.features import UNREADABLE, not_finite, raise_refused, read_frame
from fsod.geo.geopackage_file import NAME
from fsod.geo.labels import NO_CLASS, attribute_in, class_names
from fsod.geo.layer_files import ON_A_MAP
from fsod.geo.searched_area import SEARCHED
from fsod.geo.searched_layer import searched_path
from fsod.geo.verdicts import NO, YES, judged, unclear_verdicts, verdicts_in

CLASS = "class"


@dataclass(frozen=True)
class FoundGround:
    """What was found on the ground.

    Attributes:
        path: of the layer.
        found: a row a detection with its ``class``, those judged wrong left out.
        searched: what the network has seen, polygons in a CRS of their own; None where no layer says.
        known: class name -> what ``Evidence.numbers`` wrote, of all classes that were looked for; None where no layer says.
        banks: hashes of the banks that it was searched with; empty where no layer says.
        refused: detections that were judged wrong.
        sure: (n,) which of ``found`` were judged right.
        warnings: what the user should know of the layer.
    """

    path: Path
    found: GeoDataFrame
    searched: GeoSeries | None
    known: Mapping[str, Mapping[str, Any]] | None
    banks: frozenset[str]
    refused: int
    sure: NDArray[np.bool_]
    warnings: Sequence[str]

    @property
    def class_names(self) -> list[str]:
        """Those that were looked for, and those that are there."""
        return list(dict.fromkeys([*(self.known or {}), *sorted(set(self.found[CLASS]))]))

    @property
    def everywhere(self) -> GeoSeries:
        """All shapes there are, in the layer's CRS."""
        own = self.found.geometry
        if self.searched is None:
            return own
        return GeoSeries([*own, *self.searched.to_crs(own.crs)], crs=own.crs)


def read_found_ground(path: Path, layer: str | None = None) -> FoundGround:
    """Reads a layer of detections with the layer ``searched`` that lies in its GeoPackage or beside it.

    Args:
        path: a layer of ``fsod predict``, or another one of polygons with the attribute ``class``.
        layer: which of the file's layers; the one that ``fsod predict`` writes if None.

    Raises:
        UserError: not readable; no attribute ``class``, or none in a feature that is not judged wrong; without a place on the
            ground.
    """
    if path.suffix.lower() not in (*ON_A_MAP, ".shp"):
        raise UserError(f"{path}: not a layer of polygons; known: {', '.join(ON_A_MAP)}, .shp")
    frame = read_frame(path, layer, NAME)
    if not len(frame) and CLASS not in frame:
        frame[CLASS] = np.array([], dtype=object)  # a GeoJSON without features has no attributes either
    attribute_in(path, frame, CLASS)
    if frame.crs is None or _counts_in_pixels(path):
        raise UserError(f"{path}: has no coordinate system, so nothing in it has a place on the ground")
    shapes = np.asarray(frame.geometry)
    broken = shapely.is_missing(shapes) | shapely.is_empty(shapes) | not_finite(shapes)
    if broken.any():
        raise UserError(f"{path}: feature {int(np.flatnonzero(broken)[0]) + 1} has no place; remove it")
    verdicts = verdicts_in(frame)
    right = ~judged(verdicts, NO)
    names = np.array(class_names(frame[CLASS]), dtype=object)
    # what was drawn in QGIS has none until somebody fills it in
    raise_refused(path, dict.fromkeys((np.flatnonzero(right & (names == "")) + 1).tolist(), NO_CLASS.format(CLASS)))
    own = frame[right].reset_index(drop=True)
    own[CLASS] = names[right]
    searched, known, banks = _searched(path)
    sure, warnings = judged(verdicts[right], YES), unclear_verdicts(path, verdicts)
    return FoundGround(path, own, searched, known, banks, int((~right).sum()), sure, warnings)


def _counts_in_pixels(path: Path) -> bool:
    """Whether a GeoJSON says so; readers of plain GeoJSON skip it."""
    if path.suffix.lower() != ".geojson":
        return False
    with path.open("rb") as file:
        return b'"coordinate_frame"' in file.read(2**16)


def _searched(path: Path) -> tuple[GeoSeries | None, Mapping[str, Mapping[str, Any]] | None, frozenset[str]]:
    beside = searched_path(path)
    try:
        there = beside != path or SEARCHED_LAYER in pyogrio.list_layers(path)[:, 0]
    except UNREADABLE:
        there = False
    if not there or not beside.is_file():
        return None, None, frozenset()
    frame = read_frame(beside, SEARCHED_LAYER if beside == path else None)
    # one without a row is what a run that was killed while it wrote has left
    if not len(frame) or not {"status", "area_km2"} <= set(frame.columns) or frame.crs is None:
        return None, None, frozenset()
    seen = frame[(frame["status"] == SEARCHED).to_numpy() & ~shapely.is_missing(np.asarray(frame.geometry))]
    try:
        texts = list(frame["classes"].dropna()) if "classes" in frame else []
        # GDAL hands on the JSON in a GeoJSON's attribute as what it stands for
        said = [json.loads(text) if isinstance(text, str) else text for text in texts]
    except ValueError as error:
        raise UserError(f"{beside}: its attribute 'classes' is not JSON; predict again") from error
    banks = frozenset(str(bank) for bank in frame["bank"].dropna()) if "bank" in frame else frozenset()
    places = GeoSeries(shapely.make_valid(np.asarray(seen.geometry)), crs=frame.crs)
    return places, _of_all(beside, said) if said else None, banks


def _of_all(path: Path, said: list[dict[str, dict[str, Any]]]) -> Mapping[str, Mapping[str, Any]]:
    """What all rows say of the classes, but for what was found in each."""
    plain = [{name: {k: v for k, v in own.items() if k != "found"} for name, own in one.items()} for one in said]
    if any(one != plain[0] for one in plain):
        raise UserError(
            f"{path}: its scenes were searched by different banks or scores; predict them again, --together"
        )
    return plain[0]
