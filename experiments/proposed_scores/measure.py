"""What scores are worth that a handful of examples propose: F1 on objects that were no examples.

    .venv/bin/python -m experiments.proposed_scores.measure --data runs/nwpu/data --ids runs/nwpu/data/splits/train_strict.txt

One bank a class, of K boxes drawn at random, with the weights that come with fsod; looked for on other images of the list.
Prints mean F1 over classes at parts of the mean score that left-out examples are found with (``LEFT_OUT`` of
fsod/inference/thresholds.py is one of them), and at the best score there is for each class, and writes ``results.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.nwpu_fewshot.table import markdown
from fsod.boxes import match
from fsod.compute.device import choose_machine
from fsod.config_file import common_settings
from fsod.data.coco_folder import CocoFolder, ImageRecord, load_folder, read_ids, read_image, write_json
from fsod.data.marked import Marked, marked_shots
from fsod.data.shots import draw_shots
from fsod.evaluation.judge import passed_over
from fsod.inference.enrollment import enrolled_bank
from fsod.inference.infer import BatchDetector, batch_detector
from fsod.inference.thresholds import FLOOR, LEFT_OUT, Detect, left_out_scores, proposed_of
from fsod.progress import progress_bar
from fsod.steps.enroll_classes import KNOWN_MARGIN
from fsod.store.checkpoint import SHIPPED, load_checkpoint
from fsod.training.refine import REFINING, refined_bank

HERE = Path(__file__).parent
PARTS = (0.4, 0.6, 0.8, 1.0, 1.2)


class Makers:
    """Makes detectors of examples, enrolled or finetuned, with the shipped weights."""

    def __init__(self) -> None:
        self.machine = choose_machine()
        self.loaded = load_checkpoint(SHIPPED, self.machine.trunk_dtype)
        self.settings = common_settings(self.loaded.settings)

    def detector(self, marked: Marked, *, finetuned: bool) -> BatchDetector:
        """A detector of the classes of ``marked``."""
        crops = marked.crops(self.settings.episodes.support_px)
        bank = enrolled_bank(self.loaded, crops, self.machine, {}, None, learned=False)
        if finetuned:
            bank = refined_bank(self.loaded, bank, marked, REFINING, KNOWN_MARGIN, self.machine, lambda: None)
        return batch_detector(self.loaded, bank, self.machine, self.settings.evaluate, FLOOR)


def main() -> None:
    """Measures every class of the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--ids", type=Path, required=True, help="the images of it to draw from")
    parser.add_argument("-k", type=int, default=5, help="examples per class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=60, help="how many are searched")
    chosen = parser.parse_args()
    folder = load_folder(chosen.data).select(read_ids(chosen.ids))
    records = list(measured(folder, chosen.k, chosen.seed, chosen.images))
    write_json(HERE / "results.json", {"k": chosen.k, "seed": chosen.seed, "records": records})
    print(table(records))


def measured(folder: CocoFolder, k: int, seed: int, images: int) -> Iterator[dict[str, Any]]:
    """A record a class and kind of rows; there is none where no left-out example is found, or nothing is there to find."""
    makers = Makers()
    some = [folder.images[i] for i in np.random.default_rng(seed).permutation(len(folder.images))[:images]]
    with progress_bar("classes", len(folder.class_names)) as bar:
        for class_id, name in enumerate(folder.class_names):
            marked = marked_shots(folder, draw_shots(folder, [name], k, seed), [name])
            shown = {image.path for image in marked.folder.images}
            rest = [image for image in some if image.path not in shown]
            for rows in ("enrolled", "finetuned"):
                detector_of = partial(makers.detector, finetuned=rows == "finetuned")
                proposed = proposed_of(left_out_scores(marked, (name,), detector_of)).get(name)
                if proposed and any(class_id in image.class_ids[~image.difficult] for image in rest):
                    f1 = f1_by_score(detector_of(marked), rest, class_id)
                    yield {"class": name, "rows": rows, "proposed": proposed, **f1_at(f1, proposed / LEFT_OUT)}
            bar.advance()


def f1_by_score(detect: Detect, images: list[ImageRecord], class_id: int) -> NDArray[np.float64]:
    """(n, 2): the scores of all detections, falling, and the F1 of showing those down to each."""
    scores, right, objects = [], [], 0
    for image in images:
        truth = image.boxes_xyxy_px[(image.class_ids == class_id) & ~image.difficult]
        found = detect(read_image(image)[None])[0]
        found = found.select(~passed_over(image, found, np.full(len(found), class_id)))
        scores.append(found.scores)
        right.append(match(truth, np.zeros(len(truth), np.int64), found) >= 0)
        objects += len(truth)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits, shown = np.cumsum(np.concatenate(right)[order]), np.arange(1, len(order) + 1)
    return np.stack([np.concatenate(scores)[order], 2 * hits / (shown + objects)], 1)


def f1_at(f1: NDArray[np.float64], mean: float) -> dict[str, float]:
    """F1 at parts of the mean score of left-out examples, and the best there is."""
    shown = {str(part): int((f1[:, 0] >= part * mean).sum()) for part in PARTS}
    return {part: float(f1[n - 1, 1]) if n else 0.0 for part, n in shown.items()} | {
        "best": float(f1[:, 1].max(initial=0))
    }


def table(records: list[dict[str, Any]]) -> str:
    """Means over classes, a row a kind of rows."""
    columns = [*map(str, PARTS), "best"]
    kinds = dict.fromkeys(r["rows"] for r in records)
    cells = [[kind, *(f"{fmean(r[c] for r in records if r['rows'] == kind):.2f}" for c in columns)] for kind in kinds]
    return markdown(["rows", *columns], cells)


if __name__ == "__main__":
    main()
