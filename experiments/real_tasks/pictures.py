"""A picture of each task: the marks on the support scene, and what was found on a test scene.

    .venv/bin/python -m experiments.real_tasks.pictures --marks area --method finetune

Reads the layers that the tool left in OUT, as they would be shown, and writes OUT/pictures/TASK-....jpg: marks are green, what
was found is green where it is true and red where not, what was missed is yellow. Only the picture of cars_kit is for the
repository, with its source: licences of several others are not stated, or forbid it.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.real_tasks.tool import Task, corners_of, load_tool, open_tasks, options_of
from fsod.boxes import Detections, match
from fsod.draw import contact_sheet, write_jpeg
from fsod.errors import UserError
from fsod.geo.scene_opening import open_scene
from fsod.marks import FALSE_ALARM, MISS, Colour, class_colour, draw_boxes

TRUE, FRAME = class_colour(4), class_colour(6)
"""Green, and blue."""

PANEL_PX = 640
SIDES = 16
"""A panel shows so many objects in a row, if the scene is large enough."""

Boxes = NDArray[np.float64]


def task_picture(
    task: Task, marks_xyxy_px: Boxes, area_xyxy_px: Boxes | None, file: str, found: Detections
) -> NDArray[np.uint8]:
    """Marks on the support scene beside what was found on a test image.

    Args:
        task: what is looked for.
        marks_xyxy_px: (n, 4) on the support scene.
        area_xyxy_px: (4,) in which everything is marked, if there is one; it is drawn too.
        file: name of the test image.
        found: on it, class 0, in pixels; all are drawn.
    """
    truth = corners_of(task.boxes(file))
    taken = match(truth, np.zeros(len(truth), np.int64), found)
    missed = truth[~np.isin(np.arange(len(truth)), taken)]
    side = SIDES * float(np.median((truth[:, 2:] - truth[:, :2]).max(axis=1))) if len(truth) else 0.0
    framed = marks_xyxy_px if area_xyxy_px is None else np.vstack([area_xyxy_px, marks_xyxy_px])
    colours = [FRAME] * (len(framed) - len(marks_xyxy_px)) + [TRUE] * len(marks_xyxy_px)
    around = np.concatenate([framed[:, :2].min(axis=0), framed[:, 2:].max(axis=0)])
    best_last = np.argsort(found.scores, kind="stable")
    boxes = np.concatenate([missed, found.boxes_xyxy_px[best_last]])
    told: list[Colour] = [MISS] * len(missed) + [TRUE if taken[i] >= 0 else FALSE_ALARM for i in best_last]
    images = task.folder / "images"
    middle, extent = (around[:2] + around[2:]) / 2, float((around[2:] - around[:2]).max())
    panels = [
        _panel(images / task.support, framed, colours, middle, max(side, extent)),
        _panel(images / file, boxes, told, _crowd(truth, side), side),
    ]
    hits = int((taken >= 0).sum())
    area = "" if area_xyxy_px is None else "\nall that the blue frame holds"
    captions = [
        f"{len(marks_xyxy_px)} marked: {task.meta['class_name']}{area}",
        f"{Path(file).stem}:\n{hits} found, {len(missed)} missed, {len(found) - hits} false",
    ]
    return contact_sheet(panels, captions, columns=2, cell_px=PANEL_PX)


def _crowd(boxes_xyxy_px: Boxes, side_px: float) -> Boxes:
    """The middle of the box with most others near it; of no box the corner."""
    if not len(boxes_xyxy_px):
        return np.zeros(2)
    centres = (boxes_xyxy_px[:, :2] + boxes_xyxy_px[:, 2:]) / 2
    near = (np.abs(centres[:, None] - centres[None]).max(axis=2) < side_px / 2).sum(axis=1)
    return np.asarray(centres[near.argmax()])


def _panel(path: Path, boxes_xyxy_px: Boxes, colours: list[Colour], centre: Boxes, side_px: float) -> NDArray[np.uint8]:
    """A square of a scene, as large as it may be, with boxes, enlarged before they are drawn."""
    with open_scene(path) as scene:
        size = np.array([scene.width_px, scene.height_px])
        sides = np.minimum(size, round(side_px) + 32)
        corner = np.clip(np.round(centre - sides / 2), 0, size - sides).astype(int)
        right, bottom = (corner + sides).tolist()
        rgb, _ = scene.read_rectangle((int(corner[0]), int(corner[1]), right, bottom))
    zoom = PANEL_PX / max(sides.tolist())
    width, height = np.round(sides * zoom).astype(int).tolist()
    shown = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC)
    draw_boxes(shown, (boxes_xyxy_px - np.tile(corner, 2)) * zoom, colours)
    return np.asarray(shown)


def read_found(layer: Path) -> Detections:
    """What `fsod predict` wrote as COCO, of one class; UserError if it is not there."""
    if not layer.is_file():
        raise UserError(f"{layer}: is not there; run the tool with the same --out, marks, method, k and draw first")
    annotations = json.loads(layer.read_text(encoding="utf-8"))["annotations"]
    boxes = corners_of(np.array([one["bbox"] for one in annotations], np.float64).reshape(-1, 4))
    scores = np.array([one["score"] for one in annotations], np.float32)
    return Detections(boxes, scores, np.zeros(len(scores), np.int64))


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.add_argument("--method", choices=("enroll", "finetune"), default="finetune")
    options = parser.parse_args(arguments)
    for task in open_tasks(load_tool(options.tool), options.tasks, options.only):
        for marks, k, draw in product(options.marks, options.k, options.draws):
            boxes, area = task.marked(marks, k, draw)
            file = _fullest(task)
            layer = f"{options.method}-shown/{Path(file).stem}.json"
            found = read_found(options.out / task.name / f"{marks}-k{k}-{draw}" / layer)
            path = options.out / "pictures" / f"{task.name}-{options.method}-{marks}-k{k}-{draw}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            source = f"{task.meta['repository']} {task.meta['commit'][:10]}; {task.meta['licence']}"
            write_jpeg(path, task_picture(task, corners_of(boxes), area, file, found), source)
            print(path)


def _fullest(task: Task) -> str:
    """The test image with most to find."""
    return max(task.test, key=lambda name: len(task.boxes(name)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"real_tasks: {error}")
