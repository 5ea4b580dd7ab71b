"""Plays an analyst who gives verdicts: finetune, search, judge twenty detections of the search, go on, and search again.

    .venv/bin/python -m experiments.real_tasks.analyst --fsod .venv/bin/fsod --draws 0 1 2

All test images are searched as `fsod predict` does it with nothing else said, and twenty detections get the truth: yes where a
true object overlaps the box by IoU 0.5, else no. They are the first by ``ask``, or by the score, or at random; of several images'
detections with the same rank the better score comes first. Then `fsod finetune --from` goes on with the judged images.

What was judged is learned by heart. So F1 is measured twice: of everything, as an analyst sees it, and of the ``rest``, without
the objects and detections that overlap a judged box by IoU 0.5. The detector from before any verdict is measured on the same rest.

A record a round goes to OUT/analyst.jsonl; what is there is not measured again. Round 0 is the detector before any verdict, the
same for all orders.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import ModuleType

import geopandas
import numpy as np
from numpy.typing import NDArray

from experiments.real_tasks.tool import (
    Found,
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
from fsod.geo.geopackage_file import NAME
from fsod.geo.layer_table import ASK, BOX_COLUMNS, VERDICT

ORDERS = ("ask", "score", "random")
START = "start"
"""The order of round 0."""

TRUE_IOU = 0.5

Judged = dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]
"""Of each image with verdicts: boxes (n, 4) as x1, y1, x2, y2 in pixels, and whether they are right, (n,)."""


def judge_layers(
    layers: Mapping[str, Path],
    truth_xyxy_px: Mapping[str, NDArray[np.float64]],
    order: str,
    verdicts: int,
    rng: np.random.Generator,
) -> Judged:
    """Writes truthful verdicts into layers of ``fsod predict``.

    Args:
        layers: GeoPackages, by image.
        truth_xyxy_px: (n, 4) all objects of each image, in its pixels.
        order: see ``ORDERS``.
        verdicts: how many in all; of fewer detections all are judged.
        rng: of the random order.
    """
    frames = {name: geopandas.read_file(layer, layer=NAME) for name, layer in layers.items()}
    rows = [(name, i) for name, frame in frames.items() for i in range(len(frame))]
    ask, score = (np.concatenate([frame[column] for frame in frames.values()]) for column in (ASK, "score"))
    ranks = {
        "ask": lambda: np.lexsort((-score, ask)),
        "score": lambda: np.argsort(-score, kind="stable"),
        "random": lambda: rng.permutation(len(rows)),
    }
    first = [rows[place] for place in ranks[order]()[:verdicts]]
    judged: Judged = {}
    for name, frame in frames.items():
        own = [i for of, i in first if of == name]
        boxes = frame[list(BOX_COLUMNS)].to_numpy(np.float64).reshape(-1, 4)[own]
        yes = covered(boxes, truth_xyxy_px[name])
        said = np.full(len(frame), "", dtype=object)
        said[own] = np.where(yes, "yes", "no")
        frame[VERDICT] = said
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a picture has no CRS
            frame.to_file(layers[name], layer=NAME, driver="GPKG")
        if own:
            judged[name] = boxes, yes
    return judged


def covered(boxes_xyxy_px: NDArray[np.float64], others_xyxy_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) for each of (n, 4) boxes whether one of (m, 4) others is on the same object."""
    return np.asarray((iou(boxes_xyxy_px, others_xyxy_px) >= TRUE_IOU).any(axis=1))


