"""The pictures of an evaluation, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.data.coco_folder import CocoFolder, write_json
from fsod.draw import contact_sheet, draw_truth_and_found, write_jpeg
from fsod.evaluation.diagnose import COSTS, Reliability, ap50_costs, class_curve, reliability
from fsod.evaluation.judge import FATES, HIT, Answer, Judged, answer_of, confusion, judge
from fsod.evaluation.shown_images import read_small
from fsod.plots import plot_by_shots, plot_confusion, plot_costs, plot_precision_recall, plot_reliability
from fsod.tracking.run_paths import SCORES
from fsod.tracking.run_scores import Evaluated, by_k, half_interval

SHOWN_IMAGES = 12
USUAL_SCORE = 0.25
"""From which score on detections are shown and counted of a class that has no best one, for want of objects or finds."""

FOUND, CURVES, ERRORS = "found.jpg", "precision_recall.png", "errors.png"
CONFUSION, CALIBRATION = "confusion.png", "calibration.png"
NUMBERS, BY_SHOTS = "errors.json", "ap50_by_shots.png"


def remove_evaluation(folder: Path) -> None:
    """Removes scores and pictures of a detector whose weights are not there any more, also those on other lists."""
    for own in (folder, *folder.glob("on-*")):
        for name in (SCORES, FOUND, CURVES, ERRORS, CONFUSION, CALIBRATION, NUMBERS):
            (own / name).unlink(missing_ok=True)


def write_pictures(
    folder: CocoFolder, found: dict[int, Detections], class_names: list[str], novel: Sequence[str], out: Path
) -> list[Path]:
    """Draws where a detector is right and where it is wrong, and writes the numbers of the charts as ``errors.json``.

    Curves, costs and calibration take all detections. Counts, confusion and the images show those of each class from the
    score on at which its F1 on these very images is best: they say what the detector can do, not what a user who must
    choose a score beforehand will see.

    Args:
        folder: the images it was evaluated on.
        found: detections by image id, down to a score near 0, class ids counted among ``class_names``.
        class_names: the enrolled classes, each a class of the folder.
        novel: which of them are novel.
        out: folder to write to.

    Returns:
        The files.
    """
    answers = [answer_of(folder, image, found[image.id], class_names) for image in folder.images]
    judged = judge(answers)
    is_novel = np.isin(class_names, novel)
    groups = {"novel": is_novel, "base": ~is_novel}
    costs = ap50_costs(judged, len(class_names))
    mean_costs = {name: _mean_costs(costs[:, members]) for name, members in groups.items()}
    calibration = {name: _reliability(judged, members) for name, members in groups.items()}
    curves = {class_names[c]: class_curve(judged, c) for c in np.unique(judged.truth_class_ids)}
    found_ones = {name: curve for name, curve in curves.items() if len(curve.scores)}
    best = {name: float(curve.scores[curve.best]) for name, curve in found_ones.items()}
    scores = np.array([best.get(name, USUAL_SCORE) for name in class_names])
    counts = confusion(answers, scores)
    write_json(
        out / NUMBERS,
        {
            "ap50_costs": {name: dict(zip(COSTS, map(_known, c), strict=True)) for name, c in mean_costs.items()},
            "calibration_error": {name: _known(group.error) for name, group in calibration.items()},
            "best_f1_scores": best,
            "counts": {name: _fates(judged.above(scores), members) for name, members in groups.items()},
            "confused": _confused(counts, class_names),
        },
    )
    return [
        _found_sheet(folder, answers, class_names, scores, out / FOUND),
        plot_precision_recall(
            out / CURVES,
            {name: (curve.recall, curve.precision) for name, curve in curves.items()},
            {name: curve.ap50 for name, curve in curves.items()},
            {name: (curve.best, best[name]) for name, curve in found_ones.items()},
            novel,
        ),
        plot_costs(out / ERRORS, COSTS, mean_costs),
        plot_confusion(out / CONFUSION, counts, class_names),
        plot_reliability(
            out / CALIBRATION,
            {name: (group.scores, group.precision, group.counts, group.error) for name, group in calibration.items()},
        ),
        out / NUMBERS,
    ]


def write_by_shots(evaluated: Sequence[Evaluated], out: Path) -> Path:
    """Draws novel and base AP50 of a run's evaluations against K into the folder ``out``."""
    groups = {
        name: {k: (values, half_interval(values)) for k, values in by_k(evaluated, f"{name}_map50").items()}
        for name in ("novel", "base")
    }
    return plot_by_shots(out / BY_SHOTS, groups)


def _found_sheet(
    folder: CocoFolder, answers: list[Answer], class_names: list[str], scores: NDArray[np.float64], path: Path
) -> Path:
    """Hits, misses and false alarms on a few images, evenly spread over the list: the same ones for the same list."""
    chosen = range(0, len(answers), max(len(answers) // SHOWN_IMAGES, 1))[:SHOWN_IMAGES]
    pictures = []
    for i in chosen:
        (rgb, smaller), shown = read_small(folder.images[i]), answers[i].shown(scores)
        boxes, classes = answers[i].truth_boxes_xyxy_px / smaller, answers[i].truth_class_ids
        shown = replace(shown, boxes_xyxy_px=shown.boxes_xyxy_px / smaller)
        pictures.append(draw_truth_and_found(rgb, boxes, classes, shown, class_names))
    captions = [folder.images[i].path.stem for i in chosen]
    write_jpeg(path, contact_sheet(pictures, captions, columns=2, cell_px=960))
    return path


def _reliability(judged: Judged, members: NDArray[np.bool_]) -> Reliability:
    own = members[judged.class_ids]
    return reliability(judged.scores[own], judged.fates[own] == HIT)


def _mean_costs(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over classes that have objects, NaN where none has."""
    known = costs[:, ~np.isnan(costs[0])]
    return known.mean(axis=1) if known.size else np.full(len(costs), np.nan)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _fates(judged: Judged, members: NDArray[np.bool_]) -> dict[str, int]:
    """How many detections of a group's classes met which fate, how many true boxes there are and were not seen."""
    counts = np.bincount(judged.fates[members[judged.class_ids]], minlength=len(FATES))
    own = members[judged.truth_class_ids]
    return {
        "objects": int(own.sum()),
        **{fate: int(count) for fate, count in zip(FATES, counts, strict=True)},
        "missed": int((judged.missed & own).sum()),
    }


def _confused(counts: NDArray[np.int64], class_names: list[str]) -> list[dict[str, str | int]]:
    """Pairs of classes by how often the one is taken for the other, most often first."""
    n = len(class_names)
    off = counts[:n, :n] * ~np.eye(n, dtype=bool)
    order = np.argsort(-off, axis=None, kind="stable")[: np.count_nonzero(off)]
    return [
        {"true": class_names[t], "detected": class_names[d], "count": int(off[t, d])}
        for t, d in zip(*np.unravel_index(order, off.shape), strict=True)
    ]
