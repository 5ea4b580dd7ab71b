"""Whatever the machine lacks, and whenever Ctrl-C comes: one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED = """
import sys

class Pressed:
    module = sys.argv.pop()

    def find_spec(self, name, path=None, target=None):
        if name == self.module:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Pressed())
sys.argv += ["bank", "list", "x.safetensors"]
from fsod.cli import main
main()
"""


def test_ctrl_c_while_libraries_are_imported_is_one_line() -> None:
    modules = ("typer", "pydantic", "fsod.cli.commands", "rich.console", "safetensors", "torch")
    running = {
        module: subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, module], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for module in modules
    }
    for module, process in running.items():
        out, said = process.communicate(timeout=120)
        assert process.returncode == 130, module
        assert (out, said) == ("", "fsod: interrupted; run the same command again to go on or to start over\n"), module


def one_line(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"rmdir {gone}; exec {sys.executable} -m fsod bank list x.safetensors"
    root = str(Path(__file__).parents[2])
    said = one_line(["sh", "-c", command], gone, os.environ | {"PYTHONPATH": root})
    assert said == "fsod: the working folder is not there any more; change to another one\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_home_and_a_terminal_without_umlauts(tmp_path: Path, encoding: str) -> None:
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS")}
    told = kept | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(__file__).parents[2])}
    said = one_line([sys.executable, "-m", "fsod", "bank", "list", "größe駐.safetensors"], tmp_path, told)
    assert said.startswith("fsod: gr")
    assert "Traceback" not in said
    assert said.endswith(".safetensors: no such file; expected a class bank\n")
