"""`fsod info`, in this environment and in one that lacks things."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
import torch

from fsod import packages
from fsod.errors import UserError
from fsod.store.checkpoint import CheckpointHeader, write_safetensors
from tests.command import fsod

REQUIRED = [
    "torch>=2.6",
    "numpy<1",
    "no-such-package>=1",
    "tomli>=2; python_version < '3'",
    "fsod[onnx]; extra == 'dev'",
    "ruff>=0.1; extra == 'dev'",
    "another-missing; extra == 'onnx'",
]


def test_tells_device_versions_and_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "nano.safetensors"
    write_safetensors(
        weights, {"x": torch.zeros(1)}, CheckpointHeader(size="nano", class_names=(), stage="pretrain", settings={})
    )
    monkeypatch.setattr("fsod.cli.info_command.SHIPPED", weights)
    monkeypatch.setattr(packages, "requires", lambda _: REQUIRED)
    monkeypatch.setattr("fsod.cli.info_command.extras", lambda: ["dev", "onnx"])
    out = tmp_path / "info.json"
    assert fsod("info", "--json", out) == 0
    found = json.loads(out.read_text())
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert "GDAL" in found["packages"]
    assert "tomli" not in found["packages"]
    assert found["weights"] == f"{weights} (nano, pretrain)"
    needed = [f"numpy<1 (found {importlib.metadata.version('numpy')})", "no-such-package"]
    assert found["missing"] == {"needed": needed, "dev": ["another-missing"], "onnx": ["another-missing"]}
    text = capsys.readouterr().out.splitlines()
    assert f"device: {found['device']}" in text
    assert "extra dev: missing another-missing; pip install 'fsod[dev]'" in text
    assert "extra onnx: missing another-missing; pip install 'fsod[onnx]'" in text


def test_pinned_versions_are_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "requires", lambda _: REQUIRED)
    torch_version = torch.__version__.partition("+")[0]
    assert packages.pinned("onnx") == [f"numpy=={importlib.metadata.version('numpy')}", f"torch=={torch_version}"]


def test_says_that_fsod_was_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "requires", nothing)
    with pytest.raises(UserError, match="make install"):
        packages.requirements()
