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
import numpy as np

ORDERS = {"likeliest": "likeliest first", "evenly": "evenly spread", "rows": "row by row"}
AIM = 0.4, 0.95


def draw(record: dict[str, Any], kinds: list[str], out: Path) -> None:
    """A column per kind of scene, means of its draws: recall above and AP50 below."""
    figure, axes = plt.subplots(2, len(kinds), figsize=(3.2 * len(kinds), 5), sharex=True, sharey=True, squeeze=False)
    for column, of_kind in enumerate(kinds):
        scenes = [scene for name, scene in record["scenes"].items() if name.startswith(of_kind)]
        for row, (kind, called) in enumerate((("recall", "recall"), ("ap50", "AP50"))):
            axis = axes[row][column]
            for order, label in ORDERS.items():
                points = [[*scene[order], scene["full"]] for scene in scenes]
                if kind not in points[0][0]:
                    continue
                shares = [[one[kind] / run[-1][kind] for one in run] for run in points]
                pixels = [[one["pixels"] for one in run] for run in points]
                axis.plot(np.mean(pixels, axis=0), np.mean(shares, axis=0), marker=".", label=label)
            axis.plot(*AIM, "k+", markersize=10)
            axis.grid(alpha=0.3)
            axis.set(ylim=(0, 1.1), xlim=(0, 1.02))
            if column == 0:
                axis.set_ylabel(f"{called}, of the full run's")
            if row == 0:
                axis.set_title(of_kind)
            else:
                axis.set_xlabel("pixels run, look included")
    axes[0][0].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    known = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    reported = [name.rpartition("-")[0] for name in known["scenes"] if not name.startswith("choose")]
    draw(known, list(dict.fromkeys(reported)), Path(sys.argv[2]))
