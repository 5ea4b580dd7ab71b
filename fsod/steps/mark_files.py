"""All that an analyst says of scenes in vector files: marks, distractors, areas in which everything is marked, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from fsod.band_rule import BandRule
from fsod.config import CLASS_ATTRIBUTE
from fsod.errors import UserError
from fsod.geo.features import VectorFile, check_layer, layer_in, raise_refused
from fsod.geo.labels import LabelledBoxes, assumed_encoding, read_layer
from fsod.geo.mark_shapes import PointSize, hull_notes
from fsod.geo.marked_areas import read_marked_areas
from fsod.geo.scene import Scene
from fsod.geo.scene_nms import paired_iou, touching_pairs
from fsod.geo.scene_opening import open_scene
from fsod.geo.verdicts import Verdicts, read_verdicts
from fsod.progress import warn
from fsod.steps.marks_elsewhere import as_others_say
from fsod.steps.scene_marks import (
    LEAST_PX,
    SceneMarks,
    added_verdicts,
    are_there,
    check_alike,
    check_distractors,
)

SAME_MARK_IOU = 0.7
"""Marks of one class that overlap more are one that was drawn twice: by hand, a pixel or two off."""

Content = TypeVar("Content")
Scenery = str | Path
"""A raster: a file, or anything else that GDAL opens."""


@dataclass(frozen=True)
class MarkFiles:
    """Vector files in any CRS that tell of scenes.

    Attributes:
        labels: files of example boxes.
        distractors: files of boxes of what is often taken for the classes.
        areas: files of polygons in which every object of the classes is marked.
        verdicts: judged layers of ``fsod predict``.
        attribute: of labels and distractors, holds the class; of a distractor, what it is.
        layer: which layer to read of those files that have several.
        point_size: of points among labels and distractors, which are refused if None.
    """

    labels: Sequence[VectorFile] = ()
    distractors: Sequence[VectorFile] = ()
    areas: Sequence[VectorFile] = ()
    verdicts: Sequence[VectorFile] = ()
    attribute: str = CLASS_ATTRIBUTE
    layer: str | None = None
    point_size: PointSize | None = None


@dataclass(frozen=True)
class Seen:
    """How scenes are to be seen.

    Attributes:
        bands: one or three band numbers, from 1; by their own words if None.
        nodata: value that stands for nothing, see ``open_scene``.
        like: what earlier examples were shown in, which is followed where a scene has it.
        toned: whether the network is shown them in the tone that it is used to, see ``open_scene``.
    """

    bands: tuple[int, ...] | None = None
    nodata: float | None = None
    like: tuple[BandRule, ...] = ()
    toned: bool | None = True


AS_THEY_ARE = Seen()
"""By their own words, and in the tone that a network is used to."""


def open_marked(scenes: Sequence[Scenery], seen: Seen, stack: ExitStack) -> list[Scene]:
    """The scenes, open until the stack ends; what a user should know of them is printed."""
    opened = [
        stack.enter_context(open_scene(scene, bands=seen.bands, nodata=seen.nodata, like=seen.like, toned=seen.toned))
        for scene in scenes
    ]
    for scene in opened:
        warn(scene.warnings)
    return opened


def marks_on_scenes(scenes: Sequence[Scenery], files: MarkFiles, seen: Seen = AS_THEY_ARE) -> list[SceneMarks]:
    """Reads all that vector files say of scenes, and of the scenes no more than opening them takes.

    Where scenes have a CRS, each file may be about any of them. Of several without one each has its own file of a kind, in
    the order of the scenes; those that verdicts tell of need no other. Verdicts name their scene. A scene may be without a
    mark, and an area too.

    Args:
        scenes: rasters of one GSD, all with a CRS or none.
        files: that tell of them.
        seen: how the scenes are to be seen.

    Returns:
        One for each scene.

    Raises:
        UserError: see ``read_boxes``, ``read_marked_areas`` and ``read_verdicts``; a mark smaller than a pixel, or on none
            of the scenes; scenes of different GSDs, or some with and some without a CRS; another number of files than of
            scenes without a CRS; a distractor that is a class, too.
    """
    with ExitStack() as stack:
        return marks_on_open(open_marked(scenes, seen, stack), files)


def marks_on_open(scenes: Sequence[Scene], files: MarkFiles) -> list[SceneMarks]:
    """The same of scenes that are open."""
    check_layer([*files.labels, *files.distractors, *files.areas, *files.verdicts], files.layer)
    check_alike([(scene.name, scene.georeference.gsd_m) for scene in scenes])
    # a layer that names no scene, as one that was drawn by hand, is that of the picture in its place
    in_order = scenes[0].georeference.crs is None and len(files.verdicts) == len(scenes)
    by_layer = [_verdicts(file, scenes, files.layer, i if in_order else None) for i, file in enumerate(files.verdicts)]
    judged = [[of_layer[i] for of_layer in by_layer] for i in range(len(scenes))]
    done = {i for i, of_scene in enumerate(judged) if any(len(v.yes.features) or len(v.no.features) for v in of_scene)}

    def read(file: VectorFile, on: Sequence[Scene]) -> list[LabelledBoxes]:
        return _labels(file, on, files)

    def read_areas(file: VectorFile, on: Sequence[Scene]) -> list[shapely.MultiPolygon]:
        return read_marked_areas(file, on, layer=layer_in(file, files.layer))

    marked = _of_each(scenes, files.labels, "--examples", read, done)
    taken_for = _of_each(scenes, files.distractors, "--not", read, done)
    known = _of_each(scenes, files.areas, "--area", read_areas, done)
    found = [_scene_marks(*of_scene) for of_scene in zip(scenes, marked, taken_for, judged, known, strict=True)]
    found = as_others_say(found, scenes)
    check_distractors(
        [name for one in found for name in one.class_names], [name for one in found for name in one.refused_names]
    )
    return found


def _of_each(
    scenes: Sequence[Scene],
    files: Sequence[VectorFile],
    option: str,
    read: Callable[[VectorFile, Sequence[Scene]], list[Content]],
    done: Collection[int] = (),
) -> list[list[Content]]:
    """What files say of each scene: a list for each scene, of what was read for it.

    Args:
        scenes: all with a CRS, or none.
        files: each about any of the scenes, or in their order where pixels alone do not tell which is meant.
        option: that the files were given by.
        read: a file and the scenes that it may be about -> what it says of each of them.
        done: positions of scenes that need no file, because a verdict tells of them.
    """
    everyone = list(range(len(scenes)))
    if scenes[0].georeference.crs is None and len(scenes) > 1 and files:
        for own in (everyone, [i for i in everyone if i not in done]):
            if len(own) == len(files):
                file_of = dict(zip(own, files, strict=True))
                return [read(file_of[i], [scenes[i]]) if i in file_of else [] for i in everyone]
        raise UserError(
            f"{option}: {len(files)} given for {len(scenes)} scenes without a CRS; give one for each scene, in the "
            "order of the scenes"
        )
    by_file = [read(file, scenes) for file in files]
    return [[of_file[i] for of_file in by_file] for i in everyone]


def _labels(path: VectorFile, scenes: Sequence[Scene], files: MarkFiles) -> list[LabelledBoxes]:
    found = read_layer(path, files.attribute, layer=layer_in(path, files.layer), point_size=files.point_size)
    warn(assumed_encoding(found))
    raise_refused(path, found.refused)
    placed = found.place_on(scenes)
    warn(hull_notes(path, (boxes.kinds for boxes in placed)))
    return [_large_enough(path, boxes, scene) for boxes, scene in zip(placed, scenes, strict=True)]


def _verdicts(path: VectorFile, scenes: Sequence[Scene], layer: str | None, unnamed: int | None) -> list[Verdicts]:
    found = read_verdicts(path, scenes, layer=layer_in(path, layer), unnamed=unnamed)
    warn(hull_notes(path, (boxes.kinds for verdicts in found for boxes in (verdicts.yes, verdicts.no))))
    for verdicts, scene in zip(found, scenes, strict=True):
        _large_enough(path, verdicts.yes, scene)
        _large_enough(path, verdicts.no, scene)
    return found


def _large_enough(path: VectorFile, boxes: LabelledBoxes, scene: Scene) -> LabelledBoxes:
    """The boxes themselves; UserError where one is smaller than a pixel."""
    sides = boxes.boxes_xyxy_px[:, 2:] - boxes.boxes_xyxy_px[:, :2]
    small = np.flatnonzero(sides.min(axis=1, initial=np.inf) < LEAST_PX)
    why = "{:.2g} x {:.2g} px on " + scene.name + ": smaller than a pixel; mark the whole object"
    if scene.georeference.crs is None:
        why += " (the scene has no CRS, so coordinates are taken as pixels)"
    raise_refused(path, {int(boxes.features[i]): why.format(*sides[i]) for i in small})
    return boxes


def _scene_marks(
    scene: Scene,
    marked: Sequence[LabelledBoxes],
    distractors: Sequence[LabelledBoxes],
    judged: Sequence[Verdicts],
    areas: Sequence[shapely.MultiPolygon],
) -> SceneMarks:
    boxes, names = _with_new(*_each_once(scene, *_joined(marked)), *_joined([verdicts.yes for verdicts in judged]))
    no, no_names = _joined([verdicts.no for verdicts in judged])
    wrong = ~are_there(no, no_names, boxes, names)
    not_names = [f"not {name}" for name in compress(no_names, wrong.tolist())]
    refused, refused_names = _with_new(*_joined(distractors), no[wrong], not_names)
    searches = dict.fromkeys(verdicts.search for verdicts in judged if verdicts.judged)
    counts = {
        search: added_verdicts(verdicts.judged for verdicts in judged if verdicts.search == search)
        for search in searches
    }
    return SceneMarks.on(scene, boxes, names, refused, refused_names, areas, counts)


def _each_once(
    scene: Scene, boxes_xyxy_px: NDArray[np.float64], names: Sequence[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """Marks without those that are drawn a second time, as happens when features are copied."""
    stays = np.ones(len(names), np.bool_)
    class_ids = np.unique(np.array(names, dtype=str), return_inverse=True)[1]
    for pairs in touching_pairs(boxes_xyxy_px, class_ids):
        overlaps = paired_iou(boxes_xyxy_px[pairs[:, 0]], boxes_xyxy_px[pairs[:, 1]])
        stays[pairs[overlaps > SAME_MARK_IOU, 1]] = False
    if not stays.all():
        warn([f"{scene.name}: {int((~stays).sum())} of the marks are there twice; each counts once"])
    return boxes_xyxy_px[stays], list(compress(names, stays.tolist()))


def _with_new(
    boxes_xyxy_px: NDArray[np.float64], names: list[str], more_xyxy_px: NDArray[np.float64], more_names: list[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """Boxes, and those of more that mark an object of which there is none yet."""
    new = ~are_there(more_xyxy_px, more_names, boxes_xyxy_px, names, or_before=True)
    return np.concatenate([boxes_xyxy_px, more_xyxy_px[new]]), [*names, *compress(more_names, new.tolist())]


def _joined(parts: Sequence[LabelledBoxes]) -> tuple[NDArray[np.float64], list[str]]:
    boxes = np.concatenate([np.zeros((0, 4)), *(part.boxes_xyxy_px for part in parts)])
    return boxes, [name for part in parts for name in part.class_names]
