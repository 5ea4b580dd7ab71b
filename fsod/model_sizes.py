"""The sizes of a detector: the one place to add one. Network, configuration and checks of files are derived from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

from fsod.errors import nearest


@dataclass(frozen=True)
class TrunkSize:
    """Backbone and neck of a size.

    Attributes:
        graph: which of YOLOv7's published graphs, see ``fsod.model.yolov7``.
        width: channels in shares of the published ones.
    """

    graph: Literal["yolov7", "yolov7-tiny"]
    width: float = 1.0


SIZES = {
    "nano": TrunkSize("yolov7-tiny", 0.5),
    "yolov7-tiny": TrunkSize("yolov7-tiny"),
    "yolov7": TrunkSize("yolov7"),
}


def _known(name: str) -> str:
    if name not in SIZES:
        raise ValueError(f"unknown size{nearest(name, SIZES)}; known: {', '.join(SIZES)}")
    return name


SizeName = Annotated[str, AfterValidator(_known)]
"""Of the settings of a training."""
