"""Examples as an analyst has them: boxes in vector files on GeoTIFFs, or boxes of a prepared folder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsod.band_rule import BandRule, each_once
from fsod.boxes import area_px
from fsod.data.coco_folder import CocoFolder, ImageRecord
from fsod.data.leakage import SCENES, SOURCES, hashes_of_scenes, lineage
from fsod.data.marked import Marked, marked_shots
from fsod.errors import UserError
from fsod.geo.scene import Scene
from fsod.progress import warn
from fsod.steps.folder_shots import FolderShots
from fsod.steps.mark_files import AS_THEY_ARE, MarkFiles, Scenery, Seen, marks_on_open, open_marked
from fsod.steps.scene_marks import SceneMarks, added_verdicts, band_rules, misspelt

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
        marked: the examples, those of distractors among them.
        distractors: classes that are often taken for the others, and there only to be told apart from them.
        origin: where the examples come from.
        gsd_m: of the pixels that they were marked on, None when unknown.
        scenes: that they lie on, as named; none of examples of a folder.
        shown: which bands of the scenes were seen, or of those that a folder's images were cut from, each rule once.
        warnings: what a user should know of the scenes, one line each.
        judged: class name -> detections that were judged right, and wrong.
    """

    marked: Marked
    distractors: tuple[str, ...]
    origin: dict[str, Any]
    gsd_m: float | None
    scenes: tuple[str, ...] = ()
    shown: tuple[BandRule, ...] = ()
    warnings: tuple[str, ...] = ()
    judged: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def examples_on_scenes(scenes: Sequence[Scenery], files: MarkFiles, seen: Seen = AS_THEY_ARE) -> ExampleFiles:
    """Reads example boxes in vector files, and of each scene what is around them.

    What a verdict says yes to is an example. What it says no to is a distractor that is called ``not NAME``.

    Args:
        scenes: rasters that the examples lie on, of one GSD.
        files: of the examples; without areas.
        seen: how the scenes are to be seen.

    Raises:
        UserError: see ``marks_on_scenes``; no example at all.
    """
    with ExitStack() as stack:
        rasters = open_marked(scenes, seen, stack)
        found = marks_on_open(rasters, files)
        if not any(one.class_names for one in found):
            raise UserError(
                f"{files.verdicts[0]}: no verdict is yes, so there is no example; give some with --examples"
            )
        return examples_among(found, rasters)


def examples_among(found: Sequence[SceneMarks], rasters: Sequence[Scene]) -> ExampleFiles:
    """The same of marks, at least one of them an example, on scenes that are open."""
    names, taken_for = (
        list(dict.fromkeys(chain.from_iterable(lists)))
        for lists in ([one.class_names for one in found], [one.refused_names for one in found])
    )
    marked = _views(found, rasters, (*names, *taken_for))
    warn(unsure := misspelt(Counter(name for one in found for name in one.class_names)))
    gsd_m = found[0].gsd_m
    scenes_sha256 = hashes_of_scenes(one.scene for one in found)
    origin = {"scene": ", ".join(one.name for one in found), "gsd_m": gsd_m, SCENES: scenes_sha256}
    return ExampleFiles(
        marked,
        tuple(taken_for),
        origin,
        gsd_m,
        tuple(one.scene for one in found),
        band_rules(found),
        (*chain.from_iterable(scene.warnings for scene in rasters), *unsure),
        added_verdicts(counts for one in found for counts in one.judged.values()),
    )


def examples_in_folder(shots: FolderShots) -> ExampleFiles:
    """What is around each example of a prepared folder."""
    folder, drawn = shots.folder, shots.drawn
    marked = marked_shots(folder, drawn, [*shots.class_names, *shots.distractors])
    gsd_m = marked.folder.gsd_m
    # which images: so that nobody scores the bank on them
    seen = {"annotations_sha256": folder.sha256, "images": sorted({image.source for image in marked.folder.images})}
    seen[SOURCES] = lineage(folder.root, folder.sha256)[1:]
    origin = {"data": folder.root.resolve().name, "seed": drawn.seed, "gsd_m": gsd_m, **seen}
    shown = each_once(image.shown for image in marked.folder.images if image.shown is not None)
    return ExampleFiles(marked, shots.distractors, origin, gsd_m, shown=shown)


def _views(marks: Sequence[SceneMarks], scenes: Sequence[Scene], class_names: tuple[str, ...]) -> Marked:
    """What is around each example, one image each, in which other examples are marked as well.

    An image takes 1.2 MB, which are on the disk: ten thousand marks would leave no memory for anything else.
    """
    records: list[ImageRecord] = []
    places: dict[str, list[tuple[int, int]]] = {name: [] for name in class_names}
    first_id = 1
    with TemporaryFile(prefix="fsod-examples-") as kept:
        for one, scene in zip(marks, scenes, strict=True):
            boxes = np.concatenate([one.boxes_xyxy_px, one.refused_xyxy_px])
            names = [*one.class_names, *one.refused_names]
            whole = ImageRecord(
                id=0,
                path=Path(one.scene),
                source=Path(one.name).stem,
                width_px=one.width_px,
                height_px=one.height_px,
                boxes_xyxy_px=boxes,
                class_ids=np.array([class_names.index(name) for name in names], dtype=np.int64),
                box_ids=np.arange(first_id, first_id + len(boxes)),
                gsd_m=one.gsd_m,
            )
            first_id += len(boxes)
            for box, name, box_id in zip(boxes, names, whole.box_ids.tolist(), strict=True):
                places[name].append((len(records), box_id))
                frame = _frame(box, whole)
                records.append(_cut(whole, frame, len(records) + 1))
                kept.write(scene.read_seen(frame)[0].tobytes())
        shapes = [(record.height_px, record.width_px, 3) for record in records]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        # the file has no name any more and goes with the last of its pixels
        parts = np.split(np.memmap(kept, np.uint8, "c"), ends[:-1])
    pixels = [np.asarray(part).reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return Marked(CocoFolder(Path(marks[0].scene).parent, class_names, tuple(records), ""), pixels, places)


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
        difficult=scene.difficult[shown],
    )
