"""Whether the interval of a count holds the number of objects, on simulated districts.

A district has N objects. Each is found by a chance, the recall; false alarms come on top, as many as the precision says. Both
shares are known by a handful of trials alone.

    python -m experiments.searched.counts --json experiments/searched/counts.json
"""

from __future__ import annotations

import argparse
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from experiments.records import commit
from fsod.data.coco_folder import write_json
from fsod.evidence import Trials
from fsod.true_count import true_count

DRAWS = 200
OBJECTS = (1, 10, 100)
RECALLS = (0.4, 0.7, 0.95)
EXAMPLES = (3, 12)
PRECISIONS: tuple[tuple[float, int], ...] = ((0.6, 0), (1.0, 0), (0.6, 10), (0.9, 30))
"""And how many detections were judged; with none nobody knows the precision."""


@cache
def between(found: int, hits: int, examples: int, right: int, judged: int) -> tuple[int, int | None]:
    """Least and most objects."""
    ends = true_count(found, Trials(hits, examples), Trials(right, judged) if judged else None)
    assert ends is not None
    return ends


def measure(draws: int = DRAWS) -> list[dict[str, object]]:
    """For each setting the share of draws whose interval holds the truth, and the median of its ends."""
    records: list[dict[str, object]] = []
    for number, (objects, recall, examples, (precision, judged)) in enumerate(
        product(OBJECTS, RECALLS, EXAMPLES, PRECISIONS)
    ):
        rng = np.random.default_rng(number)
        ends = []
        for _ in range(draws):
            right = int(rng.binomial(objects, recall))
            wrong = int(rng.negative_binomial(right, precision)) if right and precision < 1 else 0
            ends.append(
                between(
                    right + wrong,
                    int(rng.binomial(examples, recall)),
                    examples,
                    int(rng.binomial(judged, precision)),
                    judged,
                )
            )
        held = [low <= objects and (high is None or objects <= high) for low, high in ends]
        most = float(np.median([np.inf if high is None else high for _, high in ends]))
        records.append(
            {
                "objects": objects,
                "recall": recall,
                "examples": examples,
                "precision": precision,
                "judged": judged,
                "held": round(float(np.mean(held)), 3),
                "low": float(np.median([low for low, _ in ends])),
                "high": most if np.isfinite(most) else None,
            }
        )
    return records


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    out = parser.parse_args().json
    records = measure()
    held = [float(str(record["held"])) for record in records]
    print(f"{len(records)} settings: mean {np.mean(held):.3f}, least {min(held):.3f}")
    for record in records:
        if record["objects"] == OBJECTS[-1]:
            print(*(f"{key} {value}" for key, value in record.items()), sep="; ")
    write_json(out, {"commit": commit(), "draws": DRAWS, "records": records})


if __name__ == "__main__":
    main()
