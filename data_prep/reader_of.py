"""The reader of a format, by the name that the command line and the configuration use; ``fsod.data_formats`` has the table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from fsod.data_formats import DATA_FORMATS
from fsod.errors import UserError, nearest

Reader = Callable[..., dict[str, Any]]


def reader_of(name: str) -> Reader:
    """A function of the source folder, the folder to write and ``skip_bad=``; UserError for a name that is not in the table."""
    if name not in DATA_FORMATS:
        raise UserError(f"unknown format {name!r}{nearest(name, DATA_FORMATS)}; known: {', '.join(DATA_FORMATS)}")
    module, _, function = DATA_FORMATS[name].reader.partition(":")
    reader: Reader = getattr(import_module(module), function)
    return reader
