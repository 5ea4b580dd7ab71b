"""What a training starts from: another training's detector, or a trunk of official weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.store.any_header import read_any_header
from fsod.store.checkpoint import SHIPPED, CheckpointHeader, load_checkpoint
from fsod.store.official import initialise_trunk

Initial = Literal["shipped"] | Path
"""A file of weights, or those that come with fsod."""


def initial_file(init: Initial) -> Path:
    """The file itself."""
    return SHIPPED if init == "shipped" else init


def initialise(detector: Detector, size: str, init: Initial) -> None:
    """Loads everything that all classes share; learned rows stay as they are.

    Args:
        detector: is changed.
        size: of the detector, one of ``fsod.model_sizes``.
        init: a checkpoint of any stage, or what ``fsod weights import`` wrote, which has a trunk only.

    Raises:
        UserError: the file is neither of them, damaged, or of another size.
    """
    path = initial_file(init)
    if read_any_header(path).get("format") != CheckpointHeader.FORMAT:
        initialise_trunk(detector.trunk, size, path)
        return
    found = load_checkpoint(path)
    if found.size != size:
        raise UserError(
            f"{path}: weights of size {found.size!r}, but the run's size is {size!r}; name others, or none with init=null"
        )
    shared = {name: value for name, value in found.detector.state_dict().items() if not name.startswith("learned")}
    detector.load_state_dict(shared, strict=False)
