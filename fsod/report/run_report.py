"""The report of a run: scores by K and class, what the errors are, pictures of every evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from fsod.errors import UserError
from fsod.files import write_text
from fsod.report import evaluation_pictures as pictures
from fsod.report.page import embedded, render
from fsod.store.checkpoint import CheckpointHeader, read_header
from fsod.tracking.run_paths import RunPaths
from fsod.tracking.run_scores import Evaluated, by_k, evaluations, half_interval

_SCORES = {
    "novel_map50": "novel",
    "base_map50": "base",
    "harmonic_map50": "harmonic mean",
    "all_map50": "all",
    "all_map": "all, IoU 0.5 to 0.95",
}


@dataclass(frozen=True)
class _Kind:
    """A picture that an evaluation may have, and what to say about it."""

    file: str
    caption: str
    photo: bool = False


_PICTURES = (
    _Kind(pictures.ERRORS, "What AP50 would gain without each kind of error, all others staying (after TIDE)."),
    _Kind(pictures.CALIBRATION, "Above the dashed line scores are too modest, below it they promise too much."),
    _Kind(pictures.CURVES, "Precision over recall; the dot is where F1 is best, with the score there."),
    _Kind(pictures.CONFUSION, "Rows are true classes; each class counts from the score of its best F1 on."),
    _Kind("support.png", "The boxes that it was taught with.", photo=True),
    _Kind(
        pictures.FOUND,
        "The same test images in every evaluation, detections from the score of each class's best F1 on. "
        "Blue: found, hit. Yellow: missed. Vermilion: false alarm.",
        photo=True,
    ),
)


def run_report(run_dir: Path, out: Path) -> dict[str, object]:
    """Writes one HTML file with tables and pictures of all evaluations of a run.

    Raises:
        UserError: nothing has been evaluated, or a file is damaged.
    """
    evaluated = evaluations(run_dir)
    if not evaluated:
        raise UserError(f"{run_dir}: holds no evaluation (kK-seedS/scores.json); run `fsod evaluate`, or name a layer")
    last = evaluated[-1]
    settings = read_header(RunPaths(run_dir).finetuned(last.k, last.seed), CheckpointHeader).settings
    novel = settings["data"]["novel"]
    classes = sorted(last.scores["per_class_ap50"], key=lambda name: name not in novel)
    html = render(
        "run.html.j2",
        name=settings["name"],
        about=f"{settings['size']}, {last.scores['images']} test images with {last.scores['objects']} objects",
        novel=novel,
        every_k=sorted({each.k for each in evaluated}),
        scores={label: _cells(by_k(evaluated, key)) for key, label in _SCORES.items()},
        classes={name: _cells(by_k(evaluated, "per_class_ap50", name)) for name in classes},
        chart=_chart(evaluated),
        evaluations=[_evaluation(each) for each in evaluated],
        settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
    )
    write_text(out, html)
    return {"report": str(out), "evaluations": len(evaluated), "megabytes": round(len(html) / 1e6, 1)}


@dataclass(frozen=True)
class _Cell:
    """A mean over seeds as text, and what a bar needs."""

    text: str
    share: float
    seeds: int


def _cells(values: dict[int, list[float]]) -> dict[int, _Cell]:
    cells = {}
    for k, of_seeds in values.items():
        mean, half = fmean(of_seeds), half_interval(of_seeds)
        interval = "" if math.isnan(half) else f" ± {half:.3f}"
        cells[k] = _Cell(f"{mean:.3f}{interval}", mean, len(of_seeds))
    return cells


def _chart(evaluated: Sequence[Evaluated]) -> str | None:
    """AP50 against K as a data URI, where there is more than one K."""
    if len({each.k for each in evaluated}) < 2:
        return None
    with TemporaryDirectory() as folder:
        return embedded(pictures.write_by_shots(evaluated, Path(folder)), photo=False)


def _evaluation(each: Evaluated) -> dict[str, Any]:
    """What the page says about one K and seed; charts that were not made are left out."""
    numbers = each.folder / pictures.NUMBERS
    measured = [(name, each.scores.get(f"{name}_map50")) for name in ("novel", "base")]
    return {
        "title": f"K = {each.k}, seed {each.seed}" + "".join(f", {n} {v:.3f}" for n, v in measured if v is not None),
        "machine": each.scores.get("machine", ""),
        "errors": _numbers(numbers) if numbers.is_file() else None,
        "pictures": [
            {"data": embedded(each.folder / kind.file, photo=kind.photo), "caption": kind.caption, "wide": kind.photo}
            for kind in _PICTURES
            if (each.folder / kind.file).is_file()
        ],
    }


def _numbers(path: Path) -> dict[str, Any]:
    """What an evaluation says of its errors."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not the errors of an evaluation ({error}); evaluate again") from error
