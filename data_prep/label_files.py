"""The files of a user's own labels: which belong to which scene, and what of them can be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from data_prep.content import content_of
from data_prep.source import Item, Problem
from data_prep.source_files import files, pair
from fsod.errors import UserError
from fsod.geo.features import layer_in
from fsod.geo.labels import LabelLayer, read_layer
from fsod.geo.mark_shapes import PointSize
from fsod.geo.scene import Scene

RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".img")
VECTORS = (".geojson", ".json", ".gpkg", ".shp", ".fgb", ".tab", ".mif", ".kml", ".gml", ".gdb")
GEODATABASE = ".gdb"
"""A folder that is read as one vector file."""

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
        bands: of the scenes, one or three band numbers, from 1, to show as RGB; by their own words if None.
        nodata: value that stands for nothing, see ``open_scene``.
        point_size_px: side of the box around a point, in pixels of the scene.
    """

    attribute: str
    point_size_m: float | None = None
    layer: str | None = None
    window_px: int = 2048
    overlap_px: int = 256
    skip_bad: bool = False
    bands: tuple[int, ...] | None = None
    nodata: float | None = None
    point_size_px: float | None = None

    def __post_init__(self) -> None:
        if not 64 <= self.window_px <= MAX_WINDOW_PX:
            raise UserError(f"window_px is {self.window_px}; it must be 64 to {MAX_WINDOW_PX}")
        if not 0 <= self.overlap_px <= self.window_px // 2:
            raise UserError(f"overlap_px is {self.overlap_px}; it must be 0 to half of window_px")
        self.point_size  # noqa: B018, says what is wrong with it

    @property
    def point_size(self) -> PointSize | None:
        """Of the box around a point; None where there are polygons and lines only."""
        if self.point_size_m is None and self.point_size_px is None:
            return None
        return PointSize(self.point_size_m, self.point_size_px)


def pair_scenes(scenes: Path, labels: Path) -> tuple[list[Item], list[Problem]]:
    """Each scene with the file of its labels, and scenes and files that are alone."""
    for path in (scenes, labels):
        if not (path.is_file() or path.is_dir()):  # a pipe would wait for ever for its other end
            raise UserError(f"{path}: no such file or folder")
    rasters = files(scenes, *RASTERS) if scenes.is_dir() else [scenes]
    if not rasters:
        raise UserError(f"{scenes}: holds no raster ({', '.join(RASTERS)})")
    if labels.is_dir() and labels.suffix.lower() != GEODATABASE:
        return pair(rasters, sorted([*files(labels, *VECTORS), *geodatabases(labels)]))
    items, problems = pair(rasters, rasters)
    return [Item(item.id, item.image, item.stem, labels) for item in items], problems


def label_fingerprint(
    settings: LabelSettings, problems: list[Problem], layers: list[LabelLayer], scenes: list[tuple[str, Scene, int]]
) -> str:
    """Hash of labels and scenes as they were read, of the scenes' bytes, and of the settings.

    The labels' files do not tell: a GeoPackage that QGIS has open is changed in another file, and other formats consist of
    many.

    Args:
        settings: how they were read.
        problems: what cannot be used.
        layers: the labels.
        scenes: stem of each scene, the scene, and the position of its labels in ``layers``.

    Raises:
        UserError: a file of a scene cannot be read.
    """
    content = hashlib.sha256(f"labels 4 {settings} {[(p.place(), p.why) for p in problems]}".encode())
    for layer in layers:
        crs = layer.geometry.crs and layer.geometry.crs.to_wkt()
        content.update(f" {crs} {layer.class_names} {layer.features.tolist()} ".encode())
        for shapes in (layer.geometry, layer.unread):  # where something unread lies decides which windows are left out
            content.update(b" ".join(shapely.to_wkb(np.asarray(shapes)).tolist()))
    for stem, scene, labels in scenes:
        ground = scene.georeference.crs and scene.georeference.crs.to_wkt(), tuple(scene.georeference.transform)
        content.update(f" {stem} {labels} {scene.width_px} {scene.height_px} {ground} {scene.rule}".encode())
    content.update(content_of([Path(scene.name) for _, scene, _ in scenes], "looking for changes").encode())
    return content.hexdigest()


def geodatabases(folder: Path) -> list[Path]:
    """File geodatabases directly in a folder, sorted."""
    found = (p for p in folder.iterdir() if p.suffix.lower() == GEODATABASE and not p.name.startswith("."))
    return sorted(path for path in found if path.is_dir())


def raise_first(problems: list[Problem], settings: LabelSettings) -> None:
    """UserError of the first problem, unless such are to be left out."""
    if problems and not settings.skip_bad:
        raise UserError(f"{problems[0].place()}: {problems[0].why}; fix it, or leave such items out with skip_bad")


def read_layers(items: list[Item], settings: LabelSettings, problems: list[Problem]) -> dict[Path, LabelLayer]:
    """The labels of each file, read once; what cannot be used of them joins the problems."""
    layers: dict[Path, LabelLayer] = {}
    for path in sorted({item.truth for item in items if item.truth}):
        try:
            own = layer_in(path, settings.layer)
            layer = read_layer(path, settings.attribute, layer=own, point_size=settings.point_size)
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
