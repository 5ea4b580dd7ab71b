"""The formats that a downloaded data set may have, by the names that the command line and the configuration use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from data_prep.coco import prepare_coco
from data_prep.dior import prepare_dior
from data_prep.dota import prepare_dota
from data_prep.nwpu import prepare_nwpu
from data_prep.nwpu_v2 import prepare_nwpu_v2
from data_prep.prepared import prepare_prepared
from data_prep.voc import prepare_voc, prepare_voc_edges
from data_prep.yolo import prepare_yolo

FORMATS: dict[str, Callable[..., dict[str, Any]]] = {
    "nwpu": prepare_nwpu,
    "nwpu-v2": prepare_nwpu_v2,
    "dior": prepare_dior,
    "voc": prepare_voc,
    "voc-edges": prepare_voc_edges,
    "yolo": prepare_yolo,
    "coco": prepare_coco,
    "dota": prepare_dota,
    "prepared": prepare_prepared,
}
"""Name -> function of the source folder, the folder to write and ``skip_bad=``."""