@dataclass(frozen=True)
class Rest:
    """What of a task has no verdict, as the tool's ``f1_curve`` takes a task.

    Attributes:
        task: the whole of it.
        judged: all verdicts until now.
    """

    task: Task
    judged: Sequence[Judged]

    @property
    def test(self) -> list[str]:
        """The images."""
        return self.task.test

    def boxes(self, file: str) -> NDArray[np.float64]:
        """(n, 4) objects of an image without those judged: x, y, width, height in pixels."""
        boxes = self.task.boxes(file)
        return boxes[~covered(corners_of(boxes), self.told(file))]

    def of(self, found: Found) -> Found:
        """Detections without those on what is judged."""
        kept = {file: ~covered(boxes, self.told(file)) for file, (boxes, _) in found.items()}
        return {file: (boxes[kept[file]], scores[kept[file]]) for file, (boxes, scores) in found.items()}

    def told(self, file: str) -> NDArray[np.float64]:
        """(n, 4) the judged boxes of an image, corners in pixels."""
        return np.concatenate([np.zeros((0, 4)), *(of[file][0] for of in self.judged if file in of)])


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
        start, before = self._start(recorded=(START, 0) not in missing)
        for order in orders:
            last = max((number for own, number in missing if own == order), default=0)
            bank, judged = start, list[Judged]()
            for number in range(1, last + 1):
                recorded = (order, number) not in missing
                bank = self._round(before, bank, judged, order, number, recorded=recorded)

    def _start(self, *, recorded: bool) -> tuple[Path, tuple[Found, Found]]:
        """The detector of the marks, and what it finds."""
        bank = self.work / "start.safetensors"
        took = None
        if not (recorded and bank.is_file()):
            marks = write_marks(self.tool, self.task, self.key["marks"], self.key["k"], self.key["draw"], self.work)
            area = [] if marks.area is None else ["--area", marks.area]
            given = ["--scene", marks.scene, "--examples", marks.examples, *area]
            took = self._run("finetune", *given, *self._minutes(), "--out", bank)
        found, search = self._found(bank)
        if not recorded:
            scores = scores_of(self.tool, self.task, *found)
            self._record(START, 0, {"learn_s": took, "search_s": search, **scores})
        return bank, found

    def _round(
        self, before: tuple[Found, Found], bank: Path, judged: list[Judged], order: str, number: int, *, recorded: bool
    ) -> Path:
        """The detector after a round; what it was told is added to what was judged before."""
        folder = self.work / order / f"round{number}"
        folder.mkdir(parents=True, exist_ok=True)
        better = folder / "detector.safetensors"
        images = {name: self.task.folder / "images" / name for name in self.task.test}
        layers = {name: folder / f"{image.stem}.gpkg" for name, image in images.items()}
        out = folder / "{scene}.gpkg" if len(images) > 1 else layers[self.task.test[0]]
        for layer in layers.values():
            layer.unlink(missing_ok=True)  # of an earlier try; `fsod predict` keeps what others have changed
        search = self._run("predict", *images.values(), "--bank", bank, "--out", out)
        truth = {name: corners_of(self.task.boxes(name)) for name in images}
        rng = np.random.default_rng([self.key["draw"], number])
        said = judge_layers(layers, truth, order, self.same["verdicts"], rng)
        known = Rest(self.task, judged)
        told_before = sum(int(covered(boxes, known.told(name)).sum()) for name, (boxes, _) in said.items())
        judged.append(said)
        if recorded and better.is_file():
            return better
        took = {"wall": 0.0, "cpu": 0.0}
        if said:
            given = chain.from_iterable(("--scene", images[name], "--verdicts", layers[name]) for name in said)
            took = self._run("finetune", "--from", bank, *given, *self._minutes(), "--out", better)
        else:  # nothing was found, so there is nothing to say
            shutil.copyfile(bank, better)
        if not recorded:
            found, search_again = self._found(better)
            yes = np.concatenate([np.zeros(0, np.bool_), *(right for _, right in said.values())])
            answers = {"yes": int(yes.sum()), "no": int((~yes).sum()), "told_before": told_before}
            scores = scores_of(self.tool, self.task, *found) | self._of_rest(judged, "rest", found)
            scores |= self._of_rest(judged, "rest_before", before)
            spent = {"learn_s": took, "judge_search_s": search, "search_s": search_again}
            self._record(order, number, {**spent, **answers, **scores})
        return better

    def _found(self, bank: Path) -> tuple[tuple[Found, Found], Record]:
        """Everything that a detector finds, and what it shows; what searching for everything took."""
        out = self.work / "search"
        everything, search = self.tool.predict(self.fsod, self.task, bank, out / "all", "--score", 0.01)
        shown, _ = self.tool.predict(self.fsod, self.task, bank, out / "shown")
        return (everything, shown), search

    def _of_rest(self, judged: Sequence[Judged], name: str, found: tuple[Found, Found]) -> Record:
        """F1 at IoU 0.5 of what has no verdict."""
        rest = Rest(self.task, judged)
        best, shown = (self.tool.f1_curve(rest, rest.of(own), 0.5)[0] for own in found)
        as_shown = float(shown[-1]) if len(shown) else 0.0
        return {f"{name}_best_f1": round(float(best.max(initial=0)), 3), f"{name}_shown_f1": round(as_shown, 3)}

    def _record(self, order: str, number: int, made: Record) -> None:
        add_line(self.log, {**self._key(order, number), **made, **self.same, "commit": commit()})

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
