"""Five wind turbines marked on one drawn scene: enroll, finetune, and look for all of them on another.

    python -m experiments.five_turbines.story

Every step is a command of its own, as an analyst types it, with the weights that come with fsod; times are wall times,
starting Python included. Writes ``results.json`` and ``found.jpg`` beside this file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import xy
from shapely.geometry import Polygon

from data_prep.synthetic import load_spec, make_scenes
from experiments.vehicles_story.story import run
from fsod.boxes import Detections, match
from fsod.data.coco import CocoFolder, load_folder, read_ids, write_json
from fsod.engine.device import choose_machine
from fsod.geo.scene import open_dataset

HERE = Path(__file__).parent
OUT = Path("runs/five_turbines")
CLASS, MARKED = "wind_turbine", 5
PICTURE_PX = 1024


def main() -> None:
    """Runs the story."""
    marked, other = (large_scene(OUT / name, seed) for name, seed in (("marked", 1), ("other", 2)))
    examples = OUT / "five.geojson"
    write_examples(marked, examples)
    steps: dict[str, Any] = {}
    for step in ("enroll", "finetune"):
        bank, layer = OUT / f"{step}.safetensors", OUT / f"{step}.geojson"
        scene = ("--scene", marked.images[0].path, "--examples", examples)
        steps[step] = run(step, *scene, "--out", bank)
        found = run("predict", other.images[0].path, "--bank", bank, "--out", layer)
        steps[step] |= {"predict_wall_s": found["wall_s"], **compare(other, layer)}
    write_json(HERE / "results.json", {"machine": str(choose_machine()), **steps})
    with Image.open(layer.with_suffix(".png")) as picture:
        small = picture.convert("RGB")
        small.thumbnail((PICTURE_PX, PICTURE_PX))
        small.save(HERE / "found.jpg", quality=80)
    print(json.dumps(steps, indent=1))


def large_scene(where: Path, seed: int) -> CocoFolder:
    """The one large scene of the demo's specification, drawn from another seed."""
    spec = load_spec(Path("data_prep/scenes/demo.yaml"))
    make_scenes(spec.model_copy(update={"seed": seed, "train_images": 1, "test_images": 1}), where)
    folder = load_folder(where)
    return folder.select(read_ids(where / "splits" / "scene.txt"))


def boxes_of(folder: CocoFolder) -> NDArray[np.float64]:
    """Boxes (n, 4) of the class in the one image, xyxy in pixels."""
    image = folder.images[0]
    return image.boxes_xyxy_px[image.class_ids == folder.class_names.index(CLASS)]


def write_examples(folder: CocoFolder, path: Path) -> None:
    """The first boxes as polygons of longitude and latitude with an attribute ``class``, as QGIS saves them."""
    with open_dataset(str(folder.images[0].path)) as scene:
        corners = [
            [xy(scene.transform, y, x, offset="ul") for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
            for x1, y1, x2, y2 in boxes_of(folder)[:MARKED]
        ]
        layer = gpd.GeoDataFrame({"class": CLASS}, index=range(MARKED), geometry=[Polygon(c) for c in corners])
        layer.set_crs(scene.crs).to_crs("EPSG:4326").to_file(path, driver="GeoJSON")


def compare(folder: CocoFolder, layer: Path) -> dict[str, int]:
    """How many objects there are, how many were found at IoU 0.5, and how many boxes are on none."""
    found = [feature["properties"] for feature in json.loads(layer.read_text())["features"]]
    boxes = np.array([[f[key] for key in ("x1_px", "y1_px", "x2_px", "y2_px")] for f in found]).reshape(-1, 4)
    detections = Detections(boxes, np.array([f["score"] for f in found], np.float32), np.zeros(len(found), np.int64))
    truth = boxes_of(folder)
    hits = int((match(truth, np.zeros(len(truth), np.int64), detections) >= 0).sum())
    return {"objects": len(truth), "hits": hits, "false_alarms": len(found) - hits}


if __name__ == "__main__":
    main()
