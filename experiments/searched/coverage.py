"""Whether the interval of recall that fsod writes holds the truth, on simulated draws of examples.

Objects of a class are found with scores of a known distribution, and some are not found at all. K of them are drawn as examples
and left out; from their scores come the score that is proposed, and the recall from it on with its interval. The truth is
the share of all objects that are found from that score on.

    python -m experiments.searched.coverage --json experiments/searched/coverage.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from experiments.records import commit
from fsod.data.coco_folder import write_json
from fsod.evidence import Evidence
from fsod.inference.thresholds import proposed_of

DRAWS, OBJECTS = 200, 100_000
EXAMPLES = (3, 5, 8, 12, 20, 50)
SHAPES = {"even": (1.0, 1.0), "low": (2.0, 6.0), "high": (8.0, 2.0), "two kinds": (0.4, 0.4)}
"""Of beta distributions of scores."""

FOUND = (0.4, 0.7, 0.9, 0.98)
"""Shares of the objects that are found at all."""


def scores_of(shape: str, found: float, rng: np.random.Generator) -> np.ndarray:
    """Scores of all objects of a class, 0 where one is not found."""
    return np.where(rng.random(OBJECTS) < found, rng.beta(*SHAPES[shape], OBJECTS), 0.0)


def covered(scores: np.ndarray, k: int, rng: np.random.Generator, fixed: float | None) -> bool | None:
    """Whether the interval of one draw holds the truth; None where no example is found, so that nothing is proposed.

    Args:
        scores: of all objects.
        k: examples.
        rng: draws them.
        fixed: the score that the user asked for; None: the one that is proposed.
    """
    trials = rng.choice(scores, k, replace=False).tolist()
    shown_from = proposed_of({"a": trials}).get("a") if fixed is None else fixed
    if shown_from is None:
        return None
    recall = Evidence(k, tuple(trials)).recall(shown_from)
    assert recall is not None
    low, high = recall.interval
    return bool(low <= (scores >= shown_from).mean() <= high)


def measure(draws: int = DRAWS) -> list[dict[str, object]]:
    """Shares of draws whose interval holds the truth, for each distribution and number of examples."""
    records: list[dict[str, object]] = []
    for shape in SHAPES:
        for found in FOUND:
            rng = np.random.default_rng([list(SHAPES).index(shape), round(100 * found)])
            scores = scores_of(shape, found, rng)
            for k in EXAMPLES:
                own = {
                    name: [held for _ in range(draws) if (held := covered(scores, k, rng, fixed)) is not None]
                    for name, fixed in (("proposed", None), ("given", 0.3))
                }
                shares = {name: round(float(np.mean(held)), 3) for name, held in own.items()}
                records.append({"scores": shape, "found": found, "examples": k, **shares})
    return records


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    out = parser.parse_args().json
    records = measure()
    for name in ("proposed", "given"):
        for k in EXAMPLES:
            shares = [float(str(record[name])) for record in records if record["examples"] == k]
            print(f"{name}, {k} examples: mean {np.mean(shares):.3f}, least {min(shares):.3f}")
    write_json(out, {"commit": commit(), "draws": DRAWS, "records": records})


if __name__ == "__main__":
    main()
