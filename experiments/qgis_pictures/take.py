"""Takes a picture of QGIS with the plugin: what was found on a scene, and the dock that judges it.

    python -m experiments.qgis_pictures.take ../shared/data/real_tasks/cars_kit

Needs QGIS and Xvfb. All vehicles of one picture of the task are marked, fsod learns them, and QGIS, with the plugin's archive
in a fresh profile, searches another picture, judges some of what is found by its keys, and shows the next.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory

import shapely
from geopandas import GeoDataFrame
from PIL import Image

from experiments.page_pictures import webp_within
from experiments.qgis_pictures.fresh_profile import fresh_profile
from fsod.qgis.plugin_archive import FOLDER, executable_here, write_archive

HERE = Path(__file__).parent
SUPPORT, SEARCHED = "MOS155.png", "MOS85.png"
SIZE_PX = 1400, 860
MINUTES = 1
PATIENCE_S = 900
MOST_BYTES = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", type=Path, help="the folder of the task cars_kit")
    parser.add_argument("--detector", type=Path, help="of vehicles, that is there already")
    options = parser.parse_args()
    task = options.task.absolute()
    with TemporaryDirectory(dir=Path.cwd()) as folder:  # QGIS marks what lies in the system's own as passing
        work = Path(folder)
        detector = work / "vehicles.safetensors"
        if options.detector is None:
            learn(task, work, detector)
        else:
            copy(options.detector, detector)
        picture = work / "qgis.png"
        show(work, task / "images" / SEARCHED, detector, picture)
        (HERE / "judge.webp").write_bytes(webp_within(Image.open(picture), MOST_BYTES))


def learn(task: Path, work: Path, detector: Path) -> None:
    """From all that one picture shows."""
    area, marks = write_marks(task, work)
    given: list[str | Path] = [
        "--scene",
        task / "images" / SUPPORT,
        "--examples",
        marks,
        "--area",
        area,
        "--minutes",
        str(MINUTES),
    ]
    subprocess.run([sys.executable, "-m", "fsod", "finetune", *given, "--out", detector], check=True)


def write_marks(task: Path, work: Path) -> tuple[Path, Path]:
    """Files of the area and of all marks of the picture to learn from, in its pixels."""
    labels = json.loads((task / "labels.json").read_text())
    image = next(one for one in labels["images"] if one["file_name"] == SUPPORT)
    boxes = [one["bbox"] for one in labels["annotations"] if one["image_id"] == image["id"]]
    shapes = [shapely.box(x, y, x + width, y + height) for x, y, width, height in boxes]
    whole = shapely.box(0, 0, image["width"], image["height"])
    area, marks = work / "area.gpkg", work / "vehicles.gpkg"
    GeoDataFrame(geometry=[whole]).to_file(area)
    GeoDataFrame({"class": ["vehicle"] * len(shapes)}, geometry=shapes).to_file(marks)
    return area, marks


def show(work: Path, scene: Path, detector: Path, picture: Path) -> None:
    """Lets QGIS find and judge, and take the picture of itself."""
    archive = work / "fsod_qgis.zip"
    write_archive(archive, executable_here())
    profile = fresh_profile(archive, work / "profile")
    told = {"scene": scene, "detector": detector, "layer": work / "found.gpkg", "picture": picture}
    (work / "told.json").write_text(json.dumps({key: str(path) for key, path in told.items()}))
    size = f"{SIZE_PX[0]}x{SIZE_PX[1]}x24"
    qgis = ["qgis.bin", "--nologo", "--noversioncheck", "--profiles-path", str(profile)]
    environment = {**os.environ, "FSOD_TOLD": str(work / "told.json"), "FSOD_PLUGIN": FOLDER}
    subprocess.run(
        ["xvfb-run", "-a", "-s", f"-screen 0 {size}", *qgis, "--code", str(HERE / "inside.py")],
        env=environment,
        timeout=PATIENCE_S,
        check=True,
    )


if __name__ == "__main__":
    main()
