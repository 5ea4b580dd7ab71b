"""Plays an analyst who gives verdicts: finetune, predict, judge twenty detections, go on, and again.

    .venv/bin/python -m experiments.real_tasks.analyst --fsod .venv/bin/fsod --draws 0 1 2

Detections on the support scene are judged, since the test scenes are what F1 is measured on. The layer is what `fsod predict`
writes there with nothing else said. The first twenty get the truth: yes where a true object overlaps the box by IoU 0.5, else
no. The first by ``ask``, or by the score, or at random. A box that tells nothing new, because it was marked or judged
before, uses up a verdict all the same, and is counted as ``told_before``.

A record a round goes to OUT/analyst.jsonl; what is there is not measured again. Round 0 is the detector before any verdict, the
same for all orders.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import geopandas
import numpy as np
from numpy.typing import NDArray

from experiments.real_tasks.tool import (
    Marks,
    Task,
    add_line,
    corners_of,
    is_recorded,
    load_tool,
    open_tasks,
    options_of,
    read_lines,
    scores_of,
    write_marks,
)
from experiments.records import Record, commit
from fsod.boxes import iou
from fsod.errors import UserError
from fsod.geo.layer_files import NAME
from fsod.geo.layer_table import ASK, BOX_COLUMNS, VERDICT

ORDERS = ("ask", "score", "random")
START = "start"
"""The order of round 0."""

TRUE_IOU = 0.5


@dataclass(frozen=True)
class Judged:
    """What an analyst has said of a layer.

    Attributes:
        boxes_xyxy_px: (n, 4) that got a verdict.
        yes: (n,) bool.
    """

    boxes_xyxy_px: NDArray[np.float64]
    yes: NDArray[np.bool_]

    def told_before(self, known_xyxy_px: NDArray[np.float64]) -> int:
        """How many are boxes that overlap one of (m, 4), which had been marked or judged."""
        return int((iou(self.boxes_xyxy_px, known_xyxy_px) >= TRUE_IOU).any(axis=1).sum())


def judge_layer(
    layer: Path, truth_xyxy_px: NDArray[np.float64], order: str, verdicts: int, rng: np.random.Generator
) -> Judged:
    """Writes truthful verdicts into a layer of ``fsod predict``.

    Args:
        layer: a GeoPackage.
        truth_xyxy_px: (n, 4) all objects, in pixels of the scene.
        order: see ``ORDERS``.
        verdicts: how many; of fewer detections all are judged.
        rng: of the random order.
    """
    frame = geopandas.read_file(layer, layer=NAME)
    boxes = frame[list(BOX_COLUMNS)].to_numpy(np.float64).reshape(-1, 4)
    ranks = {
        "ask": lambda: np.argsort(frame[ASK].to_numpy(), kind="stable"),
        "score": lambda: np.argsort(-frame["score"].to_numpy(), kind="stable"),
        "random": lambda: rng.permutation(len(frame)),
    }
    first = ranks[order]()[:verdicts]
    yes = np.asarray((iou(boxes[first], truth_xyxy_px) >= TRUE_IOU).any(axis=1))
    said = np.full(len(frame), "", dtype=object)
    said[first] = np.where(yes, "yes", "no")
    frame[VERDICT] = said
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture has no CRS
        frame.to_file(layer, layer=NAME, driver="GPKG")
    return Judged(boxes[first], yes)


@dataclass(frozen=True)
class Analyst:
    """One at work on a draw of a task.

    Attributes:
        tool: the module.
        task: what is looked for.
        key: task, marks, k and draw of the records.
        same: what all records were measured with.
        fsod: the command.
        work: folder.
        log: of the records.
    """

    tool: ModuleType
    task: Task
    key: Record
    same: Record
    fsod: str
    work: Path
    log: Path

    def play(self, orders: Sequence[str], rounds: int) -> None:
        """All rounds that are not recorded yet."""
        wanted = [(START, 0), *((order, number) for order in orders for number in range(1, rounds + 1))]
        records = read_lines(self.log)
        missing = [one for one in wanted if not is_recorded(self.log, records, self._key(*one), self.same)]
        if not missing:
            return
        marks = write_marks(self.tool, self.task, self.key["marks"], self.key["k"], self.key["draw"], self.work)
        start = self._start(marks, recorded=(START, 0) not in missing)
        for order in orders:
            last = max((number for own, number in missing if own == order), default=0)
            bank, known = start, marks.boxes_xyxy_px
            for number in range(1, last + 1):
                recorded = (order, number) not in missing
                bank, known = self._round(marks, bank, known, order, number, recorded=recorded)

    def _start(self, marks: Marks, *, recorded: bool) -> Path:
        bank = self.work / "start.safetensors"
        if not (recorded and bank.is_file()):
            area = [] if marks.area is None else ["--area", marks.area]
            given = ["--scene", marks.scene, "--examples", marks.examples, *area]
            took = self._run("finetune", *given, *self._minutes(), "--out", bank)
            if not recorded:
                self._measure(START, 0, bank, {"learn_s": took, "marked": len(marks.boxes_xyxy_px)})
        return bank

    def _round(
        self,
        marks: Marks,
        before: Path,
        known_xyxy_px: NDArray[np.float64],
        order: str,
        number: int,
        *,
        recorded: bool,
    ) -> tuple[Path, NDArray[np.float64]]:
        """The detector after a round, and all boxes that have been marked or judged."""
        folder = self.work / order
        folder.mkdir(exist_ok=True)
        layer, bank = folder / f"found{number}.gpkg", folder / f"round{number}.safetensors"
        search = self._run("predict", marks.scene, "--bank", before, "--out", layer)
        truth = corners_of(self.task.boxes(self.task.support))
        rng = np.random.default_rng([self.key["draw"], number])
        judged = judge_layer(layer, truth, order, self.same["verdicts"], rng)
        if not (recorded and bank.is_file()):
            took = {"wall": 0.0, "cpu": 0.0}
            if len(judged.yes):
                took = self._run("finetune", "--from", before, "--verdicts", layer, *self._minutes(), "--out", bank)
            else:  # nothing was found, so there is nothing to say
                shutil.copyfile(before, bank)
            if not recorded:
                said = {"yes": int(judged.yes.sum()), "no": int((~judged.yes).sum())}
                told = {"told_before": judged.told_before(known_xyxy_px)}
                self._measure(order, number, bank, {"learn_s": took, "judge_search_s": search, **said, **told})
        return bank, np.concatenate([known_xyxy_px, judged.boxes_xyxy_px])

    def _measure(self, order: str, number: int, bank: Path, made: Record) -> None:
        out = self.work / "search"
        everything, search = self.tool.predict(self.fsod, self.task, bank, out / "all", "--score", 0.01)
        shown, _ = self.tool.predict(self.fsod, self.task, bank, out / "shown")
        scores = scores_of(self.tool, self.task, everything, shown)
        made = {**made, "search_s": search, **scores, **self.same, "commit": commit()}
        add_line(self.log, {**self._key(order, number), **made})

    def _key(self, order: str, number: int) -> Record:
        return {**self.key, "order": order, "round": number}

    def _minutes(self) -> list[object]:
        return [] if self.same["minutes"] is None else ["--minutes", self.same["minutes"]]

    def _run(self, *arguments: object) -> Record:
        took: Record = self.tool.run(self.fsod, *arguments)
        return took


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.add_argument("--fsod", default=".venv/bin/fsod")
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--verdicts", type=int, default=20, help="a round [20]")
    parser.add_argument("--minutes", type=float, help="of each finetuning, if not what fsod takes by itself")
    options = parser.parse_args(arguments)
    tool = load_tool(options.tool)
    log = options.out / "analyst.jsonl"
    same = {"verdicts": options.verdicts, "minutes": options.minutes}
    for draw in options.draws:
        for k in options.k:
            for task in open_tasks(tool, options.tasks, options.only):
                for marks in options.marks:
                    work = options.out / "analyst" / task.name / f"{marks}-k{k}-{draw}"
                    key = {"task": task.name, "marks": marks, "k": k, "draw": draw}
                    try:
                        Analyst(tool, task, key, same, options.fsod, work, log).play(options.orders, options.rounds)
                    except RuntimeError as error:  # one task that fails keeps no other from being measured
                        print("failed:", key, error, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"real_tasks: {error}")
