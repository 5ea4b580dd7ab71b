"""The ablation as Markdown, from results.json alone.

.venv/bin/python -m experiments.ablation.table [results.json]
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.ablation.run import ENROLLED
from experiments.ablation.variants import FULL, VARIANTS
from experiments.intervals import interval, over_seeds, paired
from experiments.nwpu_fewshot.table import markdown, shots_of
from experiments.records import Record, read_records

HERE = Path(__file__).parent


def main(path: Path) -> None:
    records = read_records(path)
    for k in shots_of(records):
        print(
            f"\nK = {k}, mean and 95 % interval over shot seeds; differences are full less variant on the same shots\n"
        )
        print(table([r for r in records if r["shots"] == k]))


def table(records: list[Record]) -> str:
    """A row a variant; a difference is bold where its interval leaves zero out."""
    rows = []
    for name in (name for name in VARIANTS if any(r["system"] == name for r in records)):
        tuned = (_cells(records, name, FULL, metric) for metric in ("novel_map50", "base_map50"))
        enrolled = _cells(records, name + ENROLLED, FULL + ENROLLED, "novel_map50")
        rows.append([name, *(cell for cells in (*tuned, enrolled) for cell in cells)])
    heading = [text for what in ("novel", "base", "novel, enrolled only") for text in (what, "full less this")]
    return markdown(["variant", *heading], rows)


def _cells(records: list[Record], system: str, full: str, metric: str) -> tuple[str, str]:
    values, reference = (over_seeds(records, metric, system=s) for s in (system, full))
    difference = paired(reference, values) if system != full else None
    if not values:
        return "-", "-"
    shown = "-" if difference is None else f"**{difference}**" if difference.apart_from_zero else str(difference)
    return str(interval(list(values.values()))), shown


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.json")
