"""Few-shot object detection in aerial and satellite imagery.

Importing the package sets the switches below before any library reads them: nothing is sent or fetched over the
network unless a download was asked for, ultralytics must not reduce torch to one thread, and threads that wait leave their core
to others (GNU's OpenMP is told while it runs, see ``fsod.compute.waiting_threads``).
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fsod.about import __version__

if TYPE_CHECKING:
    from fsod.boxes import Detections
    from fsod.config import PredictSettings
    from fsod.errors import UserError
    from fsod.library import Detector, load

_OFFLINE = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "YOLO_CONFIG_DIR": os.path.expanduser("~/.cache/fsod"),  # noqa: PTH111, pathlib's raises where there is no home
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # drivers of GDAL that talk to servers or start programs, whatever a file that claims to be a raster or a layer asks for
    "GDAL_SKIP": "ADBC,AmigoCloud,Carto,CSW,EEDA,EEDAI,Elasticsearch,GDALG,GPSBabel,HTTP,NGW,OAPIF,OGCAPI,PLMOSAIC,PLSCENES,"
    "STACIT,STACTA,WCS,WFS,WMS,WMTS",
    # ultralytics sets this to 1 when it is unset
    "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
}

for _key, _value in _OFFLINE.items():
    os.environ.setdefault(_key, _value)
# threads of Intel's and LLVM's OpenMP sleep while they wait, unless the user has said how to wait
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ.setdefault("KMP_BLOCKTIME", "0")
# `import openvino` sends an event to a server, and no variable keeps it from that; without this package it does not
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__all__ = ["Detections", "Detector", "PredictSettings", "UserError", "__version__", "load"]
"""What is public; all else may change with any version."""

_HOMES = {
    "Detections": "fsod.boxes",
    "Detector": "fsod.library",
    "PredictSettings": "fsod.config",
    "UserError": "fsod.errors",
    "load": "fsod.library",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401, as many kinds as names
    """A public name, imported when it is first asked for: ``import fsod`` itself takes no library."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fsod' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
