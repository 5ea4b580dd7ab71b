"""Results of a study: one JSON list of records, which several processes add to and an interrupted study goes on from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from fsod.data.coco_folder import write_json
from fsod.errors import UserError

Record = dict[str, Any]
KEY = ("system", "split", "shots", "seed")


def key_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a run is known by."""
    return tuple(record[name] for name in KEY)


def read_records(path: Path) -> list[Record]:
    """All records, none where there is no file yet; UserError if it is something else."""
    if not path.is_file():
        return []
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        for record in records:
            key_of(record)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a list of records: {type(error).__name__} {error}") from error
    return list(records)


def add_record(path: Path, record: Record) -> None:
    """Adds a record; processes that do so at once wait for each other. The first record of a run stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        records = read_records(path)
        if key_of(record) not in map(key_of, records):
            write_json(path, sorted([*records, record], key=lambda r: tuple(map(_sortable, key_of(r)))))


def _sortable(value: object) -> tuple[str, object]:
    return type(value).__name__, value


def check_same(path: Path, records: list[Record], wanted: Mapping[str, Any]) -> None:
    """UserError if a record of the same system and split was made of something else.

    Args:
        path: of the records, for the message.
        records: what has been recorded.
        wanted: a record's ``system`` and ``split``, and the fields that must be the same for all its shots and seeds.
    """
    for record in records:
        if any(record[name] != wanted[name] for name in ("system", "split")):
            continue
        other = [name for name in wanted if record.get(name) != wanted[name]]
        if other:
            raise UserError(
                f"{path}: {record['system']!r} was recorded with {other[0]} {record.get(other[0])!r}, now it is "
                f"{wanted[other[0]]!r}; delete these records, or give another --results"
            )


def commit() -> str:
    """The checkout's commit, ``-dirty`` where tracked files differ from it; "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        said = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()
