"""What a prepared folder says, whatever state it is in: entries of its annotation file and of its lists, with their lines."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsod.data.coco_folder import ANNOTATIONS
from fsod.errors import UserError
from fsod.files import decoded

SECTIONS = ("categories", "images", "annotations")

_BETWEEN = re.compile(r"[\s,:]*")


@dataclass(frozen=True)
class Entry:
    """A category, an image or an annotation, or an id on a list, as it stands in its file.

    Attributes:
        section: ``categories``, ``images``, ``annotations``, or the path of a list (``splits/train.txt``).
        position: in its section, from 0.
        line: of the file, from 1; the one on which it begins.
        value: anything that JSON can hold; the id of a list.
    """

    section: str
    position: int
    line: int
    value: Any

    @property
    def where(self) -> str:
        """File and line."""
        return f"{ANNOTATIONS if self.section in SECTIONS else self.section}:{self.line}"


def read_entries(root: Path) -> dict[str, list[Entry]]:
    """The entries of a prepared folder's annotation file by section, in the order of the file.

    Raises:
        UserError: there is no such file, it is not JSON, or it lacks a section.
    """
    path = root / ANNOTATIONS
    if not path.is_file():
        raise UserError(f"{root}: not a prepared folder ({ANNOTATIONS} is missing); make one with `fsod data prepare`")
    try:
        text = decoded(path.read_bytes())
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON from column {error.colno} on: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    for section in SECTIONS:
        if not isinstance(content, dict) or not isinstance(content.get(section), list):
            raise UserError(f"{path}: not a COCO annotation file, it has no list {section!r}")
    lines = _item_lines(text)
    return {
        section: [
            Entry(section, i, line, value)
            for i, (line, value) in enumerate(zip(lines[section], content[section], strict=True))
        ]
        for section in SECTIONS
    }


def read_lists(root: Path) -> dict[str, list[Entry]]:
    """The ids on each list of a prepared folder, by the list's path in it; a list may be empty."""
    lists: dict[str, list[Entry]] = {}
    for path in sorted((root / "splits").glob("*.txt")):
        section = path.relative_to(root).as_posix()
        text = decoded(path.read_bytes(), "replace")
        ids = ((n, line.strip()) for n, line in enumerate(text.splitlines(), 1))
        ids_on = [(n, i) for n, i in ids if i and not i.startswith("#")]
        lists[section] = [Entry(section, position, n, i) for position, (n, i) in enumerate(ids_on)]
    return lists


def _item_lines(text: str) -> dict[str, list[int]]:
    """For each list in the outermost object of a valid JSON text, the lines on which its items begin."""
    decoder, breaks = json.JSONDecoder(), [match.start() for match in re.finditer("\n", text)]
    lines: dict[str, list[int]] = {}
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] != "[":
            _, at = decoder.raw_decode(text, at)
        else:
            lines[key] = []
            at = _skip(text, at + 1)
            while text[at] != "]":
                lines[key].append(bisect_right(breaks, at) + 1)
                _, at = decoder.raw_decode(text, at)
                at = _skip(text, at)
            at += 1
        at = _skip(text, at)
    return lines


def _skip(text: str, at: int) -> int:
    """Behind the blanks, commas and colons that begin at ``at``."""
    match = _BETWEEN.match(text, at)
    return match.end() if match else at
