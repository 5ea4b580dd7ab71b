"""The one rule of what a command may write over: what fsod wrote itself for the same output, and never what anybody needs.

All names are checked before the first pixel is read. A file is fsod's own if it says so when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsod.errors import UserError


@dataclass(frozen=True)
class Output:
    """A file that a command is to write.

    Attributes:
        path: of the file.
        why_not: of a file that is there, why it is not to be replaced; empty where fsod wrote it for this very output.
        option: that the user can name another file by.
        of: what it is written for, where a command has outputs of several things.
        unread: the command reads nothing of this name, though it may read the folder.
    """

    path: Path
    why_not: Callable[[Path], str]
    option: str = "--out"
    of: str = ""
    unread: bool = False


def not_by(command: str, is_own: Callable[[Path], bool]) -> Callable[[Path], str]:
    """Makes ``Output.why_not`` of a test of whether a command wrote a file. If the test raises an error, it did not."""

    def why_not(path: Path) -> str:
        try:
            own = is_own(path)
        except Exception:  # noqa: BLE001, each library that reads a format has errors of its own, and none reads as fsod's
            own = False
        return "" if own else f"was not written by `fsod {command}`"

    return why_not


def check_outputs(outputs: Sequence[Output], needed: Callable[[], Iterable[Path]], *, overwrite: bool) -> None:
    """Whether all that a command is to write may be written.

    Args:
        outputs: all of it.
        needed: files that the command reads, and folders, of which every file counts that is not fsod's own; asked only if
            something is there already.
        overwrite: also replace files that are not fsod's own; what is needed never.

    Raises:
        UserError: the first file that may not be replaced, and why.
    """
    owners: dict[Path, Output] = {}
    for output in outputs:
        place = output.path.parent.resolve() / output.path.name
        if place in owners:
            twice = f"for both {owners[place].of} and {output.of}" if output.of else "twice by this command"
            raise UserError(f"{output.path}: would be written {twice}; give one of them another name")
        owners[place] = output
        folder = next((folder for folder in output.path.parents if os.path.exists(folder)), None)  # noqa: PTH110, raises nothing
        if folder is not None and not folder.is_dir():
            raise UserError(
                f"{output.path}: cannot be written, as {folder} is no folder; choose another {output.option}"
            )
    there = [output for output in outputs if os.path.lexists(output.path)]
    if not there:
        return
    paths = [path for path in needed() if path.exists()]
    files = {_identity(path) for path in paths}
    folders = [path.resolve() for path in paths if path.is_dir()]
    for output in there:
        path, another = output.path, f"choose another {output.option}"
        if not path.exists():
            raise UserError(f"{path}: is a link that leads nowhere; remove it, or {another}")
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name the file to write")
        if _identity(path) in files:
            raise UserError(f"{path}: would be overwritten, but this command reads it; {another}")
        if not path.is_file():
            raise UserError(f"{path}: is not a regular file and cannot be replaced; {another}")
        why_not = output.why_not(path)
        if why_not and not output.unread and any(path.resolve().is_relative_to(folder) for folder in folders):
            raise UserError(f"{path}: {why_not}, and lies in a folder that this command reads; {another}")
        if why_not and not overwrite:
            raise UserError(f"{path}: already exists and {why_not}; {another}, or --overwrite it")


def _identity(path: Path) -> tuple[int, int]:
    """The same for every name of one file: links, and letters whose case a disk takes no notice of."""
    state = path.stat()
    return state.st_dev, state.st_ino
