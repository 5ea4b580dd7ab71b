"""A script without options tells what it does before it does it."""

from __future__ import annotations

import runpy
import sys

import pytest


@pytest.mark.parametrize(
    "script",
    [
        "bench_model.bench",
        "bench_model.inference",
        "bench_model.training",
        "demo.demo_seeds",
        "five_turbines.story",
        "nwpu_fewshot.plot",
        "review_loop.large_scene",
    ],
)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_help_starts_no_study(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(f"experiments.{script}", run_name="__main__")
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")
