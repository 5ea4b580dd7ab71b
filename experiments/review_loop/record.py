"""Where the scripts of this study put what they have measured."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.records import Record
from fsod.files import write_text

RESULTS = Path(__file__).with_name("results.json")
PICTURES = Path(__file__).with_name("loop.webp")


def keep(name: str, record: Record) -> None:
    """Puts a record in place of the one of its name."""
    records = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    write_text(RESULTS, json.dumps({**records, name: record}, indent=1, sort_keys=True) + "\n")
    print(name, json.dumps(record), flush=True)
