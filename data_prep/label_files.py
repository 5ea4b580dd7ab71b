"""The files of a user's own labels: which belong to which scene, and what of them can be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.source import Item, Problem
from data_prep.source_files import files, pair
from fsod.errors import UserError
from fsod.geo.labels import LabelLayer, read_layer

RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".img")
VECTORS = (".geojson", ".json", ".gpkg", ".shp", ".fgb")
SHAPEFILE = (".shp", ".dbf", ".shx", ".prj", ".cpg")
"""A Shapefile is several files of one stem."""

MAX_WINDOW_PX = 4096


@dataclass(frozen=True)
class LabelSettings:
    """How labels are read.

    Attributes:
        attribute: of the vector files, holds the class.
        point_size_m: side of the box around a point, in metres on the ground; None where there are polygons only.
        layer: of the vector files, where they have several.
        window_px: longest side of an image.
        overlap_px: what neighbouring windows share; objects up to this size are whole in at least one.
        skip_bad: leave out what cannot be used and list it in the card instead of stopping.
    """

    attribute: str
    point_size_m: float | None = None
    layer: str | None = None
    window_px: int = 2048
    overlap_px: int = 256
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if not 64 <= self.window_px <= MAX_WINDOW_PX:
            raise UserError(f"window_px is {self.window_px}; it must be 64 to {MAX_WINDOW_PX}")
        if not 0 <= self.overlap_px <= self.window_px // 2:
            raise UserError(f"overlap_px is {self.overlap_px}; it must be 0 to half of window_px")
        if self.point_size_m is not None and not 0 < self.point_size_m < np.inf:
            raise UserError(f"point_size_m is {self.point_size_m}; it must be a positive number of metres")


def pair_scenes(scenes: Path, labels: Path) -> tuple[list[Item], list[Problem]]:
    """Each scene with the file of its labels, and scenes and files that are alone."""
    for path in (scenes, labels):
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
    rasters = files(scenes, *RASTERS) if scenes.is_dir() else [scenes]
    if not rasters:
        raise UserError(f"{scenes}: holds no raster ({', '.join(RASTERS)})")
    if labels.is_dir():
        return pair(rasters, files(labels, *VECTORS))
    items, problems = pair(rasters, rasters)
    return [Item(item.id, item.image, item.stem, labels) for item in items], problems


def label_fingerprint(items: list[Item], problems: list[Problem], settings: LabelSettings) -> str:
    """Hash of the labels' bytes, the scenes' names and sizes, and the settings."""
    content = hashlib.sha256(f"labels 1 {settings} {[(p.place(), p.why) for p in problems]}".encode())
    for item in items:
        content.update(f"{item.stem} {item.image.stat().st_size} {item.truth}".encode())
    for path in sorted({item.truth for item in items if item.truth}):
        suffixes = SHAPEFILE if path.suffix.lower() == ".shp" else (path.suffix,)
        for part in (path.with_suffix(suffix) for suffix in suffixes):
            content.update(part.read_bytes() if part.is_file() else b"")
    return content.hexdigest()


def raise_first(problems: list[Problem], settings: LabelSettings) -> None:
    """UserError of the first problem, unless such are to be left out."""
    if problems and not settings.skip_bad:
        raise UserError(f"{problems[0].place()}: {problems[0].why}; mend it, or leave such items out with skip_bad")


def read_layers(items: list[Item], settings: LabelSettings, problems: list[Problem]) -> dict[Path, LabelLayer]:
    """The labels of each file, read once; what cannot be used of them joins the problems."""
    layers: dict[Path, LabelLayer] = {}
    for path in sorted({item.truth for item in items if item.truth}):
        try:
            layer = read_layer(path, settings.attribute, layer=settings.layer, point_size_m=settings.point_size_m)
        except UserError as error:
            problems.append(as_problem(path, error))
        else:
            layers[path] = layer
            problems += [Problem(path, f"feature {i}: {why}") for i, why in layer.refused.items()]
        raise_first(problems, settings)
    return layers


def as_problem(path: Path, error: UserError) -> Problem:
    """What was wrong with a file, to be raised or listed."""
    return Problem(path, str(error).removeprefix(f"{path}: "))
