"""The picture of examples that lies beside a bank or a detector, each under its class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsod.draw import contact_sheet, write_png
from fsod.inference.enrollment import Examples

SHEET_MARK = "fsod examples"
"""Text of these pictures, by which fsod knows them again."""


def write_sheet(path: Path, pictures: Sequence[tuple[NDArray[np.uint8], str]], columns: int = 8) -> None:
    """Writes pictures (H, W, 3) uint8 RGB, each under its class, as one PNG."""
    sheet = contact_sheet([rgb for rgb, _ in pictures], [name for _, name in pictures], columns=columns)
    write_png(path, sheet, SHEET_MARK)


def write_examples(path: Path, examples: Examples, columns: int = 8) -> None:
    """The same of support crops."""
    write_sheet(path, [(crop.rgb, name) for name, crops in examples.items() for crop in crops], columns)
