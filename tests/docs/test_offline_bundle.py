"""The bundle's own logic: commands are written down, not run, and leave what the real ones would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from docs import offline_bundle
from docs.offline_bundle import WEIGHTS, make_bundle

CPU = "https://download.pytorch.org/whl/cpu"


class Commands:
    """Notes each command, and leaves a file where it would."""

    def __init__(self, downloads: Sequence[str] = ("numpy-2-py3-none-any.whl",)) -> None:
        self.downloads = downloads
        self.said: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> None:
        self.said.append(list(command))
        if "wheel" in command:
            Path(command[command.index("--wheel-dir") + 1], "fsod-0.1.0-py3-none-any.whl").write_text("fsod")
        elif "--dest" in command:
            for name in self.downloads:
                Path(command[command.index("--dest") + 1], name).write_text(name)
        else:
            (Path(command[-1])).mkdir()
            (Path(command[-1]) / "index.html").write_text("page")


def test_bundle_holds_wheels_weights_pages_and_their_sums(tmp_path: Path) -> None:
    own, out, commands = tmp_path / "ships.safetensors", tmp_path / "bundle", Commands()
    own.write_text("bank")
    make_bundle(out, "onnx", CPU, [own], run=commands)
    shipped = {f"weights/{path.name}" for path in WEIGHTS.iterdir() if path.is_file()}
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    wheels = {"wheels/fsod-0.1.0-py3-none-any.whl", "wheels/numpy-2-py3-none-any.whl"}
    rest = {"docs/index.html", "weights/ships.safetensors", "constraints.txt", "install.sh", "SHA256SUMS"}
    assert files == shipped | wheels | rest
    # torch comes from its own index without what it needs; the rest is asked for by the wheel, not by a name on the index
    torch, everything = [command for command in commands.said if "--dest" in command]
    assert torch[-4:] == ["--index-url", CPU, "torch", "torchvision"]
    assert "--no-deps" in torch
    assert everything[-1] == f"{out / 'wheels/fsod-0.1.0-py3-none-any.whl'}[onnx]"
    assert "'fsod[onnx]'" in (out / "install.sh").read_text()
    assert all(":all:" in command for command in (torch, everything))


def test_what_an_earlier_wheel_was_made_of_is_not_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "build/lib/fsod/no_longer_there.py"
    left.parent.mkdir(parents=True)
    left.touch()
    monkeypatch.setattr(offline_bundle, "ROOT", tmp_path)
    make_bundle(tmp_path / "bundle", run=Commands())
    assert not left.exists()


def test_install_script_refuses_a_file_that_did_not_arrive_whole(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    make_bundle(out, run=Commands())
    python = tmp_path / "python"
    # makes an environment whose Python and fsod write down what they are asked
    python.write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\nfor p in python fsod; do printf \'#!/bin/sh\\necho "$0 $@"\\n\' > "$3/bin/$p"; '
        'chmod +x "$3/bin/$p"; done\n'
    )
    python.chmod(0o755)
    arguments = ["sh", str(out / "install.sh"), str(tmp_path / "target"), str(python)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert "-m pip install --no-index --find-links wheels -c constraints.txt fsod" in done
    (out / "wheels/numpy-2-py3-none-any.whl").write_text("half")
    torn = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert torn.returncode != 0
    assert "numpy-2-py3-none-any.whl" in torn.stdout + torn.stderr


def test_folder_with_something_in_it_source_packages_and_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not empty"):
        make_bundle(WEIGHTS, run=Commands())
    with pytest.raises(ValueError, match="name a folder"):
        make_bundle(Path(__file__), run=Commands())
    with pytest.raises(ValueError, match="source package"):
        make_bundle(tmp_path / "a", run=Commands(["numpy-2.tar.gz"]))
    with pytest.raises(ValueError, match="no such file"):
        make_bundle(tmp_path / "b", weights=[tmp_path / "none.safetensors"], run=Commands())
    assert not (tmp_path / "b").exists()


def test_commands_are_of_the_python_that_runs(tmp_path: Path) -> None:
    commands = Commands()
    make_bundle(tmp_path / "bundle", run=commands)
    assert {command[0] for command in commands.said} == {sys.executable}
