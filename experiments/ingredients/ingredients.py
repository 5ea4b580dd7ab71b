"""What each ingredient of the pretraining with photographs gives: real tasks enrolled with weights of short, equal schedules.

    .venv/bin/python -m experiments.ingredients.ingredients --start DRAWN.safetensors --grounds PHOTOGRAPHS

All trainings start from the same weights, those that have learned from drawn classes alone (``git show
c76607f:fsod/weights/nano.safetensors``), and go the same number of steps. Then ten scattered marks of each task are enrolled, as
``fsod enroll`` does it, and each test image is searched at once. What is trained and measured already is not made again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.intervals import Interval, interval
from experiments.real_tasks.tool import (
    Found,
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
from experiments.records import Record, commit
from fsod.compute.device import Machine, choose_machine
from fsod.config import common_settings
from fsod.errors import UserError
from fsod.files import sha256_of
from fsod.geo.scene_opening import open_scene
from fsod.inference.infer import batch_detector
from fsod.steps.enroll_classes import enroll
from fsod.steps.example_files import examples_on_scenes
from fsod.steps.mark_files import MarkFiles
from fsod.store.checkpoint import SHIPPED, load_checkpoint
from fsod.store.class_bank import load_bank

FLOOR = 0.01
CONFIG = "configs/photographs.yaml"
FORMS = {
    "drawn alone": ["episodes.procedural_natural=0"],
    "families of nature": [],
    "things cut from photographs": ["episodes.procedural_natural=0", "grounds"],
    "both": ["grounds"],
}
"""What a training has beside drawn classes; ``grounds`` stands for the photographs."""

START, SHIPPED_ROW = "start", "shipped"


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.set_defaults(out=Path("runs/ingredients"), draws=[0, 1, 2])
    parser.add_argument("--start", type=Path, required=True, help="weights that have learned from drawn classes alone")
    parser.add_argument("--grounds", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args(arguments)
    weights = {START: options.start}
    for name, changes in FORMS.items():
        weights[name] = trained(
            options.out / name.replace(" ", "_"), options.start, options.grounds, options.steps, changes
        )
    weights[SHIPPED_ROW] = SHIPPED
    tool, log = load_tool(options.tool), options.out / "results.jsonl"
    for name, file in weights.items():
        same = {"weights": sha256_of(file)}
        for draw in options.draws:
            for task in open_tasks(tool, options.tasks, options.only):
                key = {"form": name, "task": task.name, "draw": draw}
                if not is_recorded(log, read_lines(log), key, same):
                    marks = write_marks(
                        tool, task, "scattered", 10, draw, options.out / "marks" / f"{task.name}-{draw}"
                    )
                    found, score = searched(file, task, marks.scene, marks.examples, options.out / "bank.safetensors")
                    shown = {image: (boxes[own >= score], own[own >= score]) for image, (boxes, own) in found.items()}
                    add_line(log, {**key, **scores_of(tool, task, found, shown), **same, "commit": commit()})
    print(table(read_lines(log)))


def trained(out: Path, start: Path, grounds: Path, steps: int, changes: list[str]) -> Path:
    """The weights after a training of its own in ``out``."""
    file = out / "pretrain.safetensors"
    if not file.is_file():
        told = [change for change in changes if change != "grounds"]
        photographs = ["--grounds", str(grounds)] if "grounds" in changes else []
        command = [sys.executable, "-m", "fsod", "pretrain", "--config", CONFIG, *photographs, f"run_dir={out}"]
        settings = [f"init={start}", f"pretrain.steps={steps}", f"pretrain.warmup_steps={steps // 10}", *told]
        subprocess.run([*command, *settings], check=True)
    return file


def searched(weights: Path, task: Task, scene: Path, examples: Path, bank: Path) -> tuple[Found, float]:
    """What enrolled marks find in a task's test images, and the score that is proposed."""
    machine = choose_machine()
    told = enroll(weights, examples_on_scenes([str(scene)], MarkFiles(labels=[str(examples)])), bank)
    found = {name: _whole(weights, task.folder / "images" / name, bank, machine) for name in task.test}
    return found, next(iter(told["scores"].values()), 1.0)


def _whole(weights: Path, image: Path, bank_file: Path, machine: Machine) -> tuple[np.ndarray, np.ndarray]:
    loaded = load_checkpoint(weights, machine.trunk_dtype)
    bank = load_bank(bank_file, loaded.detector)
    detect = batch_detector(loaded, bank, machine, common_settings(loaded.settings).evaluate, FLOOR)
    with open_scene(image, gsd_m=bank.gsd_m, enlargement=bank.enlargement) as opened:
        width, height = opened.grid_width_px, opened.grid_height_px
        rgb, _ = opened.read_rectangle((0, 0, width, height))
        found = detect(rgb[None])[0]
        return found.boxes_xyxy_px * np.tile(np.array(opened.grid_to_scene), 2), found.scores.astype(np.float64)


def table(records: list[Record]) -> str:
    """Best F1 of each form by task, its mean, and what it gains on the start by draw."""
    forms = list(dict.fromkeys(record["form"] for record in records))
    tasks = sorted({record["task"] for record in records})
    rows = [["weights", *tasks, "mean", "less start, by draw"], ["---"] * (len(tasks) + 3)]
    start = by_draw(records, START)
    for form in forms:
        own = by_draw(records, form)
        of_tasks = [[r["best_f1_0.5"] for r in records if (r["form"], r["task"]) == (form, task)] for task in tasks]
        both = sorted(own.keys() & start.keys())
        gain: Interval | str = "" if form == START or not both else interval([own[d] - start[d] for d in both])
        means = [f"{np.mean(scores):.3f}" if scores else "-" for scores in of_tasks]
        rows.append([form, *means, f"{np.mean(list(own.values())):.3f}", str(gain)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def by_draw(records: list[Record], form: str) -> Mapping[int, float]:
    """Draw -> mean best F1 over its tasks."""
    draws = sorted({record["draw"] for record in records if record["form"] == form})
    return {
        draw: float(np.mean([r["best_f1_0.5"] for r in records if (r["form"], r["draw"]) == (form, draw)]))
        for draw in draws
    }


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"ingredients: {error}")
