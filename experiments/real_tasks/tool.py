"""What the scripts of this study share: the tool that defines tasks and scores, and files of records, one per line.

The tool is no part of the repository, as the tasks' images are not; the first lines of README.md say what it is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from experiments.records import Record
from fsod.errors import UserError
from fsod.files import write_text
from fsod.geo.scene_opening import open_scene
from fsod.inference.infer import BatchDetector

Found = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Of each test image: boxes (n, 4) as x1, y1, x2, y2 in pixels, and scores (n,)."""


class Task(Protocol):
    """A task as the tool has it."""

    folder: Path
    name: str
    meta: dict[str, Any]
    support: str
    test: list[str]

    def boxes(self, file: str) -> NDArray[np.float64]:
        """(n, 4) all objects of an image: x, y, width, height in pixels."""

    def marked(self, marks: str, k: int, draw: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """(n, 4) marks in that form, and x1, y1, x2, y2 of the area in which everything is marked, if there is one."""


@dataclass(frozen=True)
class Marks:
    """A draw of marks as files.

    Attributes:
        scene: that they are on.
        examples: the marks.
        area: in which everything is marked, if there is one.
        boxes_xyxy_px: (n, 4) of the marks.
        area_xyxy_px: (4,) of the area.
    """

    scene: Path
    examples: Path
    area: Path | None
    boxes_xyxy_px: NDArray[np.float64]
    area_xyxy_px: NDArray[np.float64] | None


def options_of(description: str | None) -> argparse.ArgumentParser:
    """The options that say which tasks and which marks."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", type=Path, default=Path("../shared/tools/real_tasks.py"))
    parser.add_argument("--tasks", type=Path, default=Path("../shared/data/real_tasks"), help="folder of tasks")
    parser.add_argument("--out", type=Path, default=Path("runs/real_tasks"))
    parser.add_argument("--only", default="", help="names of tasks, with commas; all if not given")
    parser.add_argument("--marks", nargs="+", choices=("scattered", "area"), default=["scattered"])
    parser.add_argument("-k", type=int, nargs="+", default=[10])
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    return parser


def load_tool(path: Path) -> ModuleType:
    """The tool as a module; UserError if it is not there."""
    spec = importlib.util.spec_from_file_location("real_tasks_tool", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"--tool {path}: no such Python file")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def open_tasks(tool: ModuleType, folder: Path, only: str) -> list[Task]:
    """The tasks of a folder, by name; UserError if one that is asked for is not there."""
    tasks: list[Task] = [tool.Task(file.parent) for file in sorted(folder.glob("*/task.json"))]
    names = [name for name in only.split(",") if name]
    missing = set(names) - {task.name for task in tasks}
    if missing or not tasks:
        raise UserError(f"--tasks {folder}: holds no task {', '.join(sorted(missing))}".rstrip())
    return [task for task in tasks if not names or task.name in names]


def write_marks(tool: ModuleType, task: Task, marks: str, k: int, draw: int, work: Path) -> Marks:
    """A draw of marks, as the tool draws and writes them."""
    work.mkdir(parents=True, exist_ok=True)
    scene = task.folder / "images" / task.support
    boxes, area = task.marked(marks, k, draw)
    corners = corners_of(boxes)
    rings = [tuple(box) for box in corners.tolist()]
    examples = tool.polygons(work / "examples.geojson", scene, rings, {"class": task.meta["class_name"]})
    where = None if area is None else tool.polygons(work / "area.geojson", scene, [tuple(area.tolist())], {})
    return Marks(scene, examples, where, corners, area)


def found_in_wholes(task: Task, detect: BatchDetector, *, gsd_m: float | None, enlargement: float) -> Found:
    """What is found in a task's test images, each looked at as a whole at one size, see ``open_scene``."""
    found: Found = {}
    for name in task.test:
        with open_scene(task.folder / "images" / name, gsd_m=gsd_m, enlargement=enlargement, toned=True) as scene:
            rgb, _ = scene.read_seen((0, 0, scene.grid_width_px, scene.grid_height_px))
            own = detect(rgb[None])[0].scaled(*scene.grid_to_scene)
        found[name] = own.boxes_xyxy_px, own.scores.astype(np.float64)
    return found


def corners_of(boxes_xywh_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (n, 4) as x, y, width, height -> x1, y1, x2, y2."""
    return np.concatenate([boxes_xywh_px[:, :2], boxes_xywh_px[:, :2] + boxes_xywh_px[:, 2:]], axis=1)


def scores_of(tool: ModuleType, task: Task, everything: Found, shown: Found | None) -> Record:
    """What the tool records of detections: those of low scores too, and those that would be shown, if that is known."""
    record: Record = {"ap50": tool.average_precision(task, everything, 0.5)}
    for iou in (0.5, 0.3):
        curve, objects = tool.f1_curve(task, everything, iou)
        record |= {f"best_f1_{iou}": round(float(curve.max(initial=0)), 3), "objects": objects}
        if shown is not None:
            as_shown, _ = tool.f1_curve(task, shown, iou)
            record[f"shown_f1_{iou}"] = round(float(as_shown[-1]), 3) if len(as_shown) else 0.0
    return record


def read_lines(path: Path) -> list[Record]:
    """Records of a file, none if it is not there; UserError for a line that is none."""
    records: list[Record] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}: line {number} is no record ({error}); delete it to measure that again") from error
        if not isinstance(record, dict) or "task" not in record:
            raise UserError(f"{path}: line {number} is no record: it names no task")
        records.append(record)
    return records


def add_line(path: Path, record: Record) -> None:
    """Adds a record; processes that do so at once wait for each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        write_text(path, "".join(json.dumps(line) + "\n" for line in [*read_lines(path), record]))
    print(json.dumps(record), flush=True)


def is_recorded(path: Path, records: Sequence[Record], key: Mapping[str, Any], same: Mapping[str, Any]) -> bool:
    """Whether there is a record of this key; UserError if it was measured with something else than ``same``."""
    for record in records:
        if all(record.get(name) == value for name, value in key.items()):
            other = [name for name in same if record.get(name) != same[name]]
            if other:
                raise UserError(
                    f"{path}: {record['task']} was measured with {other[0]} {record.get(other[0])!r}, now it is "
                    f"{same[other[0]]!r}; give another --out"
                )
            return True
    return False
