"""Five wind turbines marked on one drawn scene: enroll, finetune, and look for all of them on another.

    python -m experiments.five_turbines.story

Every step is a command of its own, as an analyst types it, with the weights that come with fsod; times are wall times,
starting Python included. Writes ``results.json`` and ``found.jpg`` beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.synthetic import load_spec, make_scenes
from experiments.vehicles_story.story import run
from fsod.boxes import Detections, match
from fsod.compute.device import choose_machine
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids, write_json
from fsod.report.found_layer import read_found

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
    for step, more in (("enroll", ()), ("finetune", ("--part", "rows"))):
        bank, layer = OUT / f"{step}.safetensors", OUT / f"{step}.geojson"
        scene = ("--scene", marked.images[0].path, "--examples", examples)
        steps[step] = run(step, *scene, *more, "--out", bank)
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
    """The first of the boxes that were drawn, in longitude and latitude with an attribute ``class``, as QGIS saves them."""
    drawn = gpd.read_file(folder.root / f"{folder.images[0].path.stem}.geojson")
    drawn.loc[drawn["class"] == CLASS, ["class", "geometry"]][:MARKED].to_file(path, driver="GeoJSON")


def compare(folder: CocoFolder, layer: Path) -> dict[str, int]:
    """How many objects there are, how many were found at IoU 0.5, and how many boxes are on none."""
    found = read_found(layer)
    of_class = np.zeros(len(found.scores), np.int64)
    detections = Detections(found.boxes_xyxy_px, found.scores.astype(np.float32), of_class)
    truth = boxes_of(folder)
    hits = int((match(truth, np.zeros(len(truth), np.int64), detections) >= 0).sum())
    return {"objects": len(truth), "hits": hits, "false_alarms": len(found.scores) - hits}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
