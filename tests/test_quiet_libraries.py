"""Libraries that would send something when they are imported do not where fsod was imported before them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

IMPORTED = """
import sys
sys.addaudithook(lambda event, told: print(event, told) if event in ("socket.getaddrinfo", "socket.connect") else None)
import fsod
import {library}
"""


def run(program: str, *path: Path) -> subprocess.CompletedProcess[str]:
    added = f"import sys; sys.path[:0] = {[str(Path(__file__).parents[1]), *map(str, path)]!r}\n"
    return subprocess.run([sys.executable, "-c", added + program], capture_output=True, text=True, check=False)


def test_what_openvino_would_send_events_with_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "openvino_telemetry.py").write_text("")
    assert run("import openvino_telemetry", tmp_path).returncode == 0
    refused = run(IMPORTED.format(library="openvino_telemetry"), tmp_path)
    assert "ModuleNotFoundError" in refused.stderr


def test_importing_openvino_asks_no_server() -> None:
    pytest.importorskip("openvino")
    done = run(IMPORTED.format(library="openvino"))  # what it sends in a thread is sent before the process ends
    assert (done.returncode, done.stdout) == (0, "")
