"""What a file of fsod says of itself in its header, without reading the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_LONGEST = 100 * 2**20
"""Bytes of a header; safetensors allows no more."""


def remembers_marks(path: Path) -> bool:
    """Whether ``fsod finetune --from`` can go on from a file: it is a detector that keeps what it was made from."""
    learned_from = _header(path).get("learned_from")
    return isinstance(learned_from, dict) and bool(learned_from.get("marks"))


def _header(path: Path) -> dict[str, Any]:
    """What fsod wrote beside the tensors of a safetensors file; nothing where it is none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            head = json.loads(file.read(length)) if length <= _LONGEST else {}
        known = json.loads(head["__metadata__"]["fsod"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
