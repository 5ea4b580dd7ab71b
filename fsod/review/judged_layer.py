"""A layer of detections that is being judged: what is said of one of them is in the file before anybody is told that it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from fsod.errors import UserError, spaced
from fsod.geo.layer_table import BOX_COLUMNS, VERDICT
from fsod.geo.scene import Scene
from fsod.geo.scene_list import short_name
from fsod.review.drawn_areas import DrawnAreas
from fsod.review.found_features import Found, Verdict, found_in, have_area, place_of, sides, texts
from fsod.review.geojson_rows import GeoJsonRows
from fsod.review.geopackage_rows import GEOMETRY, FeatureGone, GeoPackageRows
from fsod.review.placing import Placing, placing

LEAST_PX = 1.0
"""What is drawn with shorter sides shows nothing; see ``scene_marks``."""


def open_rows(path: Path, layer: str | None) -> GeoPackageRows | GeoJsonRows:
    """The features of a layer; UserError for a format whose features cannot be changed one by one."""
    suffix = path.suffix.lower()
    if suffix == ".gpkg":
        return GeoPackageRows(path, layer)
    if suffix == ".geojson":
        if layer is not None:
            raise UserError(f"--layer {layer}: {path} has no layers")
        return GeoJsonRows(path)
    raise UserError(f"{path}: cannot be judged here; let `fsod predict --out` write .gpkg or .geojson")


@dataclass(frozen=True)
class Undone:
    """A change that was taken back.

    Attributes:
        what: it was, in words.
        id: of the feature that it was made to; None for an area.
    """

    what: str
    id: int | None


@dataclass(frozen=True)
class _Step:
    what: str
    id: int | None
    back: Callable[[], object]


class JudgedLayer:
    """The detections of a scene, and areas in which everything is marked, with the way back from every change.

    The file has the last word: ``read`` takes what it holds, whoever wrote it.

    Attributes:
        path: of the layer.
        scene: that the detections are on, opened with ``north_up=False``.
        rows: the features in the file.
        areas: beside it.
        found: feature id -> what it is. ``read`` puts what was drawn first, the latest before the others, and then
            detections in the order in which verdicts teach most.
        run: ``weights``, ``bank`` and ``scene`` as the layer says it was made with, where it does.
        elsewhere: name of another scene -> how many of the features that were found on it are not in ``found``.
        changes: how many there have been.
    """

    def __init__(self, path: Path, layer: str | None, scene: Scene) -> None:
        """Raises UserError unless the file holds a layer that ``fsod predict`` wrote, of this scene."""
        self.path, self.scene = path, scene
        self.rows = open_rows(path, layer)
        self.areas = DrawnAreas(path.with_suffix(".areas.geojson"), scene)
        self.found: dict[int, Found] = {}
        self.run: dict[str, str] = {}
        self.elsewhere: dict[str, int] = {}
        self.changes = 0
        self._placing: Placing
        self._steps: list[_Step] = []
        self.read()

    def read(self) -> None:
        """Takes everything from the files as they are now."""
        if self.rows.changed_outside():
            self._steps.clear()  # ids are others
        frame = self.rows.read()
        for name in (VERDICT, "class"):
            if len(frame) and name not in frame:
                raise UserError(
                    f"{self.path}: has no attribute {name!r}, so it is not a layer that `fsod predict` wrote"
                )
        self.areas.read()
        self._placing = placing(self.path, frame.geometry, self.scene)
        boxes = self._placing.boxes_px(frame.geometry)
        if len(frame) and not have_area(boxes).any():
            raise UserError(
                f"{self.path}: none of its features is a polygon, so nothing can be shown; let `fsod predict` write it anew"
            )
        boxes[self._are_of_another_picture(frame)] = np.nan
        found = found_in(frame, boxes)
        on_scene = [one for one in found if self._is_on_scene(one)]
        if len(frame) and not on_scene:
            raise UserError(
                f"{self.path}: nothing in it lies on {self.scene.name}; name the scene that it is of (--scene)"
            )
        self.found = {one.id: one for one in sorted(on_scene, key=place_of)}
        self.run = run_of(frame)
        here = "", short_name(self.scene.name)
        names = zip(frame.index, texts(frame, "scene"), strict=True)
        self.elsewhere = Counter(name for feature, name in names if feature not in self.found and name not in here)

    @property
    def undoable(self) -> str:
        """What ``undo`` would take back, in words; empty for nothing."""
        return self._steps[-1].what if self._steps else ""

    def judge(self, feature: int, verdict: Verdict) -> None:
        """Says yes, no or nothing of a feature."""
        self._change(f"verdict {verdict or 'empty'}", replace(self._one(feature), verdict=verdict), {VERDICT: verdict})

    def mend(self, feature: int, box_xyxy_px: NDArray[np.float64]) -> None:
        """Gives a feature another outline, which says yes to it; (4,) in the scene's pixels."""
        box = self._on_scene(box_xyxy_px)
        new = replace(self._one(feature), box_xyxy_px=sides(box), verdict="yes")
        self._change("mended box", new, {GEOMETRY: self._placing.box(box), **_columns(box), VERDICT: "yes"})

    def draw(self, class_name: str, box_xyxy_px: NDArray[np.float64]) -> int:
        """Adds an object that was missed, with the verdict yes; returns its id."""
        name = spaced(class_name)
        if not name:
            raise UserError("an object needs a class; choose one, or write its name")
        box = self._on_scene(box_xyxy_px)
        values = {"class": name, VERDICT: "yes", "scene": short_name(self.scene.name), **_columns(box)}
        feature = self.rows.add({GEOMETRY: self._placing.box(box), **values})
        self.found[feature] = Found(feature, name, None, "yes", None, sides(box))

        def back() -> None:
            self.rows.remove(feature)
            del self.found[feature]

        self._note("drawn box", feature, back)
        return feature

    def erase(self, feature: int) -> None:
        """Removes an object that was drawn by hand; a detection can be judged, not removed."""
        old = self._one(feature)
        if old.score is not None:
            raise UserError("only what was drawn by hand can be removed; say no to a detection")
        before = self.rows.remove(feature)
        del self.found[feature]

        def back() -> None:
            self.rows.put_back(feature, before)
            self.found[feature] = old

        self._note("removed box", feature, back)

    def draw_area(self, ring_px: NDArray[np.float64]) -> None:
        """Adds an area, a ring (vertices, 2) in the scene's pixels, in which every object is marked."""
        before = self.areas.polygons_px
        self.areas.write([*before, *self.areas.parts(ring_px)])
        self._note("drawn area", None, lambda: self.areas.write(before))

    def erase_area(self, position: int) -> None:
        """Removes an area by its position among ``areas.polygons_px``."""
        before = self.areas.polygons_px
        if not 0 <= position < len(before):
            raise UserError("this area is not there any more; reload the page")
        self.areas.write([one for i, one in enumerate(before) if i != position])
        self._note("removed area", None, lambda: self.areas.write(before))

    def undo(self) -> Undone | None:
        """Takes the last change back; None where there is none."""
        if not self._steps:
            return None
        step = self._steps[-1]
        try:
            step.back()
        except FeatureGone:
            self._steps.pop()  # what was done before it can be taken back all the same
            raise
        self._steps.pop()
        self.changes += 1
        return Undone(step.what, step.id)

    def _change(self, what: str, new: Found, values: dict[str, Any]) -> None:
        old = self.found[new.id]
        before = self.rows.change(new.id, values)
        self.found[new.id] = new

        def back() -> None:
            self.rows.change(new.id, before)
            self.found[new.id] = old

        self._note(what, new.id, back)

    def _note(self, what: str, feature: int | None, back: Callable[[], object]) -> None:
        self._steps.append(_Step(what, feature, back))
        self.changes += 1

    def _one(self, feature: int) -> Found:
        if feature not in self.found:
            raise UserError(f"{self.path}: feature {feature} is not there any more; reload the page")
        return self.found[feature]

    def _on_scene(self, box_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """The box cut to the scene; UserError where nothing is left."""
        box = np.clip(box_xyxy_px, 0, np.tile([self.scene.width_px, self.scene.height_px], 2)).round(2)
        if not (box[2:] > box[:2]).all() and (box_xyxy_px[2:] > box_xyxy_px[:2]).all():
            raise UserError("this box lies outside the scene")
        if not (box[2:] - box[:2] >= LEAST_PX).all():
            raise UserError("this box is smaller than a pixel of the scene; draw it around the whole object")
        return np.asarray(box, np.float64)

    def _are_of_another_picture(self, frame: GeoDataFrame) -> NDArray[np.bool_]:
        """Which features say that they are of another scene; without a CRS only the name tells, as in ``read_verdicts``."""
        if self.scene.georeference.crs is not None:
            return np.zeros(len(frame), np.bool_)
        names = np.array(texts(frame, "scene"), dtype=object)
        return np.asarray((names != "") & (names != short_name(self.scene.name)), np.bool_)

    def _is_on_scene(self, one: Found) -> bool:
        x1, y1, x2, y2 = one.box_xyxy_px
        return x1 < self.scene.width_px and y1 < self.scene.height_px and x2 > 0 and y2 > 0


def run_of(frame: GeoDataFrame) -> dict[str, str]:
    """``weights``, ``bank`` and ``scene`` that features say they were found with, where they do."""
    there = [key for key in ("weights", "bank", "scene") if key in frame and frame[key].notna().any()]
    return {key: str(frame[key].dropna().iloc[0]) for key in there}


def _columns(box_xyxy_px: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(BOX_COLUMNS, box_xyxy_px.tolist(), strict=True))
