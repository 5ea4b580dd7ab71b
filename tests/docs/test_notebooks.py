"""The notebooks run as they stand: their cells, in order, in this process, on data that they make."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "docs/notebooks"


def run(name: str) -> dict[str, Any]:
    """What a notebook has defined at its end; what a cell shows last is what ``shown`` lists."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    names: dict[str, Any] = {"__name__": "__main__", "shown": []}
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "kept without outputs"
        body = ast.parse("".join(cell["source"])).body
        if isinstance(body[-1], ast.Expr):
            body[-1] = ast.parse(f"shown.append({ast.unparse(body[-1].value)})").body[0]
        exec(compile(ast.Module(body, []), f"{name}, cell {number}", "exec"), names)  # noqa: S102, they are our own
    return names


def test_enroll_on_a_geotiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("enroll_on_geotiff")
    assert names["recalled"] >= len(names["truth"]) - 1
    assert len(names["found"]) <= 2 * len(names["truth"])
    assert names["found"].crs.to_epsg() == 32633
    assert names["shown"][-1] == ("tank",)


@pytest.mark.usefixtures("brief")
def test_few_shot_study(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that what the notebook makes of it goes with the test
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (tmp_path / "runs").mkdir()
    shutil.copyfile(migrated, tmp_path / "runs/mlflow.db")
    names = run("few_shot_study")
    assert sorted(zip(names["draws"]["tags.shots"], names["draws"]["tags.seed"], strict=True)) == [
        ("1", "0"),
        ("1", "1"),
        ("2", "0"),
        ("2", "1"),
    ]
    measured = set(names["shown"][-1].index)
    assert {f"metrics.K{k}/novel_map50_{what}" for k in (1, 2) for what in ("mean", "ci95")} <= measured
