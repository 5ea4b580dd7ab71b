"""What the plugin reads of a detector without fsod."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fsod.qgis.detector_file import remembers_marks


@pytest.mark.parametrize(
    ("known", "remembers"),
    [({"learned_from": {"marks": [{"scene": "a.tif"}]}}, True), ({"learned_from": {"marks": []}}, False), ({}, False)],
)
def test_a_detector_that_keeps_its_marks(tmp_path: Path, known: dict[str, object], remembers: bool) -> None:
    path = tmp_path / "d.safetensors"
    save_file({"a": np.zeros(1)}, path, {"fsod": json.dumps(known)})
    assert remembers_marks(path) is remembers


@pytest.mark.parametrize("content", [b"", b"no header", b"\xff" * 16, (2).to_bytes(8, "little") + b"[]"])
def test_other_files_keep_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "d.safetensors"
    path.write_bytes(content)
    assert not remembers_marks(path)
    assert not remembers_marks(tmp_path / "gone")
