"""Features of a GeoJSON file, which is written anew, under a temporary name that is then renamed, with every change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyproj
import shapely
from geopandas import GeoDataFrame
from shapely.geometry.base import BaseGeometry

from fsod.errors import UserError
from fsod.files import decoded, write_text
from fsod.geo.layer_files import DEGREE_DIGITS, geojson_crs
from fsod.review.geopackage_rows import GEOMETRY

Feature = dict[str, Any]

_BROKEN = (
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
    *(shapely.errors.ShapelyError, pyproj.exceptions.ProjError),
)


class GeoJsonRows:
    """The features of a file by their position in it, from 1, when it was read.

    Attributes:
        path: the file.
        layer: None; there is only one.
    """

    layer = None

    def __init__(self, path: Path) -> None:
        """Raises UserError where there is no such file."""
        self.path = path
        self._head: dict[str, Any] = {}
        self._features: dict[int, Feature] = {}
        self._texts: dict[int, str] = {}
        self._state: tuple[int, ...] | None = None
        self._load()

    def read(self) -> GeoDataFrame:
        """All features as they are now; the index holds their ids."""
        if self.changed_outside():
            self._load()
        properties = [feature.get("properties") or {} for feature in self._features.values()]
        index = pd.Index(list(self._features), dtype="int64")
        try:
            geometry = [_geometry(feature.get("geometry")) for feature in self._features.values()]
            table = pd.DataFrame(properties, index=index)
            return GeoDataFrame(table, geometry=geometry, crs=geojson_crs(self._head))
        except _BROKEN as error:
            raise UserError(f"{self.path}: cannot be read as GeoJSON ({error})") from error

    def changed_outside(self) -> bool:
        """Whether another program has written the file since: positions in it may be of other features."""
        return self._state != self._state_now()

    def change(self, feature: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Sets attributes and geometry of a feature; returns what they were."""
        self._check()
        old = self._features[feature]
        before = {key: _value(old, key) for key in values}
        self._save({**self._features, feature: _with(old, values)}, feature)
        return before

    def add(self, values: Mapping[str, Any]) -> int:
        """Adds a feature with those of the attributes that the layer has; returns its id."""
        self._check()
        known = {key for feature in self._features.values() for key in feature.get("properties") or {}}
        feature = max(self._features, default=0) + 1
        kept = {key: value for key, value in values.items() if key == GEOMETRY or key in known or not known}
        self.put_back(feature, {**dict.fromkeys(sorted(known - set(kept))), **kept})
        return feature

    def remove(self, feature: int) -> dict[str, Any]:
        """Removes a feature; returns all that it was, for ``put_back``."""
        self._check()
        old = self._features[feature]
        self._save({i: one for i, one in self._features.items() if i != feature}, feature)
        return {**(old.get("properties") or {}), GEOMETRY: _geometry(old.get("geometry"))}

    def put_back(self, feature: int, values: Mapping[str, Any]) -> None:
        """Adds a feature again under the id that it had."""
        self._check()
        self._save({**self._features, feature: _with({"type": "Feature"}, values)}, feature)

    def _check(self) -> None:
        if self.changed_outside():
            raise UserError(
                f"{self.path}: another program has changed it; reload the page to go on from what it holds now"
            )

    def _load(self) -> None:
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such layer")
        state = self._state_now()
        try:
            content = json.loads(decoded(self.path.read_bytes()))
            features = content.pop("features")
            if not all(isinstance(feature, dict) for feature in features):
                raise TypeError("a feature is no object")
        except (OSError, *_BROKEN) as error:
            raise UserError(f"{self.path}: cannot be read as GeoJSON ({error})") from error
        self._head, self._state = content, state
        self._features = dict(enumerate(features, 1))
        self._texts = {i: _text(feature) for i, feature in self._features.items()}

    def _save(self, features: dict[int, Feature], changed: int) -> None:
        """Writes the file with other features; what is in memory changes after it."""
        texts = {i: self._texts[i] for i in features if i != changed}
        if changed in features:
            texts[changed] = _text(features[changed])
        head = _text(self._head)[:-1]
        lines = ",\n".join(texts[i] for i in features)
        try:
            write_text(self.path, f'{head}{", " if self._head else ""}"features": [\n{lines}\n]}}\n')
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror or error})") from error
        self._features, self._texts, self._state = features, texts, self._state_now()

    def _state_now(self) -> tuple[int, ...] | None:
        try:
            state = self.path.stat()
        except OSError:
            return None
        return state.st_ino, state.st_size, state.st_mtime_ns


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _geometry(content: dict[str, Any] | None) -> BaseGeometry | None:
    return None if content is None else shapely.geometry.shape(content)


def _value(feature: Feature, key: str) -> object:
    if key == GEOMETRY:
        return _geometry(feature.get("geometry"))
    return (feature.get("properties") or {}).get(key)


def _with(feature: Feature, values: Mapping[str, Any]) -> Feature:
    """The feature with other values; a member is added where there was none."""
    changed = dict(feature)
    properties = {key: value for key, value in values.items() if key != GEOMETRY}
    changed["properties"] = {**(feature.get("properties") or {}), **properties}
    if GEOMETRY in values:
        shape = values[GEOMETRY]
        if shape is not None:
            shape = shapely.transform(shape, lambda xy: xy.round(DEGREE_DIGITS))
        changed["geometry"] = None if shape is None else shapely.geometry.mapping(shape)
    return changed
