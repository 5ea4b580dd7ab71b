"""Recall and average precision against pixels run, likeliest windows first, on sparse scenes.

    fsod data prepare nwpu NWPU runs/nwpu/data
    python -m experiments.budget.curve --data runs/nwpu/data --naip NAIP --json experiments/budget/results.json

One full run says what each window finds. Every point looks at the scene, orders the windows and merges what the first of them find,
as ``predict_scene`` does with a limit. Scenes and what the full run says stay in runs/budget.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.budget.cached import CachedDetector
from experiments.budget.scenes import RECIPES, SIDE_PX, Recipe, SparseScene, build_scene
from experiments.records import commit
from fsod.boxes import Detections, iou
from fsod.compute.device import choose_machine
from fsod.config import RunSettings
from fsod.data.coco_folder import CocoFolder, ImageRecord, load_folder, read_ids, write_json
from fsod.evaluation.average_precision import average_precision
from fsod.geo.glance import LEAST_SCORE, Glancer, glance
from fsod.geo.journal import Finished
from fsod.geo.passes import make_passes
from fsod.geo.read_ahead import Reading
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene
from fsod.geo.search import Detect, Searched, search_windows
from fsod.geo.search_tally import Tally
from fsod.geo.window_order import Limit, in_order, likeliest_windows
from fsod.inference.infer import batch_detector
from fsod.model.turned import TURNS
from fsod.progress import console
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import load_bank

WORK = Path("runs/budget")
WEIGHTS = Path("experiments/nwpu_fewshot/weights/all-k10-seed0.safetensors")
SHARES = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
WINDOW_PX, OVERLAP_PX, BATCH = 640, 160, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared folder of NWPU VHR-10")
    parser.add_argument("--naip", type=Path, required=True, help="folder of NAIP tiles")
    parser.add_argument("--scenes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    folder = load_folder(asked.data)
    scenes = {}
    for name in asked.scenes:
        recipe = RECIPES[name]
        listed = folder.select(read_ids(asked.data / "splits" / f"{recipe.split}.txt"))
        scene = build_scene(recipe, listed, asked.naip, WORK / f"{name}.tif")
        scenes[name] = measure(name, recipe, scene)
        console.print(name, scenes[name])
    write_json(asked.json, {"commit": commit(), "weights": WEIGHTS.name, "scenes": scenes})


def measure(name: str, recipe: Recipe, scene: SparseScene) -> dict[str, Any]:
    """The curve of one scene, and those of two orders that know nothing of it."""
    checkpoint = load_checkpoint(WEIGHTS)
    bank = load_bank(WEIGHTS, checkpoint.detector).select(list(recipe.classes))
    settings = RunSettings.model_validate(checkpoint.settings).evaluate
    detect, look = (
        CachedDetector(batch_detector(checkpoint, own, choose_machine(), settings, LEAST_SCORE))
        for own in (bank, replace(bank, turned=False))
    )
    glancer = Glancer(look, 1 / TURNS)
    answers = WORK / f"{name}.npz"
    detect.load(answers)
    said: dict[int, Detections] = {}

    def noting(reading: Reading, detect: Detect) -> Generator[Searched, None, None]:
        for searched in search_windows(reading, detect):
            said.update(searched.finished.found)
            yield searched

    plan = ScenePlan(WINDOW_PX, OVERLAP_PX, batch=BATCH, suppression=settings)
    full = predict_scene(scene.path, detect, plan, search=noting)
    detect.save(answers)

    def score(windows: Sequence[int], look: float = 0, *, blind: bool = False) -> dict[str, float]:
        tally = Tally.at_first(passes, asked)
        tally.take(Searched(Finished({number: said[number] for number in windows}, [])))
        return {
            "pixels": round((len(windows) + look) / len(said), 4),
            "look": round(look / len(said), 4),
            "recall": round(recall(found := tally.merged(settings.nms_iou, settings.rival_iou), scene, bank.scores), 4),
            **({} if blind else {"ap50": round(ap50(found, scene, recipe), 4)}),
        }

    with open_scene(scene.path) as opened:
        passes = make_passes(opened, WINDOW_PX, OVERLAP_PX, ())
        grid = passes[0].grid
        asked = np.ones(len(grid), np.bool_)
        whole = list(range(len(grid)))
        even = in_order(grid, np.arange(len(grid)), None).tolist()
        reading = Reading(opened, grid, (), BATCH, WINDOW_PX, skip_damaged=False)
        likeliest = []
        for share in SHARES:
            seen = glance(reading, glancer, None, Limit(share=share), len(grid))
            (turn,) = likeliest_windows(passes, asked, asked, Limit(share=share), seen)
            likeliest.append(
                {
                    "share": share,
                    **score(turn.indices, 0 if seen is None else seen.cost),
                }
            )
    counts = [int(share * len(grid)) for share in SHARES]
    return {
        "objects": len(scene.class_ids),
        "object_share": round(scene.object_share, 4),
        "windows": full.windows_run,
        "full": score(whole),
        "likeliest": likeliest,
        "evenly": [score(even[:count], blind=True) for count in counts],
        "rows": [score(whole[:count], blind=True) for count in counts],
    }


def recall(found: Detections, scene: SparseScene, scores: tuple[float, ...]) -> float:
    """Share of objects that a detection of their class fits by half or more, from the bank's own score on."""
    shown = found.select(found.scores >= np.array(scores)[found.class_ids])
    fits = iou(scene.boxes_xyxy_px, shown.boxes_xyxy_px) >= 0.5
    fits &= scene.class_ids[:, None] == shown.class_ids
    return float(fits.any(axis=1).mean())


def ap50(found: Detections, scene: SparseScene, recipe: Recipe) -> float:
    """COCO's average precision at IoU 0.5, mean over the classes that the scene shows."""
    boxes = scene.boxes_xyxy_px
    numbers = np.arange(1, len(boxes) + 1)
    image = ImageRecord(1, scene.path, scene.path.stem, SIDE_PX, SIDE_PX, boxes, scene.class_ids, numbers)
    folder = CocoFolder(scene.path.parent, recipe.classes, (image,), "")
    return average_precision(folder, {1: found}, list(recipe.classes), ()).all_map50 or 0.0


if __name__ == "__main__":
    main()
