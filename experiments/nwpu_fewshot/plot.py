"""The plot of the study, from results.json alone: novel mAP50 against K with 95 % intervals over shot seeds.

.venv/bin/python -m experiments.nwpu_fewshot.plot [results.json] [SPLIT] [novel.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

from experiments.intervals import interval, over_seeds
from experiments.nwpu_fewshot.table import shots_of, systems_of
from experiments.records import Record, read_records

HERE = Path(__file__).parent
MARKERS = "osD^vPX<>*"


def main(results: Path, split: str, path: Path) -> None:
    plot([r for r in read_records(results) if r["split"] == split], f"NWPU VHR-10, split {split}", path)
    print(path)


def plot(records: list[Record], title: str, path: Path) -> None:
    """One line a system; the systems stand a little beside one another at each K so that bars can be told apart."""
    figure, axes = plt.subplots(figsize=(8.4, 4.8), layout="constrained")
    ks, systems = shots_of(records), systems_of(records)
    for i, system in enumerate(systems):
        found = {k: over_seeds(records, "novel_map50", system=system, shots=k) for k in ks}
        points = [(k, interval(list(values.values()))) for k, values in found.items() if values]
        at = [ks.index(k) + 0.05 * (i - (len(systems) - 1) / 2) for k, _ in points]
        axes.errorbar(
            at,
            [p.mean for _, p in points],
            [p.half if p.n > 1 else 0 for _, p in points],
            marker=MARKERS[i % len(MARKERS)],
            linestyle="--" if system.startswith("baseline") else "-",
            capsize=3,
            ms=5,
            label=system,
        )
    axes.set(xlabel="shots K", ylabel="novel mAP50", title=title)
    axes.set_xticks(range(len(ks)), [str(k) for k in ks])
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=HERE / "results.json")
    parser.add_argument("split", nargs="?", default="S1")
    parser.add_argument("picture", type=Path, nargs="?", default=HERE / "novel.png")
    main(*vars(parser.parse_args()).values())
