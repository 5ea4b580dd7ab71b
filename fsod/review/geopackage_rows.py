"""Features of a GeoPackage, each changed by a transaction of its own.

SQLite itself writes: what another program, such as QGIS, has open or adds meanwhile stays, other layers are not touched, and
after a crash the file holds the whole change or none of it.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import shapely
from geopandas import GeoDataFrame
from shapely.geometry.base import BaseGeometry

from fsod.errors import UserError
from fsod.geo.features import SEARCHED, read_frame
from fsod.geo.geopackage_file import NAME

GEOMETRY = "geometry"
"""Key of a feature's geometry among its values, in whatever column the file has it."""

CHECKED = {"yes": 1, "no": 0, "": None}
"""Verdicts as an attribute of the type boolean holds them."""

WAIT_S = 10.0
"""How long a change waits for another program that is writing the file."""

_HEADER = struct.Struct("<2sBBi4d")
_LITTLE_ENDIAN_WITH_BOUNDS = 0b11
_EMPTY = 0b10000
_BOUNDS_BYTES = (0, 32, 48, 48, 64)
"""Length of the bounds in a geometry's header, by the code for what they hold."""


class FeatureGone(UserError):
    """Another program has removed the feature."""


class GeoPackageRows:
    """The features of one layer by their ids in the file.

    Attributes:
        path: the file.
        layer: name of its table.
    """

    def __init__(self, path: Path, layer: str | None) -> None:
        """Raises UserError unless the file has such a layer; without a name, that of ``fsod predict`` or the only one."""
        self.path = path
        with self._open() as file:
            names = [name for (name,) in file.execute("SELECT table_name FROM gpkg_geometry_columns ORDER BY 1")]
            if layer is None:
                names = [name for name in names if name != SEARCHED] or names
                layer = NAME if NAME in names else names[0] if len(names) == 1 else None
            if layer is None or layer not in names:
                raise UserError(f"{path}: {_which(names, layer)}")
            self.layer: str = layer
            query = "SELECT column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns WHERE table_name = ?"
            self._geometry, kind, self._srs_id = file.execute(query, (layer,)).fetchone()
            self._multi = str(kind).upper() == "MULTIPOLYGON"
            columns = file.execute(f"PRAGMA table_info({_quoted(layer)})").fetchall()
            self._id = next((name for _, name, _, _, _, key in columns if key), "rowid")
            self._columns = {name for _, name, *_ in columns} - {self._id}
            self._checkboxes = {name for _, name, kind, *_ in columns if str(kind).upper() == "BOOLEAN"}

    def read(self) -> GeoDataFrame:
        """All features as they are now; the index holds their ids."""
        return read_frame(self.path, self.layer, ids=True)

    def changed_outside(self) -> bool:
        """False: whatever others write, ids stay, and each change is made to the file as it is then."""
        return False

    def change(self, feature: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Sets those of the attributes that the layer has, and geometry, of a feature.

        Returns what they were, for another change. A geometry is as it was in the file: shapely has no curves, which QGIS draws.
        """
        values = self._known(values)
        with self._open() as file, file:
            file.execute("BEGIN IMMEDIATE")
            before = self._row(file, feature, list(values))
            self._write(file, feature, values)
        return before

    def add(self, values: Mapping[str, Any]) -> int:
        """Adds a feature with those of the attributes that the layer has; returns its id."""
        return self._insert(self._known(values))

    def remove(self, feature: int) -> dict[str, Any]:
        """Removes a feature; returns all that it was, for ``put_back``."""
        with self._open() as file, file:
            file.execute("BEGIN IMMEDIATE")
            before = self._row(file, feature, [GEOMETRY, *sorted(self._columns - {self._geometry})])
            file.execute(f"DELETE FROM {_quoted(self.layer)} WHERE {_quoted(self._id)} = ?", (feature,))
        return before

    def put_back(self, feature: int, values: Mapping[str, Any]) -> None:
        """Adds a feature again under the id that it had."""
        self._insert(values, feature)

    def _known(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Without attributes that the layer lacks, as one that was saved again may lack the box in pixels."""
        return {key: value for key, value in values.items() if key == GEOMETRY or key in self._columns}

    def _row(self, file: sqlite3.Connection, feature: int, keys: list[str]) -> dict[str, Any]:
        columns = ", ".join(_quoted(self._column(key)) for key in keys)
        query = f"SELECT {columns} FROM {_quoted(self.layer)} WHERE {_quoted(self._id)} = ?"
        row = file.execute(query, (feature,)).fetchone()
        if row is None:
            raise FeatureGone(f"{self.path}: feature {feature} is not there any more; reload the page")
        return dict(zip(keys, row, strict=True))

    def _write(self, file: sqlite3.Connection, feature: int, values: Mapping[str, Any]) -> None:
        sets = ", ".join(f"{_quoted(self._column(key))} = ?" for key in values)
        query = f"UPDATE {_quoted(self.layer)} SET {sets} WHERE {_quoted(self._id)} = ?"
        file.execute(query, [*self._stored(values), feature])
        self._note(file, values.get(GEOMETRY))

    def _insert(self, values: Mapping[str, Any], feature: int | None = None) -> int:
        columns = [_quoted(self._column(key)) for key in values]
        stored = self._stored(values)
        if feature is not None:
            columns, stored = [_quoted(self._id), *columns], [feature, *stored]
        query = f"INSERT INTO {_quoted(self.layer)} ({', '.join(columns)}) VALUES ({', '.join('?' * len(stored))})"
        with self._open() as file, file:
            file.execute("BEGIN IMMEDIATE")
            number = file.execute(query, stored).lastrowid
            self._note(file, values.get(GEOMETRY))
        assert number is not None
        return number

    def _column(self, key: str) -> str:
        return self._geometry if key == GEOMETRY else key

    def _stored(self, values: Mapping[str, Any]) -> list[Any]:
        # SQLite keeps a text in a checkbox, which all others read as no
        values = {key: CHECKED.get(value, value) if key in self._checkboxes else value for key, value in values.items()}
        return [self._blob(value) if isinstance(value, BaseGeometry) else value for value in values.values()]

    def _blob(self, shape: BaseGeometry) -> bytes:
        """A geometry as a GeoPackage holds it: a header with its bounds, then well-known binary."""
        if self._multi and isinstance(shape, shapely.Polygon):
            shape = shapely.MultiPolygon([shape])
        x1, y1, x2, y2 = shape.bounds
        header = _HEADER.pack(b"GP", 0, _LITTLE_ENDIAN_WITH_BOUNDS, self._srs_id, x1, x2, y1, y2)
        return header + bytes(shapely.to_wkb(shape, byte_order=1))

    def _note(self, file: sqlite3.Connection, shape: BaseGeometry | bytes | None) -> None:
        """What the file says of its layer: when it was changed, and how far it reaches, with what was there before as well."""
        now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
        file.execute(f"UPDATE gpkg_contents SET last_change = {now} WHERE table_name = ?", (self.layer,))
        if isinstance(shape, BaseGeometry):
            reach = "min_x = min(min_x, ?), min_y = min(min_y, ?), max_x = max(max_x, ?), max_y = max(max_y, ?)"
            file.execute(f"UPDATE gpkg_contents SET {reach} WHERE table_name = ?", (*shape.bounds, self.layer))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file, with the functions that its own triggers call when a geometry changes."""
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such layer")
        try:
            address = f"{self.path.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(address, uri=True, timeout=WAIT_S, isolation_level=None)) as file:
                for name, function in SQL_FUNCTIONS.items():
                    file.create_function(name, 1, function, deterministic=True)
                yield file
        except sqlite3.Error as error:
            locked = "another program keeps it locked; save and end the editing there, then try again"
            reason = locked if "locked" in str(error) else f"cannot be changed as a GeoPackage ({error})"
            raise UserError(f"{self.path}: {reason}") from error


def _which(names: list[str], wanted: str | None) -> str:
    """Why none of a file's layers is the one that is wanted, and what to do."""
    if not names:
        return "has no layer with geometry; name the layer of detections that `fsod predict` wrote"
    if wanted is None:
        return f"has several layers; name one of {', '.join(names)} (--layer)"
    return f"no layer {wanted!r}; it has {', '.join(names)} (--layer)"


def _geometry(blob: bytes) -> BaseGeometry:
    return shapely.from_wkb(blob[8 + _BOUNDS_BYTES[_bounds_kind(blob)] :])


def _bounds_kind(blob: bytes) -> int:
    return (blob[3] >> 1) & 0b111


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bound(position: int) -> Callable[[bytes | None], float | None]:
    def bound(blob: bytes | None) -> float | None:
        if blob is None or _is_empty(blob):
            return None
        if _bounds_kind(blob):  # of curves, too
            bounds: tuple[float, ...] = struct.unpack_from(f"{'<' if blob[3] & 1 else '>'}4d", blob, 8)
            return bounds[position]
        x1, y1, x2, y2 = _geometry(blob).bounds
        return float((x1, x2, y1, y2)[position])

    return bound


def _is_empty(blob: bytes | None) -> bool | None:
    if blob is None:
        return None
    return bool(blob[3] & _EMPTY) or (not _bounds_kind(blob) and bool(_geometry(blob).is_empty))


SQL_FUNCTIONS: dict[str, Callable[[bytes | None], Any]] = {
    "ST_IsEmpty": _is_empty,
    "ST_MinX": _bound(0),
    "ST_MaxX": _bound(1),
    "ST_MinY": _bound(2),
    "ST_MaxY": _bound(3),
}
"""What the triggers of a GeoPackage call when a feature changes; GDAL has them built in, SQLite has not."""
