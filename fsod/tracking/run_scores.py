"""What has been measured in a run so far: scores of each K and seed."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev
from typing import Any

from fsod.errors import UserError
from fsod.tracking.run_paths import RunPaths


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of a run's finetuned detector.

    Attributes:
        k: boxes per class.
        seed: which draw of them.
        folder: where scores and pictures are.
        scores: what `fsod.evaluation.average_precision.Scores.as_dict` gives, and how it was measured.
    """

    k: int
    seed: int
    folder: Path
    scores: dict[str, Any]


def evaluations(run_dir: Path) -> list[Evaluated]:
    """All evaluations of a run, by K and seed.

    Raises:
        UserError: a file of scores is damaged.
    """
    found = []
    for folder in run_dir.glob("k*-seed*"):
        if numbers := re.fullmatch(r"k(\d+)-seed(\d+)", folder.name):
            k, seed = map(int, numbers.groups())
            path = RunPaths(run_dir).scores(k, seed)
            if path.is_file():
                found.append(Evaluated(k, seed, folder, _read(path)))
    return sorted(found, key=lambda each: (each.k, each.seed))


def by_k(evaluated: Sequence[Evaluated], *keys: str) -> dict[int, list[float]]:
    """K -> a score of each seed that has it; ``keys`` lead to it: ``"novel_map50"``, or ``"per_class_ap50", "ship"``."""
    values: defaultdict[int, list[float]] = defaultdict(list)
    for each in evaluated:
        value: Any = each.scores
        for key in keys:
            value = value.get(key)
        if value is not None:
            values[each.k].append(float(value))
    return dict(values)


def half_interval(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of a mean, by Student's t; NaN for a single value."""
    n = len(values)
    if n < 2:
        return math.nan
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content["per_class_ap50"], dict):
            raise TypeError("per_class_ap50 is no table")
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: not the scores of an evaluation ({error}); evaluate again") from error
    return dict(content)
