"""Five vehicles marked on one picture: enroll, finetune, with an area too, judge twenty detections, finetune again; look for the rest.

    python -m experiments.vehicles_story.story --scene bridge_vehicles_3395.tif --other cars_26913_cog.tif

Every step is a command of its own, as an analyst types it; times are wall times, starting Python included. What is
found on the parking lot is compared with the vehicles marked there by eye, the five examples left out. The verdicts are on what
the detector of the area finds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fsod.boxes import Detections, iou, match
from fsod.compute.device import choose_machine
from fsod.data.coco_folder import write_json
from fsod.geo.labels import read_boxes
from fsod.geo.scene_opening import open_scene
from fsod.report.found_layer import read_found
from fsod.store.checkpoint import SHIPPED

HERE = Path(__file__).parent
SCATTERED, ADJACENT = HERE / "five_vehicles.geojson", HERE / "five_in_area.geojson"
AREA = ("--area", HERE / "area.geojson")
WAYS = (
    ("enroll", "enroll", "enrolled", SCATTERED, ()),
    ("finetune", "finetune", "finetuned", SCATTERED, ()),
    ("finetune, area", "finetune", "with_area", ADJACENT, AREA),
)
"""What a step is called, its command, its files, its examples and what else it is told."""


def main() -> None:
    """Runs the story and writes ``story.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, required=True, help="bridge_vehicles_3395.tif")
    parser.add_argument("--other", type=Path, required=True, help="cars_26913_cog.tif")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--out", type=Path, default=Path("runs/vehicles_story"))
    chosen = parser.parse_args()
    steps: dict[str, Any] = {}
    for step, command, name, examples, more in WAYS:
        bank = chosen.out / f"{name}.safetensors"
        marked = ("--scene", chosen.scene, "--examples", examples, *more, "--checkpoint", chosen.checkpoint)
        steps[step] = run(command, *marked, "--out", bank)
        look(step, name, bank, examples, chosen, steps)
    judged = chosen.out / "judged.geojson"
    # low enough that there is something to say yes to below the proposed score
    run("predict", chosen.scene, "--bank", bank, "--out", judged, "--aoi", HERE / "lot.geojson", "--score", "0.05")
    answers = judge(judged, chosen.scene)
    again = chosen.out / "again.safetensors"
    steps["finetune, verdicts"] = run("finetune", "--from", bank, "--verdicts", judged, "--out", again) | answers
    look("finetune, verdicts", "again", again, ADJACENT, chosen, steps)
    record = {"checkpoint": chosen.checkpoint.name, "machine": str(choose_machine()), "steps": steps}
    write_json(chosen.out / "story.json", record)
    print(json.dumps({step: {k: v for k, v in said.items() if k in SHOWN} for step, said in steps.items()}, indent=1))


def look(step: str, name: str, bank: Path, examples: Path, chosen: argparse.Namespace, steps: dict[str, Any]) -> None:
    """Searches both scenes, and the lot for everything that has any score, and notes what came of it under ``step``."""
    for searched, where in ((chosen.scene, "scene"), (chosen.other, "other")):
        layer = chosen.out / f"{name}_{where}.geojson"
        steps[f"predict, {name}, {where}"] = run("predict", searched, "--bank", bank, "--out", layer)
    lot = chosen.out / f"{name}_lot.geojson"
    run("predict", chosen.scene, "--bank", bank, "--out", lot, "--aoi", HERE / "lot.geojson", "--score", "0.005")
    steps[step]["lot"] = compare(lot, chosen.scene, examples, steps[step]["scores"].get("vehicle"))


def judge(layer: Path, scene: Path) -> dict[str, int]:
    """Gives the first twenty detections in the order of ``ask`` their true verdicts."""
    with open_scene(scene) as opened:
        truth = read_boxes(HERE / "lot_vehicles.geojson", "class", opened).boxes_xyxy_px
    content = json.loads(layer.read_text())
    first = sorted(content["features"], key=lambda feature: feature["properties"]["ask"])[:VERDICTS]
    boxes = read_found(layer).boxes_xyxy_px
    hit = iou(boxes, truth).max(1) >= 0.5
    place = {id(feature): i for i, feature in enumerate(content["features"])}
    for feature in first:
        feature["properties"]["verdict"] = "yes" if hit[place[id(feature)]] else "no"
    layer.write_text(json.dumps(content))
    yes = sum(feature["properties"]["verdict"] == "yes" for feature in first)
    return {"yes": yes, "no": len(first) - yes}


VERDICTS = 20
SHOWN = ("wall_s", "scores", "lot", "found", "yes", "no")


def run(*arguments: str | Path) -> dict[str, Any]:
    """One command, what it reported, and how long it took."""
    command = [sys.executable, "-m", "fsod", *map(str, arguments)]
    out = Path(command[command.index("--out") + 1])
    report = out.with_suffix(".report.json")
    started = time.perf_counter()
    subprocess.run([*command, "--json", str(report)], check=True, stdout=subprocess.DEVNULL)
    wall_s = round(time.perf_counter() - started, 1)
    said: dict[str, Any] = json.loads(report.read_text())
    return {"wall_s": wall_s, **{key: value for key, value in said.items() if key in ("seconds", "scores", "found")}}


def compare(layer: Path, scene: Path, marks: Path, proposed: float | None) -> dict[str, Any]:
    """Precision, recall and F1 at IoU 0.5 on the lot: at the usual score, at the proposed, and at the best there is."""
    with open_scene(scene) as opened:
        truth = read_boxes(HERE / "lot_vehicles.geojson", "class", opened).boxes_xyxy_px
        examples = read_boxes(marks, "class", opened).boxes_xyxy_px
    found = read_found(layer)
    boxes, scores = found.boxes_xyxy_px, found.scores.astype(np.float32)
    taken = match(truth, np.zeros(len(truth), np.int64), Detections(boxes, scores, np.zeros(len(scores), np.int64)))
    shown_before = np.array([np.abs(examples - box).max(1).min() < 1 for box in truth])
    counts = ~shown_before[taken] | (taken < 0)
    scores, right, objects = scores[counts], taken[counts] >= 0, int((~shown_before).sum())

    def at(score: float) -> dict[str, float]:
        shown = scores >= score
        hits = int(right[shown].sum())
        values = hits / max(shown.sum(), 1), hits / objects, 2 * hits / (shown.sum() + objects)
        return dict(zip(("precision", "recall", "f1"), (round(float(v), 3) for v in values), strict=True))

    best = max(scores.tolist(), key=lambda score: at(score)["f1"], default=1.0)
    result = {"objects": objects, "at_0.25": at(0.25), "best_score": round(best, 4), "at_best": at(best)}
    return result if proposed is None else {**result, "at_proposed": at(proposed)}


if __name__ == "__main__":
    main()
