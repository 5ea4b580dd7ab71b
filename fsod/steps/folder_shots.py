"""Examples that a prepared folder holds: those of a shot list, or a draw of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import shapely

from fsod.data.coco_folder import CocoFolder, load_folder, read_ids
from fsod.data.shots import ShotList, draw_shots, images_to_draw_from, load_shots, only_shots
from fsod.errors import UserError, nearest
from fsod.steps.scene_marks import SceneMarks, check_distractors


@dataclass(frozen=True)
class FolderShots:
    """Examples of a prepared folder.

    Attributes:
        folder: its images, or those of them that examples may come from.
        drawn: the examples.
        class_names: the classes that were taken.
        distractors: further classes, often taken for these.
    """

    folder: CocoFolder
    drawn: ShotList
    class_names: tuple[str, ...]
    distractors: tuple[str, ...]


def shots_in_folder(
    data: Path,
    shots: Path | None,
    class_names: Sequence[str],
    distractors: Sequence[str],
    k: int,
    seed: int,
    ids: Path | None = None,
) -> FolderShots:
    """Takes examples from a prepared folder.

    Args:
        data: the prepared folder.
        shots: a shot list of it.
        class_names: classes to take; those of the shot list if empty.
        distractors: further classes, often taken for these.
        k: boxes to draw of each class where there is no shot list.
        seed: of that draw.
        ids: list of the images that examples may come from, drawn or listed.

    Raises:
        UserError: an example is to be drawn, nobody says from which images, and the folder has test images (see
            ``images_to_draw_from``); neither shot list nor classes; a class that the list or the folder does not have, or
            fewer than K of it; a distractor that is a class, too.
    """
    folder = load_folder(data)
    if shots is None and not class_names:
        raise UserError(f"{data}: choose examples with --class (and -k), or with --shots")
    if shots is None or ids is not None:
        folder = images_to_draw_from(folder, None if ids is None else read_ids(ids))
    drawn = load_shots(shots, folder) if shots else draw_shots(folder, [*class_names, *distractors], k, seed)
    names = list(class_names) or [name for name in drawn.box_ids if name not in distractors]
    check_distractors(names, distractors)
    for name in (*names, *distractors):
        if name not in drawn.box_ids:
            raise UserError(f"{shots}: no shots of {name!r}{nearest(name, drawn.box_ids)}")
    return FolderShots(folder, drawn, tuple(names), tuple(distractors))


def marks_in_folder(shots: FolderShots) -> list[SceneMarks]:
    """The same as marks: the images are scenes without a CRS and without areas."""
    box_ids = {name: shots.drawn.box_ids[name] for name in (*shots.class_names, *shots.distractors)}
    found = []
    for image in only_shots(shots.folder, replace(shots.drawn, box_ids=box_ids)).images:
        of_box = [shots.folder.class_names[c] for c in image.class_ids]
        refused = np.array([name in shots.distractors for name in of_box], bool)
        found.append(
            SceneMarks(
                scene=str(image.path),
                name=image.path.name,
                width_px=image.width_px,
                height_px=image.height_px,
                gsd_m=None,
                boxes_xyxy_px=image.boxes_xyxy_px[~refused],
                class_names=tuple(compress(of_box, ~refused)),
                refused_xyxy_px=image.boxes_xyxy_px[refused],
                refused_names=tuple(compress(of_box, refused)),
                areas=shapely.MultiPolygon(),
                cut_from=image.shown,
            )
        )
    return found
