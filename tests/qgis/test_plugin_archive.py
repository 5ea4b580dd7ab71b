"""The plugin's archive: what is in it, and that nothing in it needs more than QGIS."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import pytest

import fsod as package
from fsod.qgis import plugin_archive
from fsod.qgis.plugin_archive import FOLDER, METADATA, is_archive, write_archive
from tests.command import fsod

SOURCES = [path for path in sorted(Path(plugin_archive.__file__).parent.glob("*.py")) if path.stem != "plugin_archive"]
OF_QGIS = {"qgis", "processing"}
MOVED = {"QAction", "QActionGroup", "QShortcut", "QUndoCommand", "QUndoGroup", "QUndoStack", "QFileSystemModel"}
"""From QtWidgets, where Qt 5 has them, to QtGui in Qt 6; an import of the former is for where the latter fails."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "fsod_qgis.zip"
    assert fsod("qgis", "zip", "--out", path) == 0
    return path


def test_it_holds_the_plugin_and_nothing_else(archive: Path) -> None:
    with ZipFile(archive) as packed:
        names = packed.namelist()
    sources = [path.name for path in SOURCES]
    expected = {f"{FOLDER}/{name}" for name in [*sources, METADATA, "icon.svg", "written_by.txt"]}
    assert set(names) in (expected, expected - {f"{FOLDER}/written_by.txt"})
    assert len(names) == len(set(names))


def test_metadata_says_what_qgis_wants_to_know(archive: Path) -> None:
    with ZipFile(archive) as packed:
        text = packed.read(f"{FOLDER}/{METADATA}").decode()
        icon = packed.read(f"{FOLDER}/icon.svg")
    metadata = ConfigParser(interpolation=None)
    metadata.read_file(StringIO(text))
    general = metadata["general"]
    assert general["version"] == package.__version__
    assert (general["qgisMinimumVersion"], general["qgisMaximumVersion"]) == ("3.22", "4.99")
    assert general["hasProcessingProvider"] == general["supportsQt6"] == "yes"
    for key in ("name", "description", "about", "author"):
        assert general[key], key
    assert not {"email", "homepage", "repository", "tracker"} & set(general), "as long as pyproject.toml has none"
    assert general["icon"] == "icon.svg"
    assert icon.startswith(b"<svg")


def test_the_same_content_gives_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        write_archive(tmp_path / name, Path("/opt/fsod/bin/fsod"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with ZipFile(tmp_path / "a") as packed:
        assert packed.read(f"{FOLDER}/written_by.txt") == b"/opt/fsod/bin/fsod\n"


def test_it_replaces_its_like_and_nothing_else(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    with ZipFile(other, "w") as packed:
        packed.writestr("holiday.txt", "")
    assert is_archive(archive)
    assert not is_archive(other)
    assert fsod("qgis", "zip", "--out", archive) == 0
    assert fsod("qgis", "zip", "--out", other) == 2
    assert fsod("qgis", "zip", "--out", other, "--overwrite") == 0


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.stem))
def test_nothing_needs_more_than_qgis(source: Path) -> None:
    """Of any version from 3.22 on, with Python 3.9, Qt 5 or Qt 6."""
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    for module in imported(tree):
        assert module in OF_QGIS or module in sys.stdlib_module_names, f"imports {module}"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Attribute) or node.attr != "exec_", "QDialog.exec_ is gone in Qt 6"
        assert not isinstance(node, ast.Match), "Python 3.10"
    members = [name for name in map(dotted, ast.walk(tree)) if re.fullmatch(r"(Q[a-zA-Z]+)\.([A-Z]\w*)", name)]
    called = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    scopes = {name.rpartition(".")[0] for name in map(dotted, ast.walk(tree)) if name.count(".") > 1}
    spared = {id(one) for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) for one in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("QtWidgets") and id(node) not in spared:
            assert not MOVED & {alias.name for alias in node.names}, "moved to QtGui in Qt 6"
    for name in members:
        assert name in called | scopes, f"{name}: Qt 6 wants the name of its enumeration as well"


def imported(tree: ast.Module) -> Iterator[str]:
    """Top-level names of the packages that are not the plugin's own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def dotted(node: ast.AST) -> str:
    """``QWidget.Enumeration.Member`` of such an expression; empty for others."""
    if isinstance(node, ast.Name):
        return node.id
    owner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{owner}.{node.attr}" if owner and isinstance(node, ast.Attribute) else ""
