"""The figure of a record of ``experiments.budget.curve``: share of the full run's recall and AP50 against pixels run.

python -m experiments.budget.plot experiments/budget/results.json experiments/budget/curve.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ORDERS = {"likeliest": "likeliest first", "evenly": "evenly spread", "rows": "row by row"}
AIM = 0.4, 0.95


def draw(record: dict[str, Any], names: list[str], out: Path) -> None:
    """A column a scene, recall above and AP50 below."""
    figure, axes = plt.subplots(2, len(names), figsize=(3.2 * len(names), 5), sharex=True, sharey=True, squeeze=False)
    for column, name in enumerate(names):
        scene = record["scenes"][name]
        for row, (kind, called) in enumerate((("recall", "recall"), ("ap50", "AP50"))):
            axis = axes[row][column]
            for order, label in ORDERS.items():
                points = [one for one in (*scene[order], scene["full"]) if kind in one]
                if len(points) == 1:
                    continue
                shares = [one[kind] / scene["full"][kind] for one in points]
                axis.plot([one["pixels"] for one in points], shares, marker=".", label=label)
            axis.plot(*AIM, "k+", markersize=10)
            axis.grid(alpha=0.3)
            axis.set(ylim=(0, 1.1), xlim=(0, 1.02))
            if column == 0:
                axis.set_ylabel(f"{called}, of the full run's")
            if row == 0:
                axis.set_title(name)
            else:
                axis.set_xlabel("pixels run, look included")
    axes[0][0].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    known = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    draw(known, [name for name in known["scenes"] if not name.startswith("choose")], Path(sys.argv[2]))
