"""Tables of real tasks come from the records alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.real_tasks import table
from experiments.real_tasks.tool import add_line, is_recorded, load_tool, read_lines
from experiments.records import Record
from fsod.errors import UserError


def made_records() -> list[Record]:
    records: list[Record] = []
    worth = {"enroll": 0.3, "finetune": 0.6, "template": 0.2, "yolo": 0.25}
    for name, more in {"cars_kit": 0.0, "craters_mars": 0.1, "palms_drone": 0.2}.items():
        for draw in (0, 1, 2):
            for method, f1 in worth.items():
                key = {"task": name, "marks": "scattered", "method": method, "k": 10, "draw": draw}
                own = {"best_f1_0.5": f1 + more + draw / 100, "learn_s": {"wall": 50.0 + draw}}
                shown = {"shown_f1_0.5": f1 - 0.05} if method in ("enroll", "finetune") else {}
                records.append({**key, **own, **shown})
    return records


def test_tables_come_from_the_records_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.jsonl"
    for record in made_records():
        add_line(file, record)
    capsys.readouterr()
    table.main([file])
    text = capsys.readouterr().out
    assert (
        "| task | enroll, scattered | finetune, scattered | template matching, scattered | YOLO from scratch, sc"
        in text
    )
    assert "| cars_kit | 0.310 / 0.250 | 0.610 / 0.550 | 0.210 | 0.260 |" in text
    assert "| mean | 0.410 ± 0.025 / 0.250 ± 0.000 | 0.710 ± 0.025" in text
    assert "| mean, other scenes | 0.360 ± 0.025" in text
    assert "| seconds to learn | 51, at most 52 |" in text
    assert "| task | less enroll, scattered | less template matching, scattered | less YOLO from scratch, sc" in text
    assert "| mean | **0.300 ± 0.000** | **0.400 ± 0.000** | **0.350 ± 0.000** |" in text


def test_a_mean_over_tasks_needs_each_of_them(tmp_path: Path) -> None:
    records = [r for r in made_records() if (r["task"], r["draw"]) != ("cars_kit", 1)]
    values = table.by_draw(records, table.BEST, table.tasks_of(records), lambda r: r["method"] == "enroll")
    assert sorted(values) == [0, 2]


def test_the_table_of_verdicts_says_what_an_order_is_worth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "analyst.jsonl"
    for name, begin in {"a": 0.4, "b": 0.8}.items():
        for draw in (0, 1):
            for order, number, f1 in (("start", 0, 0.0), ("ask", 1, 0.1), ("random", 1, 0.04)):
                key = {"task": name, "marks": "scattered", "k": 10, "draw": draw, "order": order, "round": number}
                rest = {"rest_best_f1": begin + f1 / 2, "rest_before_best_f1": begin} if number else {}
                scores = {"best_f1_0.5": begin + f1 + draw / 50, "shown_f1_0.5": begin}
                add_line(file, {**key, **scores, **rest, "told_before": 3})
    capsys.readouterr()
    table.main([file])
    text = capsys.readouterr().out
    assert "| task | before | ask, round 1 | random, round 1 |" in text
    assert "| a | 0.410 / 0.400 | 0.510 / 0.400 | 0.450 / 0.400 |" in text
    assert "| ask less before, 1 tasks that began below 0.7 | **0.100 ± 0.000** |" in text
    assert "| the same of what has no verdict, 1 tasks that began below 0.7 | **0.050 ± 0.000** |" in text
    assert "| ask less random, all tasks | **0.060 ± 0.000** |" in text
    assert "| told before, a round | - | 3.0 | 3.0 |" in text


def test_records_are_kept_whole(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    assert read_lines(file) == []
    add_line(file, {"task": "a", "draw": 0})
    assert is_recorded(file, read_lines(file), {"task": "a"}, {})
    assert not is_recorded(file, read_lines(file), {"task": "b"}, {})
    with file.open("a") as log:
        log.write('{"task": "b", "dr')
    with pytest.raises(UserError, match="line 2 is no record"):
        read_lines(file)
    with pytest.raises(UserError, match="no such Python file"):
        load_tool(tmp_path / "tool.py")
