"""Runs the plugin's algorithms with the real fsod by ``qgis_process``, and holds what comes out against the command line.

    python -m experiments.qgis_process.same_as_typed ../shared/data/geotiff

Needs QGIS. The archive that ``fsod qgis zip`` writes goes into a fresh profile. Four tanks of one raster are enrolled and
finetuned for the least number of steps; one raster and then all are searched; a report is made. The same is typed, and layers,
banks and reports are compared. Then ``cancelling`` times what Cancel takes. Writes results.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from safetensors.numpy import load_file

from experiments.qgis_pictures.fresh_profile import fresh_profile
from fsod.qgis.find_fsod import VARIABLE

HERE = Path(__file__).parent
PROCESS, PYTHON = "qgis_process.bin", "/usr/bin/python3"
LEARNED = "oil_tanks_3857_rgba.tif"
TANKS_XYXY_PX = ((70, 40, 131, 109), (225, 46, 286, 117), (361, 99, 420, 168), (640, 195, 698, 265))
SEARCHED = (LEARNED, "bridge_vehicles_3395.tif", "cars_26913_cog.tif", "uint16_pan_4326.tif")
MINUTES = 0.05
PATIENCE_S = 1200
NOT_COMPARED = "time", "bank"
"""When it was found, and the hash of a file that is made twice."""

Record = dict[str, Any]


class Runs:
    """What is run in one working folder, by QGIS and as typed; how long each took, in seconds."""

    def __init__(self, work: Path, executable: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._work, self._executable = work, executable
        self.typed("qgis", "zip", "--out", work / "fsod_qgis.zip")
        self.profile = fresh_profile(work / "fsod_qgis.zip", work / "profiles")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        of_qgis = {"QT_QPA_PLATFORM": "offscreen", "QGIS_CUSTOM_CONFIG_PATH": str(self.profile)}
        self.environment = {**kept, **of_qgis, VARIABLE: str(executable)}

    def typed(self, *arguments: object) -> None:
        """Runs fsod itself."""
        self._run(f"fsod {arguments[0]}", [str(self._executable), *map(str, arguments)], None)

    def process(self, algorithm: str, **parameters: object) -> None:
        """Runs an algorithm; a parameter of several layers is a list."""
        given = [
            f"{name}={one}"
            for name, value in parameters.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        self._run(f"qgis_process {algorithm}", [PROCESS, "run", algorithm, "--", *given], self.environment)

    def inside(self, script: Path, *arguments: object) -> None:
        """Runs a script in QGIS's own Python."""
        self._run(script.stem, [PYTHON, str(script), str(self.profile), *map(str, arguments)], self.environment)

    def _run(self, name: str, command: list[str], environment: dict[str, str] | None) -> None:
        start = time.perf_counter()
        done = subprocess.run(
            command, env=environment, cwd=self._work, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        self.seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {self.seconds[name]} s", flush=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stdout}{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rasters", type=Path, help="the folder geotiff of the shared data")
    parser.add_argument("--fsod", type=Path, default=Path(sys.executable).with_name("fsod"), help="the executable")
    options = parser.parse_args()
    rasters = options.rasters.absolute()
    with TemporaryDirectory(dir=Path.cwd()) as folder:  # QGIS marks what lies in the system's own as passing
        work = Path(folder)
        runs = Runs(work, options.fsod.absolute())
        compared = compare_all(runs, rasters, work)
        runs.inside(HERE / "cancelling.py", work, *(rasters / name for name in SEARCHED))
        cancelled = json.loads((work / "cancelled.json").read_text())
    result = {"compared": compared, "cancelled": cancelled, "seconds": runs.seconds}
    print(json.dumps(result, indent=1))
    (HERE / "results.json").write_text(json.dumps(result, indent=1) + "\n")


