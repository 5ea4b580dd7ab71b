"""Of two commands on one output the second is told who holds it, and touches nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsod.files import held
from tests.command import fsod
from tests.made_folder import make_folder
from tests.untrained import make_bank

CONFIG = """
name: n
run_dir: run
init: null
data: {format: nwpu, novel: []}
meta_train: {steps: 1}
finetune: {steps: 1}
"""
SCENE = ("--scene", "s.tif", "--examples", "e.geojson")
COMMANDS = [
    (("enroll", *SCENE, "--out", "b.safetensors"), ".b.safetensors.fsod-lock"),
    (("finetune", "--part", "rows", *SCENE, "--out", "b.safetensors"), ".b.safetensors.fsod-lock"),
    (("finetune", *SCENE, "--out", "b.safetensors"), ".b.safetensors.fsod-lock"),
    (("report", "f.geojson"), ".f.html.fsod-lock"),
    (("export", "--bank", "bank.safetensors", "--out", "n.onnx"), ".n.onnx.fsod-lock"),
    (("weights", "import", "w.pt", "--out", "t.safetensors"), ".t.safetensors.fsod-lock"),
    (("bank", "merge", "bank.safetensors", "--out", "m.safetensors"), ".m.safetensors.fsod-lock"),
    (("bank", "remove", "bank.safetensors", "car"), ".bank.safetensors.fsod-lock"),
    (("bank", "add", "bank.safetensors", "other.safetensors"), ".bank.safetensors.fsod-lock"),
    (("register", "--bank", "bank.safetensors", "--name", "n"), "runs/.mlflow.db.register.fsod-lock"),
    (("pretrain", "--config", "p.yaml"), "run/.pretrain.fsod-lock"),
    (("meta-train", "--config", "c.yaml"), "run/.meta-train.fsod-lock"),
    (("data", "prepare", "prepared", "d", "out"), ".out.fsod-lock"),
    (("data", "tile", "d", "out"), ".out.fsod-lock"),
    (("data", "check", "d", "--fix", "out"), ".out.fsod-lock"),
    (("data", "check", "d", "--out", "seen"), "seen/.report.md.fsod-lock"),
    (("data", "download", "nwpu", "--out", "down"), "down/.fsod-lock"),
]


@pytest.mark.parametrize(("arguments", "lock"), COMMANDS, ids=[" ".join(a[:3]) for a, _ in COMMANDS])
def test_the_second_is_told_who_holds_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    lock: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "p.yaml").write_text("{name: n, run_dir: run, init: null, pretrain: {steps: 1}}")
    if "bank.safetensors" in arguments:
        make_bank(tmp_path)
    if arguments[0] == "data":
        make_folder(tmp_path / "d", images=2)
    if arguments[0] == "meta-train":
        make_folder(tmp_path / "run" / "tiles", images=2)
    with held(Path(lock), Path("it")):
        before = sorted(tmp_path.rglob("*"))
        assert fsod(*arguments) == 2
        said = capsys.readouterr().err
        assert f"another run is writing it (process {os.getpid()} on " in said
        assert "Traceback" not in said
        if "--fix" not in arguments:  # the report is written before the copy
            assert sorted(tmp_path.rglob("*")) == before
