"""Scores and average precision of ten NWPU classes alone, together, and in larger banks.

    fsod data prepare nwpu NWPU runs/nwpu/data
    python -m experiments.bank_size.bank_size --data runs/nwpu/data --json experiments/bank_size/results.json

The other classes are drawn ones, enrolled beside those of NWPU. Images are every second one of those training images that
``experiments.nwpu_fewshot.validate`` sets aside; examples come from the rest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.intervals import interval
from experiments.nwpu_fewshot.validate import SAME_GROUND, set_aside
from experiments.records import commit
from fsod.boxes import Detections, iou
from fsod.class_splits import novel_classes
from fsod.compute.device import Machine, choose_machine
from fsod.config import EpisodeSettings, EvaluateSettings
from fsod.data.coco_folder import CocoFolder, ImageRecord, load_folder, read_ids, read_image, write_json
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.shots import draw_shots
from fsod.evaluation.average_precision import average_precision
from fsod.inference.enrollment import encode_examples, shot_examples
from fsod.inference.infer import postprocess, to_batch
from fsod.model.baked import category_decision
from fsod.model.detector import Detector, unit_pixels
from fsod.model.meta_head import ClassRows
from fsod.progress import console
from fsod.store.checkpoint import SHIPPED, load_checkpoint
from fsod.store.class_bank import load_bank

FINETUNED = Path("experiments/nwpu_fewshot/weights/all-k10-seed0.safetensors")
SIZES = (1, 10, 21, 85)
SHOTS, DRAWS = 10, 5
SEEN = 0.2
"""Objects that their own class is less sure of than this, alone, are not asked for their scores."""

FLOOR = 0.0005
SUPPORT_PX = 128
Decision = Callable[[Tensor, int], Tensor]


def share_of_the_sum(logits: Tensor, classes: int) -> Tensor:
    """What ``category_decision`` was: confidence times its share of the sum over all rows."""
    confidence = logits.sigmoid()
    own = confidence[:, :classes]
    return own * own / confidence.sum(1, keepdim=True)


DECISIONS: dict[str, Decision] = {"strongest": category_decision, "sum": share_of_the_sum}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared folder of NWPU VHR-10")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    folder, machine = load_folder(asked.data), choose_machine("float32")
    train = folder.select(read_ids(asked.data / "splits" / "train_strict.txt"))
    groups = json.loads(SAME_GROUND.read_text(encoding="utf-8"))["groups"]
    aside = sorted(set_aside([image.path.stem for image in train.images], groups))
    rest = train.select([image.path.stem for image in train.images if image.path.stem not in aside])
    scored, names = train.select(aside[::2]), list(folder.class_names)
    records = []
    for system, file in (("enrolled", SHIPPED), ("finetuned", FINETUNED)):
        detector = load_checkpoint(file).detector.to(machine.device).eval()
        others = drawn_rows(detector, SIZES[-1] - len(names), machine)
        for draw in range(DRAWS if system == "enrolled" else 1):
            if system == "enrolled":
                examples = shot_examples(rest, draw_shots(rest, names, SHOTS, draw), names, SUPPORT_PX)
                with torch.no_grad():
                    own = detector.predicted_rows(encode_examples(detector, examples, machine))
            else:
                own = load_bank(file, detector).select(names).rows
            for record in measure(detector, ClassRows.concatenate([own, others]), scored, names, machine):
                records.append({"system": system, "draw": draw, **record})
                console.print(records[-1])
    write_json(asked.json, {"commit": commit(), "images": len(scored.images), "records": records})
    console.print(table(records))


def drawn_rows(detector: Detector, count: int, machine: Machine) -> ClassRows:
    """Rows of drawn classes, one to three examples each."""
    settings = EpisodeSettings(ways=9, shots=3, queries=1, support_px=SUPPORT_PX, procedural_natural=0.3)
    rows: list[ClassRows] = []
    episodes = ProceduralEpisodes(settings, count, 123)
    while sum(map(len, rows)) < count:
        episode = episodes[len(rows)]
        with torch.no_grad():
            pixels, sides = unit_pixels(episode.supports.to(machine.device)), episode.sides_px.to(machine.device)
            rows.append(detector.predicted_rows(detector.class_vectors(pixels, sides)))
    return ClassRows.concatenate(rows).select(list(range(count)))


def measure(
    detector: Detector, rows: ClassRows, scored: CocoFolder, names: list[str], machine: Machine
) -> list[dict[str, Any]]:
    """A record for each decision and size of the bank."""
    found: dict[tuple[str, int], dict[int, Detections]] = {(d, n): {} for d in DECISIONS for n in SIZES}
    scores: dict[tuple[str, int], list[float]] = {key: [] for key in found}
    for image in scored.images:
        with torch.no_grad():
            said = detector(to_batch(read_image(image)[None], machine.device), rows)
        likely = said.own[0, : len(names)].amax(0).sigmoid() > FLOOR
        logits, boxes = said.own[:, :, likely], said.boxes_xyxy_px[:, likely]
        for (decision, size), of_images in found.items():
            each = (
                torch.cat([DECISIONS[decision](logits[:, [c]], 1) for c in range(len(names))], 1)
                if size == 1
                else DECISIONS[decision](logits[:, :size], size)
            )
            reported = _postprocessed(boxes, each, image, alone=size == 1)
            of_images[image.id] = reported.select(reported.class_ids < len(names))
            scores[decision, size] += _of_objects(image, boxes[0], logits[0].sigmoid(), each[0])
    novel = novel_classes("nwpu", "s1")
    records = []
    for (decision, size), of_images in found.items():
        ap = average_precision(scored, of_images, names, novel)
        records.append(
            {
                "decision": decision,
                "classes": size,
                "novel_map50": ap.novel_map50,
                "base_map50": ap.base_map50,
                "all_map50": ap.all_map50,
                "mean_score": fmean(scores[decision, size]),
            }
        )
    return records


def _postprocessed(boxes: Tensor, scores: Tensor, image: ImageRecord, *, alone: bool) -> Detections:
    """As ``fsod predict`` would find them: classes that are alone do not suppress each other."""
    settings, size = EvaluateSettings(), (image.height_px, image.width_px)
    if not alone:
        return postprocess(boxes, scores, size, FLOOR, settings)[0]
    parts = [postprocess(boxes, scores[:, [c]], size, FLOOR, settings)[0] for c in range(scores.shape[1])]
    return Detections.concatenate([replace(part, class_ids=part.class_ids + c) for c, part in enumerate(parts)])


def _of_objects(image: ImageRecord, boxes: Tensor, confidence: Tensor, scores: Tensor) -> list[float]:
    """Scores of the objects that their class sees: where it is surest of a box that fits."""
    fits = iou(image.boxes_xyxy_px, boxes.double().cpu().numpy()) >= 0.5
    own = confidence.cpu().numpy()[image.class_ids] * fits
    best = own.argmax(1) if own.shape[1] else np.zeros(0, np.int64)
    seen = own.max(1, initial=0) >= SEEN
    return [float(scores[c, best[i]]) for i, c in enumerate(image.class_ids.tolist()) if seen[i]]


def table(records: list[dict[str, Any]]) -> str:
    """A row for each system, decision and size: means over draws."""
    lines = []
    for system, decision, size in dict.fromkeys((r["system"], r["decision"], r["classes"]) for r in records):
        own = [r for r in records if (r["system"], r["decision"], r["classes"]) == (system, decision, size)]
        values = [interval([r[key] for r in own]) for key in ("novel_map50", "base_map50", "all_map50", "mean_score")]
        lines.append(f"| {system} | {decision} | {size} | " + " | ".join(map(str, values)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
