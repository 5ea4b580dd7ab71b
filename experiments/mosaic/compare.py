"""Windows over a mosaic of real test images against one pass over each image: accuracy, doubles, losses.

    .venv/bin/python -m experiments.mosaic.compare --data runs/nwpu/data --bank runs/nwpu/k10-seed0/bank.safetensors

Writes runs/mosaic/scene.tif and, beside this file, results.json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from experiments.mosaic.build import Mosaic, build_mosaic
from experiments.mosaic.seams import leave_out_large, seam_errors, seen, small_objects
from fsod.boxes import Detections
from fsod.compute.device import choose_machine
from fsod.config import RunSettings
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids, write_json
from fsod.evaluation.average_precision import average_precision
from fsod.evaluation.shown_images import detect_folder
from fsod.geo.merge import SeamMerger
from fsod.geo.resume import ResumeFrom
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene
from fsod.geo.windows import Grid, window_grid
from fsod.inference.infer import BatchDetector, batch_detector
from fsod.progress import console, progress_bar
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import checkpoint_of, load_bank

HERE = Path(__file__).parent
SCENE = Path("runs/mosaic/scene.tif")
WINDOWS_PX, OVERLAPS_PX = (448, 640, 896), (96, 160, 224)
FLOOR, SURE = 0.005, 0.25  # scores: the least for average precision, and fsod's default for what is written
BATCH = 4
COMMON = 10  # objects of a class, below which a single one moves the mean over classes by more than what is asked here
AROUND_PX = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--list", default="test", help="list of image ids under splits/")
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, help="the weights, if not where the bank says")
    parser.add_argument("--windows-px", type=int, nargs="+", default=WINDOWS_PX)
    parser.add_argument("--overlaps-px", type=int, nargs="+", default=OVERLAPS_PX)
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    asked = parser.parse_args()
    folder = load_folder(asked.data).select(read_ids(asked.data / "splits" / f"{asked.list}.txt"))
    mosaic = build_mosaic(folder, SCENE)
    checkpoint = load_checkpoint(asked.checkpoint or checkpoint_of(asked.bank))
    bank = load_bank(asked.bank, checkpoint.detector)
    settings = RunSettings.model_validate(checkpoint.settings).evaluate
    detect = batch_detector(checkpoint, bank, choose_machine(), settings, FLOOR)
    with progress_bar("images", len(folder.images)) as bar:
        one_pass = detect_folder(folder, detect, bar.advance)
    with progress_bar("images in the scene", len(folder.images)) as bar:
        in_scene = detect_in_scene(mosaic, detect, bar.advance)
    runs = []
    for window_px in asked.windows_px:
        for overlap_px in asked.overlaps_px:
            runs.append(
                measure(mosaic, folder, list(bank.class_names), one_pass, in_scene, detect, window_px, overlap_px)
            )
            console.print(json.dumps(runs[-1]))
    console.print(as_table(runs))
    write_json(
        asked.out,
        {
            "machine": str(detect.machine),
            "scene_px": [mosaic.width_px, mosaic.height_px],
            "images": len(folder.images),
            "score": SURE,
            "runs": runs,
        },
    )


def as_table(runs: list[dict[str, Any]]) -> str:
    """The runs as a Markdown table."""
    lines = [
        "| window | overlap | objects | one pass | windows | replayed | in scene, common | windows, common "
        + "| twice | lost | gained | dropped |",
        "|---" * 12 + "|",
    ]
    for run in runs:
        ap50, seams = run["ap50"], run["seams"].values()
        counts = [sum(place[what] for place in seams) for what in ("twice", "lost", "gained", "dropped")]
        scores = [f"{ap50[kind]:.4f}" for kind in ("one_pass", "windows", "replayed")]
        scores += [f"{run['ap50_common'][kind]:.4f}" for kind in ("in_scene", "windows")]
        lines.append(
            "| " + " | ".join(map(str, (run["window_px"], run["overlap_px"], run["objects"], *scores, *counts))) + " |"
        )
    return "\n".join(lines)


def measure(
    mosaic: Mosaic,
    folder: CocoFolder,
    names: list[str],
    one_pass: dict[int, Detections],
    in_scene: dict[int, Detections],
    detect: BatchDetector,
    window_px: int,
    overlap_px: int,
) -> dict[str, Any]:
    """One window size and overlap: windows against one pass over each image, of objects that fit the overlap.

    ``in_scene`` is a pass over each image with what surrounds it in the scene: what a change of surroundings alone does.
    """
    grid = window_grid(mosaic.width_px, mosaic.height_px, window_px, overlap_px)
    merger = SeamMerger(detect.settings.nms_iou, detect.settings.rival_iou)
    journal = mosaic.path.with_suffix(".journal")
    journal.unlink(missing_ok=True)
    with progress_bar(f"windows {window_px}/{overlap_px}", 0) as bar:
        result = predict_scene(
            mosaic.path,
            detect,
            ScenePlan(
                window_px=window_px,
                overlap_px=overlap_px,
                batch=BATCH,
                suppression=detect.settings,
            ),
            resume=ResumeFrom(journal),
            on_progress=bar.of,
        )
    by_window, _ = mosaic.to_images(as_windows_say(journal, grid))
    windowed, between = mosaic.to_images(result.detections)
    # merging without the network: windows that say what the one pass says
    scene = mosaic.to_scene(one_pass)
    for window in grid:
        merger.add(window, seen(scene, window))
    replayed, _ = mosaic.to_images(merger.result())

    known = small_objects(folder, overlap_px)
    scores = {
        kind: average_precision(known, leave_out_large(folder, found, overlap_px, names), names, ())
        for kind, found in (
            ("one_pass", one_pass),
            ("windows", windowed),
            ("replayed", replayed),
            ("in_scene", in_scene),
        )
    }
    present = Counter(known.class_names[i] for image in known.images for i in image.class_ids[~image.difficult])
    common = [name for name in names if present[name] >= COMMON]
    return {
        "window_px": window_px,
        "overlap_px": overlap_px,
        "windows": result.windows_run,
        "objects": present.total(),
        "ap50": {kind: found.all_map50 for kind, found in scores.items()},
        "ap50_common": {
            kind: fmean(found.per_class_ap50[name] or 0.0 for name in common) for kind, found in scores.items()
        },
        "ap50_of_class": {kind: found.per_class_ap50 for kind, found in scores.items()},
        "objects_of_class": present,
        "between_images": int(between),
        "seams": seam_errors(mosaic, known, grid, one_pass, windowed, by_window, names, SURE),
        "seams_in_scene": seam_errors(mosaic, known, grid, in_scene, windowed, by_window, names, SURE),
        "seams_replayed": seam_errors(mosaic, known, grid, one_pass, replayed, one_pass, names, SURE),
    }


def detect_in_scene(mosaic: Mosaic, detect: BatchDetector, on_image: Callable[[], None]) -> dict[int, Detections]:
    """Detections by COCO image id, of one pass over each image with up to ``AROUND_PX`` of the scene around it."""
    found: dict[int, Detections] = {}
    with open_scene(mosaic.path) as scene:
        for image, left, top in mosaic.placed:
            x, y = max(0, left - AROUND_PX), max(0, top - AROUND_PX)
            end = left + image.width_px + AROUND_PX, top + image.height_px + AROUND_PX
            rgb, _ = scene.read_rectangle((x, y, min(end[0], mosaic.width_px), min(end[1], mosaic.height_px)))
            part = Mosaic(mosaic.path, rgb.shape[1], rgb.shape[0], ((image, left - x, top - y),))
            found |= part.to_images(detect(rgb[None])[0])[0]
            on_image()
    return found


def as_windows_say(journal: Path, grid: Grid) -> Detections:
    """What all windows reported, unmerged, in the scene's pixels."""
    parts = []
    for line in journal.read_text(encoding="utf-8").splitlines()[1:]:
        for index, boxes, scores, class_ids in json.loads(line)["found"]:
            window = grid[index]
            said = Detections(
                np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float32), np.array(class_ids, np.int64)
            )
            parts.append(said.shift(window.left_px, window.top_px))
    return Detections.concatenate(parts)


if __name__ == "__main__":
    main()
