"""Files of one kind: how they are made, which of them are damaged, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fsod.errors import UserError


@dataclass(frozen=True)
class Kind:
    """Files that are read alike.

    Attributes:
        name: for messages.
        make: writes them, whole, into an empty folder.
        suffixes: of the files in it that are damaged.
        read: reads them; UserError where it refuses.
        share: of all cases; slow readers get fewer.
    """

    name: str
    make: Callable[[Path], object]
    suffixes: tuple[str, ...]
    read: Callable[[Path], object]
    share: float = 1.0


def both(*read: Callable[[], object]) -> None:
    """All of these, where one refuses too; what the last refuses is what is refused."""
    refused: list[UserError] = []
    for one in read:
        try:
            one()
        except UserError as error:
            refused.append(error)
    if refused:
        raise refused[-1]
