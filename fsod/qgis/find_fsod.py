"""Where the executable ``fsod`` is, and the environment that it runs in. Knows nothing of QGIS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

VARIABLE = "FSOD_EXECUTABLE"
"""Of the environment: names the executable where no setting does."""

WRITTEN_BY = "written_by.txt"
"""In the plugin's archive: the executable that wrote it."""

NAME = "fsod.exe" if os.name == "nt" else "fsod"

_FOLDERS = (".local/bin", "bin", "Scripts")
_CONDAS = ("miniconda3", "miniforge3", "mambaforge", "anaconda3", "micromamba")

_OF_QGIS = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB",
            "PROJ_DATA", "QT_PLUGIN_PATH")  # fmt: skip
"""What QGIS sets for its own Python, GDAL and PROJ, with which those of fsod would not work."""

WHAT_TO_DO = (
    "Install it (`make install` in a checkout of fsod makes .venv/bin/fsod), then name this file in Settings > Options > "
    f"Processing > Providers > fsod, or in the environment variable {VARIABLE}."
)


class FsodMissingError(Exception):
    """There is no executable; the message says what to do."""


def find_fsod(setting: str = "") -> Path:
    """The executable ``fsod``.

    What is named counts, be it there or not: the setting, else the environment variable. Where nothing is named, it is the
    one that wrote the plugin's archive, one on the PATH, or one where pip, pipx, uv and conda put it.

    Args:
        setting: what the user named; empty for nothing.

    Raises:
        FsodMissingError: what is named is no executable, or nothing is named and found.
    """
    where = {f"the setting of the plugin says {setting!r}": setting}
    where[f"the environment variable {VARIABLE} says {os.environ.get(VARIABLE)!r}"] = os.environ.get(VARIABLE, "")
    for who_says, named in where.items():
        if named:
            path = Path(named).expanduser()
            if not _runs(path):
                raise FsodMissingError(f"fsod was not found: {who_says}, which is no executable. {WHAT_TO_DO}")
            return path
    for path in _usual():
        if _runs(path):
            return path
    raise FsodMissingError(f"fsod was not found on this machine. {WHAT_TO_DO}")


def _usual() -> Iterator[Path]:
    written_by = Path(__file__).with_name(WRITTEN_BY)
    if written_by.is_file():
        yield Path(written_by.read_text(encoding="utf-8").strip())
    on_path = shutil.which(NAME)
    if on_path:
        yield Path(on_path)
    home = Path.home()
    yield from (home / folder / NAME for folder in _FOLDERS)
    for conda in _CONDAS:
        for environment in [home / conda, *sorted((home / conda / "envs").glob("*"))]:
            yield from (environment / folder / NAME for folder in _FOLDERS)


def _runs(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except OSError:
        return False


def environment_of_fsod(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment without what QGIS sets for itself, for a program that another one drives."""
    own = {name: value for name, value in environment.items() if name not in _OF_QGIS}
    return {**own, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "FSOD_DRIVEN": "1", "TYPER_USE_RICH": "0"}
