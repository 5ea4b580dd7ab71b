"""The tables of the study as Markdown, from results.json alone.

.venv/bin/python -m experiments.nwpu_fewshot.table [results.json]
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

from experiments.intervals import interval, over_seeds, paired
from experiments.records import Record, read_records

HERE = Path(__file__).parent
METRICS = {"novel_map50": "novel", "base_map50": "base"}
COMPARED = {
    "novel_map50": "novel mAP50",
    "base_map50": "base mAP50",
    "harmonic_map50": "harmonic mean of both",
    "all_map": "mAP of all classes",
}


def main(path: Path) -> None:
    records = read_records(path)
    for split in sorted({r["split"] for r in records}):
        ours = [r for r in records if r["split"] == split]
        print(f"\nSplit {split}, mAP50, mean and 95 % interval over shot seeds\n")
        print(score_table(ours))
        for reference in [s for s in systems_of(ours) if s == "finetune all"]:
            for metric, name in COMPARED.items():
                print(f"\nSplit {split}, {name} of {reference!r} less that of others on the same shots\n")
                print(difference_table(ours, reference, metric))


def score_table(records: list[Record]) -> str:
    """A row a system, a column a metric and K."""
    columns = list(product(METRICS, shots_of(records)))
    rows = []
    for system in systems_of(records):
        cells = [over_seeds(records, metric, system=system, shots=k) for metric, k in columns]
        rows.append([system, *(str(interval(list(cell.values()))) if cell else "-" for cell in cells)])
    return markdown(["system", *(f"{METRICS[metric]}, K = {k}" for metric, k in columns)], rows)


def difference_table(records: list[Record], reference: str, metric: str = "novel_map50") -> str:
    """A row a system, a column a K: the reference less the system; bold where the interval leaves zero out."""
    rows = []
    for system in (s for s in systems_of(records) if s != reference):
        cells = []
        for k in shots_of(records):
            found = paired(*(over_seeds(records, metric, system=s, shots=k) for s in (reference, system)))
            cells.append("-" if found is None else f"**{found}**" if found.apart_from_zero else str(found))
        rows.append([system, *cells])
    return markdown(["system", *(f"K = {k}" for k in shots_of(records))], rows)


def systems_of(records: list[Record]) -> list[str]:
    """In the order of their mean novel mAP50 at the most shots they have, best first."""

    def worth(system: str) -> tuple[int, float]:
        most = max(r["shots"] for r in records if r["system"] == system)
        return -most, -interval([*over_seeds(records, "novel_map50", system=system, shots=most).values()] or [0]).mean

    return sorted({r["system"] for r in records}, key=worth)


def shots_of(records: list[Record]) -> list[int]:
    """Every K that occurs."""
    return sorted({r["shots"] for r in records})


def markdown(heading: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.json")
