"""Where the plugin finds fsod, and what it says where it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsod.qgis import find_fsod as finding
from fsod.qgis.find_fsod import NAME, VARIABLE, WRITTEN_BY, FsodMissingError, environment_of_fsod, find_fsod


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin on a machine without fsod; the folder that it lies in."""
    plugin, home = tmp_path / "plugin", tmp_path / "home"
    plugin.mkdir()
    home.mkdir()
    monkeypatch.setattr(finding, "__file__", str(plugin / "find_fsod.py"))
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return plugin


def test_without_fsod_it_says_what_to_do(bare: Path) -> None:
    with pytest.raises(FsodMissingError, match=f"not found on this machine.*make install.*Settings.*{VARIABLE}"):
        find_fsod()


def test_what_is_named_counts_even_where_it_is_gone(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(executable(bare / "bin" / NAME).parent))
    with pytest.raises(FsodMissingError, match=r"setting of the plugin says '/gone/fsod'.*Settings > Options"):
        find_fsod("/gone/fsod")
    monkeypatch.setenv(VARIABLE, str(bare))
    with pytest.raises(FsodMissingError, match=f"variable {VARIABLE} says .*no executable"):
        find_fsod()
    own = executable(bare / "own" / NAME)
    assert find_fsod(str(own)) == own, "the setting counts before the variable"


def test_it_is_found_where_people_put_it(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = executable(Path.home() / "miniforge3" / "envs" / "fsod" / "bin" / NAME)
    assert find_fsod() == last
    pipx = executable(Path.home() / ".local" / "bin" / NAME)
    assert find_fsod() == pipx
    on_path = executable(bare / "bin" / NAME)
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_fsod() == on_path
    writer = executable(bare / "venv" / NAME)
    (bare / WRITTEN_BY).write_text(f"{writer}\n")
    assert find_fsod() == writer, "the one that wrote the archive counts before others"
    writer.unlink()
    assert find_fsod() == on_path, "and may be gone"


def test_the_environment_of_qgis_stays_with_qgis() -> None:
    of_qgis = {"PYTHONHOME": "/qgis", "PYTHONPATH": "/qgis/python", "PROJ_LIB": "/qgis/proj", "GDAL_DATA": "/qgis/gdal"}
    got = environment_of_fsod({**of_qgis, "PATH": os.environ["PATH"], "CUDA_VISIBLE_DEVICES": "0"})
    assert not set(of_qgis) & set(got)
    assert (got["CUDA_VISIBLE_DEVICES"], got["FSOD_DRIVEN"]) == ("0", "1")
