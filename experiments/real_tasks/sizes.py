"""At which size should a scene be searched for a class that ten marks enrolled? Best F1 at fixed sizes, and at the chosen one.

    .venv/bin/python -m experiments.real_tasks.sizes --draws 0 1 2

The scenes are searched as a whole at each of ``SIZES``, as ``fsod predict`` would look at their windows; `fsod enroll` would
choose one of them (``fsod/inference/working_scale.py``). A record a draw, a task and a size goes to OUT/sizes.jsonl; what is
there is not measured again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import fmean
from types import ModuleType

import numpy as np

from experiments.nwpu_fewshot.table import markdown
from experiments.real_tasks.table import BEST
from experiments.real_tasks.tool import (
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
from fsod.boxes import area_px
from fsod.compute.device import choose_machine
from fsod.config_file import common_settings
from fsod.data.marked import Marked
from fsod.errors import UserError
from fsod.inference.enrollment import enrolled_bank
from fsod.inference.infer import BatchDetector, batch_detector
from fsod.inference.thresholds import FLOOR
from fsod.inference.working_scale import best_enlargement
from fsod.steps.example_files import examples_on_scenes
from fsod.steps.mark_files import MarkFiles
from fsod.store.checkpoint import SHIPPED, load_checkpoint

SIZES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""In sizes of the scene."""

SMALLEST_PX, LARGEST_PX = 12.0, 260.0
"""Sizes at which the median mark is smaller or larger are left out."""


def main(arguments: Sequence[str]) -> None:
    options = options_of(__doc__).parse_args(arguments)
    tool, log = load_tool(options.tool), options.out / "sizes.jsonl"
    records = read_lines(log)
    for draw, task in product(options.draws, open_tasks(tool, options.tasks, options.only)):
        if not is_recorded(log, records, {"task": task.name, "draw": draw, "chosen": True}, {}):
            marks = write_marks(tool, task, "scattered", 10, draw, options.out / "marks" / f"{task.name}-{draw}")
            for record in measured(tool, task, marks):
                add_line(log, {"task": task.name, "draw": draw, **record, "commit": commit()})
    print(table(read_lines(log)))


def measured(tool: ModuleType, task: Task, marks: Marks) -> list[Record]:
    """A record of each size, that of the chosen one last."""
    machine = choose_machine()
    loaded = load_checkpoint(SHIPPED, machine.trunk_dtype)
    settings = common_settings(loaded.settings)
    files = examples_on_scenes([str(marks.scene)], MarkFiles(labels=[str(marks.examples)]))

    def detector_of(some: Marked, *, turned: bool) -> BatchDetector:
        bank = enrolled_bank(loaded, some.crops(settings.episodes.support_px), machine, {}, None, learned=False)
        return batch_detector(loaded, replace(bank, turned=turned), machine, settings.evaluate, FLOOR)

    chosen = best_enlargement(files.marked, (task.meta["class_name"],), partial(detector_of, turned=False))
    side_px = float(np.median(np.sqrt(area_px(marks.boxes_xyxy_px))))
    tried = [size for size in SIZES if SMALLEST_PX <= size * side_px <= LARGEST_PX and size != chosen]
    records = []
    for size in (*tried, chosen):
        detect = detector_of(files.marked.enlarged(size), turned=True)
        found = found_in_wholes(task, detect, gsd_m=None, enlargement=size)
        records.append({"enlargement": size, "chosen": size == chosen, **scores_of(tool, task, found, None)})
    return records


def table(records: list[Record]) -> str:
    """A row a task: best F1 at each size, the mean of the best of these by draw, and of the chosen ones."""
    rows = []
    for task in dict.fromkeys(record["task"] for record in records):
        own = [record for record in records if record["task"] == task]
        of_size = [[record[BEST] for record in own if record["enlargement"] == size] for size in SIZES]
        draws = {record["draw"] for record in own}
        best = [max(record[BEST] for record in own if record["draw"] == draw) for draw in draws]
        of_rule = [record[BEST] for record in own if record["chosen"]]
        cells = [f"{fmean(values):.3f}" if values else "-" for values in (*of_size, best, of_rule)]
        rows.append([task, *cells])
    return markdown(["task", *(f"{size:g}" for size in SIZES), "best by draw", "chosen"], rows)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"sizes: {error}")
