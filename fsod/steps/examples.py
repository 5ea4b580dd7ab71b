"""Examples as an analyst has them: boxes in vector files on GeoTIFFs, or boxes of a prepared folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import area_px
from fsod.data.coco import CocoFolder, ImageRecord, load_folder
from fsod.data.marked import Marked, marked_shots
from fsod.data.shots import draw_shots, load_shots
from fsod.errors import UserError, nearest
from fsod.geo.features import raise_refused
from fsod.geo.labels import LabelledBoxes, read_boxes, read_layer
from fsod.geo.scene import Scene, open_scene
from fsod.steps.train import gsd_of
from fsod.store.bank_merge import SAME_GSD

VIEW_PX = 640
"""Side of what is read around an example on a scene; more around a large object."""

VIEW_SHARE = 3.0
"""It is at least this many times as long as the object."""

MIN_VISIBLE = 0.4
"""Share of a box that must lie inside of what is read around another example to be marked there too."""


@dataclass(frozen=True)
class ExampleFiles:
    """Examples, and what a class bank says of them.

    Attributes:
        marked: the examples, those of rivals among them.
        rivals: classes that are often taken for the others, and there only to be told apart from them.
        origin: where the examples come from.
        gsd_m: of the pixels that they were marked on, None when unknown.
    """

    marked: Marked
    rivals: tuple[str, ...]
    origin: dict[str, Any]
    gsd_m: float | None


def examples_on_scenes(
    scenes: Sequence[Path], labels: Sequence[Path], rivals: Sequence[Path], attribute: str
) -> ExampleFiles:
    """Reads example boxes in vector files, and of each scene what is around them.

    Args:
        scenes: rasters that the examples lie on, of one GSD.
        labels: vector files in any CRS; each may have examples on any of the scenes.
        rivals: vector files of what is often taken for the classes.
        attribute: of the vector files, holds the class; of a rival, what it is.

    Raises:
        UserError: see ``read_boxes``; an example that is on none of several scenes; scenes of different GSDs, or without
            a CRS among several; a rival that is a class, too.
    """
    with ExitStack() as stack:
        rasters = [stack.enter_context(open_scene(scene)) for scene in scenes]
        gsd_m = _common_gsd_m(rasters)
        own, others = ([_placed(path, attribute, rasters) for path in paths] for paths in (labels, rivals))
        names, taken_for = (
            list(dict.fromkeys(n for file in files for b in file for n in b.class_names)) for files in (own, others)
        )
        _check_rivals(names, taken_for)
        marked = _views(scenes, rasters, [*own, *others], (*names, *taken_for))
    origin = {"scene": ", ".join(scene.name for scene in scenes), "gsd_m": gsd_m}
    return ExampleFiles(marked, tuple(taken_for), origin, gsd_m)


def examples_in_folder(
    data: Path, shots: Path | None, class_names: Sequence[str], rivals: Sequence[str], k: int, seed: int
) -> ExampleFiles:
    """Takes examples from a prepared folder.

    Args:
        data: the prepared folder.
        shots: a shot list of it.
        class_names: classes to take; those of the shot list if empty.
        rivals: further classes, often taken for these.
        k: boxes to draw of each class where there is no shot list.
        seed: of that draw.

    Raises:
        UserError: neither shot list nor classes; a class that the list or the folder does not have, or fewer than K of it;
            a rival that is a class, too.
    """
    folder = load_folder(data)
    if shots is None and not class_names:
        raise UserError(f"{data}: say what to take, with --class (and -k), or with --shots")
    drawn = load_shots(shots, folder) if shots else draw_shots(folder, [*class_names, *rivals], k, seed)
    names = list(class_names) or [name for name in drawn.box_ids if name not in rivals]
    _check_rivals(names, rivals)
    for name in (*names, *rivals):
        if name not in drawn.box_ids:
            raise UserError(f"{shots}: no shots of {name!r}{nearest(name, drawn.box_ids)}")
    marked = marked_shots(folder, drawn, [*names, *rivals])
    gsd_m = gsd_of(marked.folder)
    origin = {"data": folder.root.resolve().name, "seed": drawn.seed, "gsd_m": gsd_m}
    return ExampleFiles(marked, tuple(rivals), origin, gsd_m)


def _check_rivals(names: Sequence[str], rivals: Sequence[str]) -> None:
    both = [name for name in rivals if name in names]
    if both:
        raise UserError(f"--not: {both[0]!r} is one of the classes; a class cannot be its own rival")


def _common_gsd_m(scenes: list[Scene]) -> float | None:
    """The GSD of scenes whose examples go into one bank, which is searched at one GSD."""
    first = scenes[0]
    for scene in scenes[1:]:
        for each in (first, scene):
            if each.georeference.gsd_m is None:
                raise UserError(f"{each.name}: has no usable CRS, so it must be the only scene of its bank")
        ratio = (scene.georeference.gsd_m or 1) / (first.georeference.gsd_m or 1)
        if max(ratio, 1 / ratio) > SAME_GSD:
            raise UserError(
                f"{scene.name}: {scene.georeference.gsd_m:.3g} m a pixel, but {first.name} has "
                f"{first.georeference.gsd_m:.3g} m; give each its own bank"
            )
    return first.georeference.gsd_m


def _placed(path: Path, attribute: str, scenes: list[Scene]) -> list[LabelledBoxes]:
    """The examples of a file on each scene; where scenes share ground, on the one that shows most, once."""
    if len(scenes) == 1:
        return [read_boxes(path, attribute, scenes[0])]
    layer = read_layer(path, attribute)
    raise_refused(path, layer.refused)
    placed = [layer.place(scene) for scene in scenes]
    best = {int(f): (0.0, -1) for f in layer.features}
    for i, boxes in enumerate(placed):
        for feature, share in zip(boxes.features.tolist(), boxes.visible.tolist(), strict=True):
            if share > best[feature][0] + 1e-6:
                best[feature] = share, i
    raise_refused(path, {f: "lies on none of the scenes" for f, (_, i) in best.items() if i < 0})
    return [
        boxes.select(np.array([best[f][1] == i for f in boxes.features.tolist()], dtype=bool))
        for i, boxes in enumerate(placed)
    ]


def _views(
    paths: Sequence[Path], scenes: list[Scene], files: list[list[LabelledBoxes]], class_names: tuple[str, ...]
) -> Marked:
    """What is around each example, one image each, in which other examples are marked as well."""
    records: list[ImageRecord] = []
    pixels: list[NDArray[np.uint8]] = []
    places: dict[str, list[tuple[int, int]]] = {name: [] for name in class_names}
    first_id = 1
    for path, scene, of_files in zip(paths, scenes, zip(*files, strict=True), strict=True):
        boxes = np.concatenate([boxes.boxes_xyxy_px for boxes in of_files])
        names = [name for boxes in of_files for name in boxes.class_names]
        whole = ImageRecord(
            id=0,
            path=path,
            source=path.stem,
            width_px=scene.width_px,
            height_px=scene.height_px,
            boxes_xyxy_px=boxes,
            class_ids=np.array([class_names.index(name) for name in names], dtype=np.int64),
            box_ids=np.arange(first_id, first_id + len(boxes)),
            gsd_m=scene.georeference.gsd_m,
        )
        first_id += len(boxes)
        for box, name, box_id in zip(boxes, names, whole.box_ids.tolist(), strict=True):
            places[name].append((len(records), box_id))
            frame = _frame(box, whole)
            records.append(_cut(whole, frame, len(records) + 1))
            pixels.append(scene.read_rectangle(frame)[0])
    return Marked(CocoFolder(paths[0].parent, class_names, tuple(records), ""), pixels, places)


def _frame(box_xyxy_px: NDArray[np.float64], scene: ImageRecord) -> tuple[int, int, int, int]:
    """What to read around a box, in whole pixels inside the scene."""
    side = max(VIEW_PX, VIEW_SHARE * float((box_xyxy_px[2:] - box_xyxy_px[:2]).max()))
    centre = (box_xyxy_px[:2] + box_xyxy_px[2:]) / 2
    x1, y1 = np.maximum(np.floor(centre - side / 2), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(centre + side / 2), [scene.width_px, scene.height_px]).astype(int).tolist()
    return x1, y1, x2, y2


def _cut(scene: ImageRecord, frame_xyxy_px: tuple[int, int, int, int], image_id: int) -> ImageRecord:
    """A rectangle of a scene as an image of its own, with the boxes that it shows enough of."""
    x1, y1, x2, y2 = frame_xyxy_px
    inside = np.clip(scene.boxes_xyxy_px, [x1, y1, x1, y1], [x2, y2, x2, y2])
    shown = area_px(inside) >= MIN_VISIBLE * area_px(scene.boxes_xyxy_px)
    return replace(
        scene,
        id=image_id,
        width_px=x2 - x1,
        height_px=y2 - y1,
        boxes_xyxy_px=inside[shown] - [x1, y1, x1, y1],
        class_ids=scene.class_ids[shown],
        box_ids=scene.box_ids[shown],
        source_box_ids=scene.box_ids[shown],
    )
