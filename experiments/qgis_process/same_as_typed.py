"""Runs the plugin's algorithms with the real fsod by ``qgis_process``, and holds what comes out against the command line.

    python -m experiments.qgis_process.same_as_typed ../shared/data/geotiff

Needs QGIS. The archive that ``fsod qgis zip`` writes goes into a fresh profile. Four tanks of one raster are enrolled and
finetuned for the least number of steps; one raster and then all are searched; a report is made. The same is typed, with the
detector that QGIS has made, and bank, layers and report are compared. Then ``cancelling`` times what Cancel takes. What the
working folder has already is not made again. Writes results.json beside this file.
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
LEAST_SCORE = 0.1
CANCELLED = "finetune", "find", "findmany"
PATIENCE_S = 3600
NOT_COMPARED = ("time",)
"""When it was found."""

Record = dict[str, Any]


class Runs:
    """What is run in one working folder, by QGIS and as typed; how long each took, in seconds."""

    def __init__(self, work: Path, executable: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._work, self._executable = work, executable
        self.profile = work / "profiles"
        if not self.profile.exists():
            self.typed(work / "fsod_qgis.zip", "qgis", "zip", "--out", work / "fsod_qgis.zip")
            fresh_profile(work / "fsod_qgis.zip", self.profile)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        of_qgis = {"QT_QPA_PLATFORM": "offscreen", "QGIS_CUSTOM_CONFIG_PATH": str(self.profile)}
        self.environment = {**kept, **of_qgis, VARIABLE: str(executable)}

    def typed(self, out: Path, *arguments: object) -> None:
        """Runs fsod itself, unless what it makes is there."""
        self._run(f"fsod {arguments[0]}", [str(self._executable), *map(str, arguments)], None, out)

    def process(self, out: Path, algorithm: str, **parameters: object) -> None:
        """Runs an algorithm, unless what it makes is there; a parameter of several layers is a list."""
        given = [
            f"{name}={one}"
            for name, value in parameters.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        self._run(f"qgis_process {algorithm}", [PROCESS, "run", algorithm, "--", *given], self.environment, out)

    def inside(self, out: Path, script: Path, *arguments: object) -> None:
        """Runs a script in QGIS's own Python, unless what it makes is there."""
        self._run(script.stem, [PYTHON, str(script), str(self.profile), *map(str, arguments)], self.environment, out)

    def _run(self, name: str, command: list[str], environment: dict[str, str] | None, out: Path) -> None:
        if out.exists():
            return
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
    parser.add_argument("work", type=Path, help="a folder to work in, not in the system's own for passing files")
    parser.add_argument("--fsod", type=Path, default=Path(sys.executable).with_name("fsod"), help="the executable")
    options = parser.parse_args()
    rasters, work = options.rasters.absolute(), options.work.absolute()
    for name in ("q", "t"):  # made by QGIS, and typed
        (work / name).mkdir(parents=True, exist_ok=True)
    runs = Runs(work, options.fsod.absolute())
    learn(runs, rasters / LEARNED, work)
    scenes = [rasters / name for name in SEARCHED]
    for qgis in (True, False):
        find(runs, scenes, work, qgis=qgis)
    for name in CANCELLED:  # alone, as what shares the machine with it takes longer to stop
        cancel(runs, scenes, work, name)
    result = {
        "compared": compare(work),
        "cancelled": {name: json.loads((work / f"cancelled_{name}.json").read_text()) for name in CANCELLED},
        "seconds": runs.seconds,
    }
    print(json.dumps(result, indent=1))
    (HERE / "results.json").write_text(json.dumps(result, indent=1) + "\n")


def learn(runs: Runs, scene: Path, work: Path) -> None:
    """Enrolls in both ways, and finetunes in QGIS."""
    marks, detector = work / "tanks.gpkg", work / "q" / "tanks.safetensors"
    if not marks.exists():
        write_marks(scene, marks)
    for folder in (work / "q", work / "t"):
        bank = folder / "bank.safetensors"
        if folder.name == "q":
            runs.process(bank, "fsod:enroll", SCENES=scene, EXAMPLES=marks, OUTPUT=bank)
        else:
            runs.typed(bank, "enroll", "--scene", scene, "--examples", marks, "--out", bank)
    runs.process(detector, "fsod:finetune", SCENES=scene, EXAMPLES=marks, MINUTES=MINUTES, OUTPUT=detector)


def find(runs: Runs, scenes: list[Path], work: Path, *, qgis: bool) -> None:
    """Searches one raster, makes its report, and searches all."""
    detector, here = work / "q" / "tanks.safetensors", work / ("q" if qgis else "t")
    found, page, many = here / "found.gpkg", here / "found.html", here / "many"
    if qgis:
        runs.process(found, "fsod:find", INPUT=scenes[0], BANK=detector, OUTPUT=found)
        runs.process(page, "fsod:report", INPUT=found, OUTPUT=page)
        runs.process(many, "fsod:findmany", INPUT=scenes, BANK=detector, SCORE=LEAST_SCORE, FOLDER=many)
    else:
        runs.typed(found, "predict", scenes[0], "--bank", detector, "--out", found)
        runs.typed(page, "report", found, "--out", page)
        pattern = many / "{scene}.gpkg"
        runs.typed(many, "predict", *scenes, "--bank", detector, "--score", LEAST_SCORE, "--out", pattern)


def cancel(runs: Runs, scenes: list[Path], work: Path, algorithm: str) -> None:
    """Cancels an algorithm in the middle of its work."""
    runs.inside(work / f"cancelled_{algorithm}.json", HERE / "cancelling.py", work, algorithm, *scenes)


def compare(work: Path) -> Record:
    """What QGIS has made with what was typed."""
    q, t = work / "q", work / "t"
    layers = ["found.gpkg", *(f"many/{Path(name).stem}.gpkg" for name in SEARCHED)]
    return {
        "enroll": same_tensors(q / "bank.safetensors", t / "bank.safetensors"),
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
