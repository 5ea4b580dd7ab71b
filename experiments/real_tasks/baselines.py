"""The two baselines on the same marks: rotated template matching, and a YOLO11 from scratch in the same time.

    .venv/bin/python -m experiments.real_tasks.baselines --marks scattered area --draws 0 1 2

A record a run goes to OUT/baselines.jsonl, in the form of the tool's; one that is there is not measured again. Baselines
propose no score to show detections from, so they have no F1 as shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from experiments.nwpu_fewshot.yolo import YoloDetector
from experiments.real_tasks.template_matching import find_templates, turned_templates
from experiments.real_tasks.tool import (
    Found,
    Marks,
    Task,
    add_line,
    is_recorded,
    load_tool,
    open_tasks,
    options_of,
    read_lines,
    scores_of,
    write_marks,
)
from experiments.real_tasks.yolo_marks import learn_yolo
from experiments.records import Record, commit
from fsod.boxes import Detections
from fsod.compute.device import choose_machine
from fsod.config import WINDOW_PX, EvaluateSettings
from fsod.errors import UserError
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene
from fsod.inference.infer import warm_up
from fsod.steps.mark_files import MarkFiles, marks_on_scenes
from fsod.steps.scene_views import read_views, working_enlargement

FLOOR = 0.01
"""Detections below this are not scored; as the tool asks of fsod."""

PLENTY = EvaluateSettings(max_detections=3000)
BATCH, OVERLAP_PX = 4, 160
"""As `fsod predict` has them."""


@dataclass(frozen=True)
class Outcome:
    """What a baseline found, and what it took: wall and CPU seconds, and what is to be recorded besides."""

    found: Found
    learn_s: dict[str, float]
    search_s: dict[str, float]
    more: Record


Baseline = Callable[[Task, Marks, int, float], Outcome]
"""A task, marks on its support scene, the draw, and seconds to learn in."""


def match_templates(task: Task, marks: Marks, draw: int, seconds: float) -> Outcome:
    """Template matching needs no time to learn in, and chance has no part in it."""
    with _Clock() as learning, open_scene(marks.scene) as scene:
        rgb, _ = scene.read_rectangle((0, 0, scene.width_px, scene.height_px))
        templates = turned_templates(rgb, marks.boxes_xyxy_px)
    found: Found = {}
    with _Clock() as search:
        for name in task.test:
            with open_scene(task.folder / "images" / name) as scene:
                pixels = scene.read_rectangle((0, 0, scene.width_px, scene.height_px))
            found[name] = _plain(find_templates(*pixels, templates))
    return Outcome(found, learning.seconds, search.seconds, {"templates": len(templates)})


def train_yolo(task: Task, marks: Marks, draw: int, seconds: float) -> Outcome:
    """The YOLO sees the same views, crops and background as fsod, at the same working scale."""
    machine = choose_machine()
    areas = [] if marks.area is None else [marks.area]
    known = marks_on_scenes([marks.scene], MarkFiles([marks.examples], areas=areas))
    enlargement = working_enlargement(known)
    with _Clock() as learning:
        views = read_views(known, [task.meta["class_name"]], enlargement).views
        network, steps = learn_yolo(views, 1, seconds, draw, machine)
    gsd_m = None if known[0].gsd_m is None else known[0].gsd_m / enlargement
    detect = YoloDetector(network, machine, PLENTY)
    found: Found = {}
    with _Clock() as search:
        warm_up(detect, BATCH, WINDOW_PX)
        for name in task.test:
            result = predict_scene(
                task.folder / "images" / name,
                detect,
                ScenePlan(
                    window_px=WINDOW_PX,
                    overlap_px=OVERLAP_PX,
                    batch=BATCH,
                    gsd_m=gsd_m,
                    enlargement=enlargement,
                    suppression=PLENTY,
                ),
            )
            found[name] = _plain(result.detections.select(result.detections.scores >= FLOOR))
    return Outcome(found, learning.seconds, search.seconds, {"steps": steps, "machine": str(machine)})


BASELINES: dict[str, Baseline] = {"template": match_templates, "yolo": train_yolo}


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.add_argument("--methods", nargs="+", choices=tuple(BASELINES), default=list(BASELINES))
    parser.add_argument("--seconds", type=float, default=120.0, help="to learn in [120]; templates need none")
    options = parser.parse_args(arguments)
    tool = load_tool(options.tool)
    log = options.out / "baselines.jsonl"
    for draw in options.draws:
        for k in options.k:
            for task in open_tasks(tool, options.tasks, options.only):
                for marks in options.marks:
                    for method in options.methods:
                        key = {"task": task.name, "marks": marks, "method": method, "k": k, "draw": draw}
                        _measure(tool, task, key, options.seconds, options.out, log)


def _measure(tool: ModuleType, task: Task, key: Record, seconds: float, out: Path, log: Path) -> None:
    same = {"seconds": seconds} if key["method"] == "yolo" else {}
    if is_recorded(log, read_lines(log), key, same):
        return
    work = out / "baselines" / task.name / f"{key['marks']}-k{key['k']}-{key['draw']}"
    marks = write_marks(tool, task, key["marks"], key["k"], key["draw"], work)
    outcome = BASELINES[key["method"]](task, marks, key["draw"], seconds)
    scores = scores_of(tool, task, outcome.found, None)
    took = {"learn_s": outcome.learn_s, "search_s": outcome.search_s}
    made = {**same, **outcome.more, "commit": commit()}
    add_line(log, {**key, "marked": len(marks.boxes_xyxy_px), **took, **scores, **made})


def _plain(found: Detections) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return found.boxes_xyxy_px, found.scores.astype(np.float64)


class _Clock:
    """Wall and CPU seconds of a block, in the tool's form."""

    def __enter__(self) -> Self:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        self.seconds = {"wall": round(wall, 1), "cpu": round(cpu, 1)}


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"real_tasks: {error}")
