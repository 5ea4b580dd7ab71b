"""The plugin as QGIS installs it: an archive of this folder. This module stays out of it, and knows nothing of QGIS."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from fsod.about import __version__
from fsod.files import atomic_write
from fsod.qgis.find_fsod import NAME, WRITTEN_BY

FOLDER = "fsod_qgis"
"""Of the plugin; a folder "fsod" would hide the package from QGIS's Python."""

METADATA = "metadata.txt"
_SUFFIXES = (".py", ".svg", ".txt")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def executable_here() -> Path | None:
    """The executable of the installation that runs now; None where it has none."""
    for path in (Path(sys.argv[0]), Path(sys.executable).with_name(NAME)):
        if path.name == NAME and path.is_file() and os.access(path, os.X_OK):
            return path.absolute()
    return None


def write_archive(out: Path, executable: Path | None) -> None:
    """Writes the plugin.

    Args:
        out: the archive, whole or not at all; the same content gives the same file.
        executable: that the plugin finds by itself; none if None.

    Raises:
        OSError: the file cannot be written.
    """
    here = Path(__file__).parent
    files = {
        path.name: path.read_bytes()
        for path in sorted(here.iterdir())
        if path.suffix in _SUFFIXES and path != Path(__file__)
    }
    files[METADATA] += f"version={__version__}\n".encode()
    if executable is not None:
        files[WRITTEN_BY] = f"{executable}\n".encode()
    with atomic_write(out) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(ZipInfo(f"{FOLDER}/{name}", _LONG_AGO), content, ZIP_DEFLATED)


def is_archive(path: Path) -> bool:
    """Whether a file is such an archive."""
    try:
        with ZipFile(path) as archive:
            return f"{FOLDER}/{METADATA}" in archive.namelist()
    except BadZipFile:
        return False
