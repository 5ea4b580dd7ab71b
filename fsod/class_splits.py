"""Base/novel splits by the names that papers give them.

``data_prep/splits/<data set>/`` holds a file of novel classes for each split, one per line, and ``classes.txt`` with all
classes of the data set in the spelling of fsod's reader. Lines that start with # say where a split comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

from fsod.data_formats import DATA_FORMATS
from fsod.errors import UserError, nearest
from fsod.files import decoded

_SUFFIX = "_novel.txt"


def split_names(data_format: str) -> list[str]:
    """Names of the splits of a data set, as S1 or B2; none for a format that is no one data set."""
    if data_format not in DATA_FORMATS or not DATA_FORMATS[data_format].splits:
        return []
    return sorted(f.name.removesuffix(_SUFFIX).upper() for f in _folder(data_format).iterdir() if _SUFFIX in f.name)


def novel_classes(data_format: str, name: str) -> tuple[str, ...]:
    """The novel classes of a named split, in the order of its file.

    Raises:
        UserError: there is no such split, or its file names a class twice or one that the data set does not have.
    """
    known = split_names(data_format)
    if name.upper() not in known:
        names = f"the splits of {data_format} are {', '.join(known)}" if known else f"{data_format} has no named splits"
        raise UserError(f"no split {name!r}; {names}; or give a list of classes")
    file = _folder(data_format) / f"{name.lower()}{_SUFFIX}"
    classes, novel = _lines(_folder(data_format) / "classes.txt"), _lines(file)
    for line in novel:
        if line not in classes:
            raise UserError(f"{file}: {line!r} is not a class of {data_format}{nearest(line, classes)}")
    if len(set(novel)) != len(novel) or not novel:
        raise UserError(f"{file}: name at least one class, each once")
    return novel


def split_title(data_format: str, novel: Sequence[str]) -> str:
    """The name of the split that has these novel classes, else their list."""
    for name in split_names(data_format):
        if set(novel_classes(data_format, name)) == set(novel):
            return name
    return ", ".join(novel) or "no novel class"


def _folder(data_format: str) -> Traversable:
    return files("data_prep") / "splits" / DATA_FORMATS[data_format].splits


def _lines(file: Traversable) -> tuple[str, ...]:
    lines = (line.strip() for line in decoded(file.read_bytes()).splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