def compare_all(runs: Runs, rasters: Path, work: Path) -> Record:
    """Every algorithm, once by QGIS and once as typed."""
    scene, marks = rasters / LEARNED, work / "tanks.gpkg"
    write_marks(scene, marks)
    for name in ("q", "t"):
        (work / name).mkdir()
    q, t = work / "q", work / "t"
    learn = {"SCENES": scene, "EXAMPLES": marks}
    typed = ["--scene", scene, "--examples", marks]
    runs.process("fsod:enroll", **learn, OUTPUT=q / "bank.safetensors")
    runs.typed("enroll", *typed, "--out", t / "bank.safetensors")
    runs.process("fsod:finetune", **learn, MINUTES=MINUTES, OUTPUT=q / "tanks.safetensors")
    runs.typed("finetune", *typed, "--minutes", MINUTES, "--out", t / "tanks.safetensors")
    detector = q / "tanks.safetensors"
    runs.process("fsod:find", INPUT=scene, BANK=detector, OUTPUT=q / "found.gpkg")
    runs.typed("predict", scene, "--bank", detector, "--out", t / "found.gpkg")
    scenes = [rasters / name for name in SEARCHED]
    runs.process("fsod:findmany", INPUT=scenes, BANK=detector, SCORE=0.1, FOLDER=q / "many")
    runs.typed("predict", *scenes, "--bank", detector, "--score", 0.1, "--out", f"{t}/many/{{scene}}.gpkg")
    runs.process("fsod:report", INPUT=q / "found.gpkg", OUTPUT=q / "found.html")
    runs.typed("report", t / "found.gpkg", "--out", t / "found.html")
    layers = ["found.gpkg", *(f"many/{Path(name).stem}.gpkg" for name in SEARCHED)]
    return {
        "enroll": same_tensors(q / "bank.safetensors", t / "bank.safetensors"),
        "finetune": same_tensors(q / "tanks.safetensors", t / "tanks.safetensors"),
        **{name: same_layer(q / name, t / name) for name in layers},
        "report": same_text(q / "found.html", t / "found.html"),
    }


def write_marks(scene: Path, path: Path) -> None:
    """Boxes around four tanks, in the coordinate system of their raster."""
    with rasterio.open(scene) as file:
        corners = [(file.xy(y2, x1, offset="ul"), file.xy(y1, x2, offset="ul")) for x1, y1, x2, y2 in TANKS_XYXY_PX]
        boxes = [shapely.box(*low, *high) for low, high in corners]
        geopandas.GeoDataFrame({"class": ["tank"] * len(boxes)}, geometry=boxes, crs=file.crs).to_file(path)


def same_tensors(ours: Path, typed: Path) -> Record:
    """How many tensors of two files there are, how many of them are the same, and the largest difference."""
    a, b = load_file(ours), load_file(typed)
    apart = [float(np.abs(a[name] - b[name]).max(initial=0)) for name in a.keys() & b.keys()]
    return {"tensors": len(b), "same": sum(one == 0 for one in apart), "largest_difference": max(apart)}


def same_layer(ours: Path, typed: Path) -> Record:
    """How many features the typed layer has, and of how many all columns and all corners are the same in ours."""
    a, b = (geopandas.read_file(path) for path in (ours, typed))
    kept = [name for name in b.columns if name not in NOT_COMPARED]
    alike: dict[str, Callable[[], bool]] = {
        "same_crs": lambda: a.crs == b.crs,
        "same_columns": lambda: list(a.columns) == list(b.columns),
        "same_rows": lambda: bool(a[kept].equals(b[kept])),
        "style": lambda: ours.with_suffix(".qml").read_text() == typed.with_suffix(".qml").read_text(),
    }
    return {"features": len(b), **{name: check() for name, check in alike.items()}}


def same_text(ours: Path, typed: Path) -> Record:
    """How many lines two pages have, and how many of them differ."""
    a, b = (path.read_text().splitlines() for path in (ours, typed))
    return {"lines": len(b), "different": abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False))}


if __name__ == "__main__":
    main()
