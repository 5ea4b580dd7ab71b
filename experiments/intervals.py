"""Means over seeds with their 95 % intervals, and differences of systems over the same seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.records import Record
from fsod.tracking.run_scores import half_interval


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % interval by Student's t, NaN for a single value; ``n`` values."""

    mean: float
    half: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half:.3f}" if self.n > 1 else f"{self.mean:.3f} (one seed)"

    @property
    def apart_from_zero(self) -> bool:
        """Whether the interval leaves zero out."""
        return abs(self.mean) > self.half


def interval(values: Sequence[float]) -> Interval:
    """Of at least one value."""
    return Interval(statistics.fmean(values), half_interval(values), len(values))


def over_seeds(records: Iterable[Record], metric: str, **wanted: object) -> dict[int, float]:
    """Seed -> a metric of the records whose fields are as wanted; records without that metric are left out."""
    return {r["seed"]: float(r[metric]) for r in records if _is(r, wanted) and r[metric] is not None}


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Interval | None:
    """Difference one - other over the seeds that both have, None without any."""
    both = sorted(one.keys() & other.keys())
    return interval([one[seed] - other[seed] for seed in both]) if both else None


def _is(record: Mapping[str, Any], wanted: Mapping[str, object]) -> bool:
    return all(record[name] == value for name, value in wanted.items())
