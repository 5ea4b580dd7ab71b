"""What fsod wrote beside the tensors of a file, read without torch: a program that only asks starts at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fsod.errors import UserError


def read_any_header(path: Path, what: str = "weights") -> dict[str, Any]:
    """What fsod wrote beside a file's tensors, nothing if somebody else wrote it; UserError if it is not ``what``."""
    if not path.is_file():
        raise UserError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected {what}")
    try:
        with safe_open(path, "np") as file:
            header = json.loads((file.metadata() or {}).get("fsod", "{}"))
    except SafetensorError as error:
        raise UserError(f"{path}: not {what}: no file that fsod wrote, or cut short ({first_line(error)})") from error
    except (OSError, ValueError, RecursionError) as error:  # JSON, or a number of too many digits
        raise UserError(f"{path}: not {what}: {first_line(error)}") from error
    if not isinstance(header, dict):
        raise UserError(f"{path}: not {what}: its header is not a JSON object")
    return header


def first_line(error: Exception) -> str:
    """The beginning of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
