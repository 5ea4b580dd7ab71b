"""What each ingredient of the pretraining with photographs gives: real tasks enrolled with weights of short, equal schedules.

    .venv/bin/python -m experiments.ingredients.ingredients --start DRAWN.safetensors --grounds PHOTOGRAPHS

All trainings start from the same weights, those that have learned from drawn classes alone (``git show
c76607f:fsod/weights/nano.safetensors``), and go the same number of steps. Then ten scattered marks of each task are enrolled, as
``fsod enroll`` does it, and each test image is searched at once. What is trained and measured already is not made again.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path
from statistics import fmean

from experiments.intervals import paired
from experiments.nwpu_fewshot.table import markdown
from experiments.real_tasks.table import BEST, Choice, bold, by_draw, tasks_of
from experiments.real_tasks.tool import (
    Found,
    Marks,
    Task,
    add_line,
    found_in_wholes,
    is_recorded,
    load_tool,
    open_tasks,
    options_of,
    read_lines,
    scores_of,
    write_marks,
)
from experiments.records import Record, commit
from fsod.compute.device import choose_machine
from fsod.config_file import common_settings
from fsod.errors import UserError
from fsod.files import sha256_of
from fsod.inference.infer import batch_detector
from fsod.steps.enroll_classes import enroll
from fsod.steps.example_files import examples_on_scenes
from fsod.steps.mark_files import MarkFiles
from fsod.store.checkpoint import SHIPPED, load_checkpoint
from fsod.store.class_bank import load_bank

FLOOR = 0.01
CONFIG = "configs/photographs.yaml"
NOT_OF_NATURE = "episodes.procedural_natural=0"
FORMS: dict[str, tuple[list[str], bool]] = {
    "drawn alone": ([NOT_OF_NATURE], False),
    "families of nature": ([], False),
    "things cut from photographs": ([NOT_OF_NATURE], True),
    "both": ([], True),
}
"""Settings of a training, and whether it has photographs."""

START, SHIPPED_ROW = "start", "shipped"


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.set_defaults(out=Path("runs/ingredients"), draws=[0, 1, 2])
    parser.add_argument("--start", type=Path, required=True, help="weights that have learned from drawn classes alone")
    parser.add_argument("--grounds", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args(arguments)
    weights = {START: options.start}
    for name, (settings, photographs) in FORMS.items():
        grounds = ["--grounds", str(options.grounds)] if photographs else []
        told = [
            f"init={options.start}",
            f"pretrain.steps={options.steps}",
            f"pretrain.warmup_steps={options.steps // 10}",
        ]
        weights[name] = trained(options.out / name.replace(" ", "_"), [*grounds, *told, *settings])
    weights[SHIPPED_ROW] = SHIPPED
    tool, log = load_tool(options.tool), options.out / "results.jsonl"
    tasks, records = open_tasks(tool, options.tasks, options.only), read_lines(log)
    for name, file in weights.items():
        same = {"weights": sha256_of(file)}
        for draw, task in product(options.draws, tasks):
            key = {"form": name, "task": task.name, "draw": draw}
            if not is_recorded(log, records, key, same):
                marks = write_marks(tool, task, "scattered", 10, draw, options.out / "marks" / f"{task.name}-{draw}")
                found, score = searched(file, task, marks, options.out / "bank.safetensors")
                shown = {image: (boxes[own >= score], own[own >= score]) for image, (boxes, own) in found.items()}
                add_line(log, {**key, **scores_of(tool, task, found, shown), **same, "commit": commit()})
    print(table(read_lines(log)))


def trained(out: Path, told: list[str]) -> Path:
    """The weights after a training of its own in ``out``."""
    file = out / "pretrain.safetensors"
    if not file.is_file():
        command = [sys.executable, "-m", "fsod", "pretrain", "--config", CONFIG, f"run_dir={out}"]
        subprocess.run([*command, *told], check=True)
    return file


def searched(weights: Path, task: Task, marks: Marks, out: Path) -> tuple[Found, float]:
    """What enrolled marks find in a task's test images, each looked at as a whole, and the score that is proposed."""
    told = enroll(weights, examples_on_scenes([str(marks.scene)], MarkFiles(labels=[str(marks.examples)])), out)
    machine = choose_machine()
    loaded = load_checkpoint(weights, machine.trunk_dtype)
    bank = load_bank(out, loaded.detector)
    detect = batch_detector(loaded, bank, machine, common_settings(loaded.settings).evaluate, FLOOR)
    found = found_in_wholes(task, detect, gsd_m=bank.gsd_m, enlargement=bank.enlargement)
    return found, next(iter(told["scores"].values()), 1.0)


def table(records: list[Record]) -> str:
    """Best F1 of each form by task, its mean, and what it gains on the start by draw."""
    tasks = tasks_of(records)
    rows = []
    for form in dict.fromkeys(record["form"] for record in records):
        of_tasks = [by_draw(records, BEST, own, _is_form(form)) for own in (*([task] for task in tasks), tasks)]
        means = [f"{fmean(values.values()):.3f}" if values else "-" for values in of_tasks]
        gain = None if form == START else paired(of_tasks[-1], by_draw(records, BEST, tasks, _is_form(START)))
        rows.append([form, *means, bold(gain)])
    return markdown(["weights", *tasks, "mean", "less start, by draw"], rows)


def _is_form(form: str) -> Choice:
    return lambda record: bool(record["form"] == form)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"ingredients: {error}")
