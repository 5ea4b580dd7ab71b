"""An exported bank through onnxruntime against the same bank through torch, float32, on windows of the NWPU test images.

    make data meta-train finetune CONFIG=configs/nwpu.yaml DATA=/path/to/nwpu_vhr10
    .venv/bin/python -m experiments.onnx_parity.onnx_parity

Writes results.json beside this file. Settings of the run can be changed: run_dir=runs/mine.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from experiments.finetuned import finetuned_run
from fsod.boxes import Detections, iou
from fsod.compute.device import Machine
from fsod.data.coco_folder import read_image, write_json
from fsod.evaluation.average_precision import average_precision
from fsod.inference.infer import batch_detector
from fsod.inference.onnx_infer import load_onnx
from fsod.steps.export_bank import export_files
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import load_bank

HERE = Path(__file__).parent
WINDOW_PX = 640
SAME_IOU, SAME_SCORE = 0.99, 1e-3


def main(overrides: list[str]) -> None:
    run = finetuned_run(overrides)
    settings, test = run.settings, run.test
    loaded = load_checkpoint(run.checkpoint)
    bank = load_bank(run.bank, loaded.detector)
    floor = settings.evaluate.score_floor
    machine = Machine(torch.device("cpu"), torch.float32)
    by_torch = batch_detector(loaded, bank, machine, settings.evaluate, floor)
    with tempfile.TemporaryDirectory() as place:
        exported = Path(place) / "bank.onnx"
        export_files(run.bank, None, exported, None, WINDOW_PX, 1)
        by_onnx = load_onnx(exported, floor)

    found: dict[str, dict[int, Detections]] = {"torch": {}, "onnx": {}}
    for image in test.images:
        windows, places = cut(read_image(image), WINDOW_PX)
        for name, detect in (("torch", by_torch), ("onnx", by_onnx)):
            own = zip(detect(windows), places, strict=True)
            found[name][image.id] = Detections.concatenate([one.shift(*place) for one, place in own])
    pairs = [(found["torch"][image.id], found["onnx"][image.id]) for image in test.images]
    names = list(bank.class_names)
    result = {
        "images": len(pairs),
        "score_floor": floor,
        "detections": {key: sum(map(len, of_images.values())) for key, of_images in found.items()},
        **compare(pairs),
        "map50": {k: average_precision(test, f, names, settings.data.novel).all_map50 for k, f in found.items()},
        "machine": f"{platform.machine()}, {machine}",
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
    }
    print(result)
    write_json(HERE / "results.json", result)


def cut(image: NDArray[np.uint8], side_px: int) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """Windows side by side over a (H, W, 3) image, 0 beyond it as in a scene: (B, S, S, 3), and each one's x, y in it."""
    height, width = image.shape[:2]
    filled = np.pad(image, ((0, -height % side_px), (0, -width % side_px), (0, 0)))
    places = [(x, y) for y in range(0, height, side_px) for x in range(0, width, side_px)]
    return np.stack([filled[y : y + side_px, x : x + side_px] for x, y in places]), places


def compare(pairs: list[tuple[Detections, Detections]]) -> dict[str, float]:
    """Counts detections of either side without the same one on the other; how far those of torch are from their like."""
    ious, differences, missing = [], [], 0
    for ours, theirs in pairs:
        same_class = ours.class_ids[:, None] == theirs.class_ids[None]
        overlap = np.where(same_class, iou(ours.boxes_xyxy_px, theirs.boxes_xyxy_px), 0)
        difference = np.abs(ours.scores[:, None] - theirs.scores[None])
        same = (overlap > SAME_IOU) & (difference < SAME_SCORE)
        missing += int((~same.any(1)).sum() + (~same.any(0)).sum())
        like = np.where(same, difference, np.inf).argmin(1)[same.any(1)]
        rows = np.flatnonzero(same.any(1))
        ious.append(overlap[rows, like])
        differences.append(difference[rows, like])
    return {
        "without_same": missing,
        "smallest_iou": float(np.concatenate(ious).min()),
        "largest_score_difference": float(np.concatenate(differences).max()),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
