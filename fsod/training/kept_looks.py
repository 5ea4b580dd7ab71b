"""What looks at scenes have said, kept for a run that goes on after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsod.data.mark_views import View
from fsod.files import write_bytes


def keep_looks(path: Path, views: Sequence[View]) -> None:
    """Writes what ``look`` made of views, but for their pixels."""
    parts: dict[str, NDArray[Any]] = {}
    for i, view in enumerate(views):
        parts |= {
            f"boxes{i}": view.boxes_xyxy_px,
            f"classes{i}": view.class_ids,
            f"marks{i}": view.mark_ids,
            f"known{i}": np.packbits(view.known),
        }
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **parts)
    write_bytes(path, buffer.getvalue())


def kept_looks(path: Path, views: Sequence[View]) -> list[View]:
    """The views as they were looked at.

    Args:
        path: what ``keep_looks`` wrote.
        views: that were looked at.
    """
    with np.load(path, allow_pickle=False) as kept:
        return [
            replace(
                view,
                boxes_xyxy_px=kept[f"boxes{i}"],
                class_ids=kept[f"classes{i}"],
                mark_ids=kept[f"marks{i}"],
                known=np.unpackbits(kept[f"known{i}"], count=view.known.size)
                .reshape(view.known.shape)
                .astype(np.bool_),
            )
            for i, view in enumerate(views)
        ]
