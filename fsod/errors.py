"""The one exception that is meant for the person at the keyboard."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST_MESSAGE = 2000


class UserError(Exception):
    """Something a user can mend: bad input, a wrong setting, a missing file.

    The message is one line that says what was wrong, in which file, line or key, and what to do. The command line
    prints it without a traceback and exits with status 2. What a file says may be longer than anybody reads, so it is cut
    after 2,000 characters.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 3]}...")


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for an error message, or nothing where no known name is close."""
    close = get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


_SPACES_AND_JOINERS = str.maketrans(
    "", "", "\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
)


_UNSEEN = frozenset(
    "\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}\N{HANGUL FILLER}\N{HALFWIDTH HANGUL FILLER}\N{BRAILLE PATTERN BLANK}"
)
"""Letters to Unicode, and nothing to the eye."""


def is_printable(name: str) -> bool:
    """Whether a name tells a terminal nothing to do and shows; ``str.isprintable`` also refuses what some scripts need."""
    return name.translate(_SPACES_AND_JOINERS).isprintable() and _UNSEEN.isdisjoint(name)


LONGEST_NAME = 200
"""Characters of a class's name; it stands in every line of a layer."""


def is_name(name: str) -> bool:
    """Whether a class may be called so: it can be printed, and is not longer than 200 characters."""
    return len(name) <= LONGEST_NAME and is_printable(name)


def spaced(name: str) -> str:
    """A class's name as everything that is read has it: nothing at its ends, one space between its words, composed letters.

    macOS writes a letter and its accent as two characters where a keyboard gives one; both look the same.
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def printable(name: str) -> str:
    """The name itself; ValueError where no class may be called so, see ``is_name``."""
    if not is_name(name):
        why = "characters that cannot be printed" if len(name) <= LONGEST_NAME else f"{len(name)} characters"
        raise ValueError(f"{name[:60]!r} has {why}")
    return name


def escaped(text: str) -> str:
    """A text of several lines at most; what else would tell a terminal to do something is written out, as Python does."""
    if is_printable(text):
        return text
    return "".join(
        c if c in "\n\t" or is_printable(c) else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def first_problem(error: ValidationError) -> str:
    """The first key that is wrong, and why, for an error message."""
    problem = error.errors()[0]
    return f"{'.'.join(str(part)[:60] for part in problem['loc'])}: {one_line(problem['msg'])}"


def one_line(reason: object) -> str:
    """What a library says of a file, which may be a page of it, for an error message."""
    return escaped(" ".join(str(reason).split())[:LONGEST_NAME])
