"""The tables of the study as Markdown, from records alone.

    .venv/bin/python -m experiments.real_tasks.table [results.jsonl baselines.jsonl analyst.jsonl]

Records are the tool's (results.jsonl), those of baselines.py and of analyst.py; without arguments, these three beside this
file. Means over tasks count each task alike. Intervals are 95 % by Student's t, over draws of marks; differences are taken
draw by draw, and are bold where the interval leaves zero out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from experiments.intervals import Interval, interval, paired
from experiments.nwpu_fewshot.table import markdown
from experiments.real_tasks.analyst import ORDERS, START
from experiments.real_tasks.tool import read_lines
from experiments.records import Record
from fsod.errors import UserError

HERE = Path(__file__).parent
RECORDS = ("results", "baselines", "analyst")
BEST, SHOWN = "best_f1_0.5", "shown_f1_0.5"
REST, REST_BEFORE = "rest_best_f1", "rest_before_best_f1"
METHODS = {"enroll": "enroll", "finetune": "finetune", "template": "template matching", "yolo": "YOLO from scratch"}
MARKS = ("scattered", "area")
OTHER_SCENES = ("cars_kit", "craters_mars", "ships_sentinel2")
"""Tasks whose test images are not the other part of the picture that the marks are on."""

LOW = 0.7
"""Best F1 below which a task has much to gain from verdicts."""

Kind = tuple[str, str]
"""Marks and method."""

Choice = Callable[[Record], bool]


def main(paths: Sequence[Path]) -> None:
    records = [record for path in paths for record in read_lines(path)]
    if not records:
        raise UserError("no records; name the files that the tool, baselines.py and analyst.py wrote")
    ways = [record for record in records if "method" in record]
    for k in sorted({r["k"] for r in ways}):
        ours = [r for r in ways if r["k"] == k]
        print(f"\nK = {k}: best F1 / F1 as shown at IoU 0.5, mean over draws; 95 % intervals of the means over tasks\n")
        print(score_table(ours))
        if compared(ours):
            print(
                f"\nK = {k}: best F1 of fsod finetune less that of others on the same marks, and what an area is worth\n"
            )
            print(difference_table(ours))
    judged = [record for record in records if "order" in record]
    for k, marks in sorted({(r["k"], r["marks"]) for r in judged}):
        ours = [r for r in judged if (r["k"], r["marks"]) == (k, marks)]
        print(f"\nVerdicts, K = {k}, {marks} marks: best F1 / F1 as shown after each round, mean over draws\n")
        print(verdict_table(ours))
        print("\nBest F1: what verdicts gain, and the order of ask less others, mean over tasks\n")
        print(gain_table(ours))


def score_table(records: list[Record]) -> str:
    """A row a task, then means; a column a method and kind of marks."""
    kinds, tasks = kinds_of(records), tasks_of(records)
    rows = []
    for name, own in _groups(tasks):
        cells = []
        for kind in kinds:
            values = [by_draw(records, metric, own, _is_kind(kind)) for metric in (BEST, SHOWN)]
            cells.append(" / ".join(_mean(v, alone=len(own) == 1) for v in values if v) or "-")
        rows.append([name, *cells])
    rows.append(["seconds to learn", *(_seconds(records, kind) for kind in kinds)])
    return markdown(["task", *(f"{METHODS[method]}, {marks}" for marks, method in kinds)], rows)


def difference_table(records: list[Record]) -> str:
    """A row a task, then means; a column a comparison."""
    pairs = compared(records)
    rows = [
        [name, *(_difference(records, own, one, other) for one, other in pairs.values())]
        for name, own in _groups(tasks_of(records))
    ]
    return markdown(["task", *pairs], rows)


def compared(records: list[Record]) -> dict[str, tuple[Kind, Kind]]:
    """Comparisons by name: finetune with other methods on the same marks, and with itself without an area."""
    kinds = kinds_of(records)
    pairs = {
        f"less {METHODS[method]}, {marks}": ((marks, "finetune"), (marks, method))
        for marks, method in kinds
        if method != "finetune"
    }
    pairs["area less scattered"] = ("area", "finetune"), ("scattered", "finetune")
    return {name: pair for name, pair in pairs.items() if set(pair) <= set(kinds)}


def verdict_table(records: list[Record]) -> str:
    """A row a task, then means; a column an order and round."""
    columns = [(START, 0), *((o, n) for o in orders_of(records) for n in rounds_of(records))]
    rows = []
    for name, own in _groups(tasks_of(records)):
        cells = []
        for column in columns:
            values = [by_draw(records, metric, own, _is_round(*column)) for metric in (BEST, SHOWN)]
            cells.append(" / ".join(_mean(v, alone=len(own) == 1) for v in values if v) or "-")
        rows.append([name, *cells])
    told = ["told before, a round", "-"]
    told += [f"{fmean(r['told_before'] for r in records if _is_round(*c)(r)):.1f}" if any(map(_is_round(*c), records))
             else "-" for c in columns[1:]]  # fmt: skip
    rows.append(told)
    return markdown(["task", "before", *(f"{order}, round {number}" for order, number in columns[1:])], rows)


def gain_table(records: list[Record]) -> str:
    """A row for each comparison, a column a round."""
    tasks, rounds = tasks_of(records), rounds_of(records)
    before = {task: by_draw(records, BEST, [task], _is_round(START, 0)) for task in tasks}
    low = [task for task, values in before.items() if values and fmean(values.values()) < LOW]
    groups = ("all tasks", tasks), (f"{len(low)} tasks that began below {LOW}", low)

    def gained(own: list[str], metric: str, order: str, less: str, other: str | None) -> list[str]:
        """``metric`` of an order less ``less`` of another one, or of what was before."""
        return [
            bold(
                paired(
                    by_draw(records, metric, own, _is_round(order, number)),
                    by_draw(records, less, own, _is_round(START, 0) if other is None else _is_round(other, number)),
                )
            )
            for number in rounds
        ]

    lines = []
    for order in orders_of(records):
        for name, own in groups:
            lines.append([f"{order} less before, {name}", *gained(own, BEST, order, BEST, None)])
            lines.append([f"the same of what has no verdict, {name}", *gained(own, REST, order, REST_BEFORE, order)])
    lines += [
        [f"ask less {other}, all tasks", *gained(tasks, BEST, "ask", BEST, other)]
        for other in orders_of(records)
        if other != "ask"
    ]
    return markdown(["comparison", *(f"round {number}" for number in rounds)], lines)


def by_draw(records: list[Record], metric: str, tasks: Sequence[str], chosen: Choice) -> dict[int, float]:
    """Draw -> mean over tasks of a metric, of the draws for which each task has it."""
    values: dict[int, dict[str, float]] = {}
    for record in records:
        if record["task"] in tasks and chosen(record) and record.get(metric) is not None:
            values.setdefault(record["draw"], {})[record["task"]] = float(record[metric])
    return {draw: fmean(own.values()) for draw, own in sorted(values.items()) if tasks and len(own) == len(tasks)}


def kinds_of(records: list[Record]) -> list[Kind]:
    """What occurs, methods in the order of ``METHODS``, scattered marks before an area."""
    found = {(record["marks"], record["method"]) for record in records}
    return [(marks, method) for method in METHODS for marks in MARKS if (marks, method) in found]


def tasks_of(records: list[Record]) -> list[str]:
    """By name."""
    return sorted({record["task"] for record in records})


def orders_of(records: list[Record]) -> list[str]:
    """Orders of verdicts that occur."""
    return [order for order in ORDERS if any(record["order"] == order for record in records)]


def rounds_of(records: list[Record]) -> list[int]:
    """Rounds that occur, without the one before any verdict."""
    return sorted({record["round"] for record in records} - {0})


def _groups(tasks: list[str]) -> list[tuple[str, list[str]]]:
    """Rows: each task, all of them, and those that are searched on other scenes, if it is some of several."""
    elsewhere = [task for task in tasks if task in OTHER_SCENES]
    groups = [(task, [task]) for task in tasks]
    groups += [("mean", tasks)] if len(tasks) > 1 else []
    groups += [("mean, other scenes", elsewhere)] if 1 < len(elsewhere) < len(tasks) else []
    return groups


def _is_kind(kind: Kind) -> Choice:
    return lambda record: (record["marks"], record["method"]) == kind


def _is_round(order: str, number: int) -> Choice:
    return lambda record: (record["order"], record["round"]) == (order, number)


def _seconds(records: list[Record], kind: Kind) -> str:
    spent = [record["learn_s"]["wall"] for record in records if _is_kind(kind)(record)]
    return f"{fmean(spent):.0f}, at most {max(spent):.0f}"


def _difference(records: list[Record], tasks: list[str], one: Kind, other: Kind) -> str:
    return bold(paired(*(by_draw(records, BEST, tasks, _is_kind(kind)) for kind in (one, other))))


def _mean(values: dict[int, float], *, alone: bool) -> str:
    """Of a single task without an interval, to keep the table narrow."""
    found = interval(list(values.values()))
    return f"{found.mean:.3f}" if alone or found.n == 1 else str(found)


def bold(found: Interval | None) -> str:
    """A difference, in bold type where its interval leaves zero out; a dash for none."""
    if found is None:
        return "-"
    if found.n == 1:
        return f"{found.mean:.3f} (one draw)"
    return f"**{found}**" if found.apart_from_zero else str(found)


if __name__ == "__main__":
    try:
        main([Path(name) for name in sys.argv[1:]] or [HERE / f"{name}.jsonl" for name in RECORDS])
    except UserError as error:
        sys.exit(f"real_tasks: {error}")
