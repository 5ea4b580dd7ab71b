"""Runs the commands of the quick start on two aerial photographs, and draws what they give.

    .venv/bin/python -m experiments.quick_start.run --task ../shared/data/real_tasks/cars_kit

Writes results.json here and the pictures of docs/pictures. What has been learned already (OUT/*.safetensors) is not learned again. The photographs are those of jekhor/aerial-cars-dataset at d2ed927
(KIT AIS, CC BY 3.0); `--task` is the folder that holds `images/` and their boxes, `labels.json` in COCO form.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsod.boxes import Detections, match
from fsod.draw import write_jpeg
from fsod.files import write_text
from fsod.marks import FALSE_ALARM, MISS, class_colour, draw_boxes

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / "docs/pictures"
MARKED, SEARCHED = "MOS155.png", "MOS85.png"
AREA_XYXY_PX = (380, 150, 800, 430)
"""Holds the marked vehicles; everything of the class in it is marked."""
MARK, HIT = class_colour(6), class_colour(4)
SOURCE = "KIT AIS data set, from jekhor/aerial-cars-dataset at d2ed927; CC BY 3.0; cut and drawn upon"

Boxes = NDArray[np.float64]


def labelled(task: Path, file: str) -> Boxes:
    """(n, 4) boxes x1, y1, x2, y2 in pixels of one image of the task."""
    labels = json.loads((task / "labels.json").read_text(encoding="utf-8"))
    image = next(one["id"] for one in labels["images"] if one["file_name"] == file)
    boxes = np.array([one["bbox"] for one in labels["annotations"] if one["image_id"] == image], np.float64)
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def within(boxes_xyxy_px: Boxes, area_xyxy_px: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """(n,) whose centres lie in the area."""
    centres = (boxes_xyxy_px[:, :2] + boxes_xyxy_px[:, 2:]) / 2
    return np.asarray(((centres > area_xyxy_px[:2]) & (centres < area_xyxy_px[2:])).all(axis=1))


def write_boxes(path: Path, boxes_xyxy_px: Boxes) -> None:
    """Boxes in pixels as GeoJSON without a coordinate system, y counting downwards."""
    features = [
        {
            "type": "Feature",
            "properties": {"class": "vehicle"},
            "geometry": {"type": "Polygon", "coordinates": [[[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]]]},
        }
        for x1, y1, x2, y2 in boxes_xyxy_px.tolist()
    ]
    write_text(path, json.dumps({"type": "FeatureCollection", "features": features}))


def command(*arguments: str | Path) -> None:
    """Runs fsod and shows what it says."""
    subprocess.run([sys.executable, "-m", "fsod", *map(str, arguments)], check=True)


def found_in(layer: Path) -> Detections:
    """The detections of a COCO layer."""
    annotations = json.loads(layer.read_text(encoding="utf-8"))["annotations"]
    boxes = np.array([one["bbox"] for one in annotations], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([one["score"] for one in annotations], np.float32)
    return Detections(boxes, scores, np.zeros(len(scores), np.int64))


def picture(path: Path, scene: Path, boxes: list[tuple[Boxes, tuple[int, int, int]]], cut: tuple[int, ...]) -> None:
    """A part of a scene with boxes of one colour each, as a JPEG below 150 kB."""
    shown = Image.open(scene).convert("RGB")
    everything = np.concatenate([one for one, _ in boxes]) - np.tile(cut[:2], 2)
    colours = [colour for one, colour in boxes for _ in range(len(one))]
    shown = shown.crop((cut[0], cut[1], cut[2], cut[3]))
    draw_boxes(shown, everything, colours)
    write_jpeg(path, np.asarray(shown), SOURCE)


def judged(found: Detections, truth: Boxes) -> tuple[dict[str, Any], list[tuple[Boxes, tuple[int, int, int]]]]:
    """Counts at IoU 0.5, and hits, false alarms and misses with their colours."""
    taken = match(truth, np.zeros(len(truth), np.int64), found)
    missed = truth[~np.isin(np.arange(len(truth)), taken)]
    hits, wrong = found.boxes_xyxy_px[taken >= 0], found.boxes_xyxy_px[taken < 0]
    counts = {"objects": len(truth), "right": len(hits), "wrong": len(wrong), "missed": len(missed)}
    return counts, [(missed, MISS), (wrong, FALSE_ALARM), (hits, HIT)]


def main() -> None:
    """Marks, enrolls, finetunes, searches; writes record and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/quick_start"))
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    scene, other = options.task / "images" / MARKED, options.task / "images" / SEARCHED
    everything, truth = labelled(options.task, MARKED), labelled(options.task, SEARCHED)
    in_area = everything[within(everything, AREA_XYXY_PX)]
    write_boxes(out / "marks.geojson", in_area)
    write_boxes(out / "area.geojson", np.array([AREA_XYXY_PX], np.float64))
    examples = ("--scene", scene, "--examples", out / "marks.geojson")
    record: dict[str, Any] = {"scene": MARKED, "marks": len(in_area), "searched": SEARCHED}
    area = np.array([AREA_XYXY_PX], np.float64)
    picture(PICTURES / "marks.jpg", scene, [(area, MARK), (in_area, HIT)], (350, 130, 830, 430))
    ways: dict[str, list[str | Path]] = {"enroll": [], "finetune": ["--area", out / "area.geojson"]}
    for way, more in ways.items():
        bank, layer = out / f"{way}.safetensors", out / f"{way}-found.json"
        if not bank.is_file():
            command(way, *examples, *more, "--out", bank)
        command("predict", other, "--bank", bank, "--out", layer)
        record[way], boxes = judged(found_in(layer), truth)
        with Image.open(other) as size:
            picture(PICTURES / f"{way}.jpg", other, boxes, (0, 0, size.width, size.height))
        write_text(HERE / "results.json", json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
