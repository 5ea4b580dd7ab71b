"""What is made of layers of detections, as a layer with a style beside it and as a table: counts, and changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import shapely
from geopandas import GeoDataFrame

from fsod.errors import UserError, nearest, one_line
from fsod.files import write_bytes
from fsod.geo.features import UNREADABLE
from fsod.geo.geopackage_file import into_geopackage
from fsod.geo.layer_files import ON_A_MAP, csv_bytes, frame_bytes
from fsod.geo.qgis_style import is_style
from fsod.replacing import Output, not_by

GEOMETRY = "MultiPolygon"


@dataclass(frozen=True)
class Outcome:
    """Files of a command that makes a layer of polygons of other layers.

    Attributes:
        command: its name, and that of the layer inside the file.
        path: of the layer; style (.qml) and table (.csv) lie beside it.
        marks: attributes by which the command knows its layer again.
        table_marks: first columns of its table, by which it knows that.
    """

    command: str
    path: Path
    marks: frozenset[str]
    table_marks: tuple[str, ...]

    def __post_init__(self) -> None:
        suffix = self.path.suffix.lower()
        if suffix not in ON_A_MAP:
            found = repr(suffix) if suffix else "no extension"
            raise UserError(
                f"{self.path}: {found} names no format of maps{nearest(suffix, ON_A_MAP)}; known: {', '.join(ON_A_MAP)}"
            )

    @property
    def table(self) -> Path:
        """The file of the table."""
        return self.path.with_suffix(".csv")

    @property
    def outputs(self) -> list[Output]:
        """All that is written."""
        start = ",".join(self.table_marks).encode()
        return [
            Output(self.path, not_by(self.command, self._is_own)),
            Output(self.path.with_suffix(".qml"), not_by(self.command, is_style)),
            Output(self.table, not_by(self.command, lambda path: path.read_bytes().startswith(start))),
        ]

    def _is_own(self, path: Path) -> bool:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            return self.marks <= set(parquet.read_schema(path).names)
        layer = {"layer": self.command} if path.suffix.lower() == ".gpkg" else {}
        return self.marks <= set(pyogrio.read_info(path, **layer)["fields"])

    def write(self, frame: GeoDataFrame, table: pd.DataFrame, style: bytes, run: dict[str, str]) -> None:
        """Writes layer, style and table.

        Args:
            frame: polygons with a coordinate system; heights, which some formats take of all or of none, are dropped.
            table: the same without shapes, or more of it.
            style: for QGIS.
            run: what all features share.

        Raises:
            UserError: a file cannot be written; what was there stays.
        """
        suffix = self.path.suffix.lower()
        frame = frame.set_geometry(shapely.force_2d(np.asarray(frame.geometry)), crs=frame.crs)
        try:
            if suffix == ".gpkg" and _layers(self.path):
                into_geopackage(self.path, frame, self.command, GEOMETRY, run)
            else:
                write_bytes(self.path, frame_bytes(frame, suffix, self.command, GEOMETRY, dict(run)))
            write_bytes(self.path.with_suffix(".qml"), style)
            write_bytes(self.table, csv_bytes(table))
        except UNREADABLE as error:
            raise UserError(f"{self.path}: cannot be written ({one_line(error)})") from error


def _layers(path: Path) -> Sequence[str]:
    """Of a GeoPackage that is there already; none of what is no such file."""
    try:
        return [str(name) for name in pyogrio.list_layers(path)[:, 0]] if path.is_file() else []
    except UNREADABLE:
        return []
