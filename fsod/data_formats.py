"""The formats that a data set may have: the one place to add one. Configuration, command line and splits are derived from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from fsod.errors import nearest

DRAWN = "synthetic"
"""What is drawn by a specification and read from nowhere."""


@dataclass(frozen=True)
class DataFormat:
    """How a data set is read.

    Attributes:
        reader: module and function, imported when it is used: this floor knows none of them. It takes the source folder, the
            folder to write and ``skip_bad=``, and returns the card.
        splits: folder of named splits under ``data_prep/splits``; empty for a format that is no one data set.
    """

    reader: str
    splits: str = ""


DATA_FORMATS = {
    "nwpu": DataFormat("data_prep.nwpu:prepare_nwpu", "nwpu_vhr10"),
    "nwpu-v2": DataFormat("data_prep.nwpu_v2:prepare_nwpu_v2", "nwpu_vhr10"),
    "dior": DataFormat("data_prep.dior:prepare_dior", "dior"),
    "voc": DataFormat("data_prep.voc:prepare_voc"),
    "voc-edges": DataFormat("data_prep.voc:prepare_voc_edges"),
    "yolo": DataFormat("data_prep.yolo:prepare_yolo"),
    "coco": DataFormat("data_prep.coco:prepare_coco"),
    "dota": DataFormat("data_prep.dota:prepare_dota"),
    "prepared": DataFormat("data_prep.prepared:prepare_prepared"),
}


def _known(name: str) -> str:
    known = (DRAWN, *DATA_FORMATS)
    if name not in known:
        raise ValueError(f"unknown format{nearest(name, known)}; known: {', '.join(known)}")
    return name


FormatName = Annotated[str, AfterValidator(_known)]
"""Of the settings of a run."""
