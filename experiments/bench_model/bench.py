"""Both benchmarks of the model: `make bench-model`. Prints a table and writes runs/bench/model.json and classes.png."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.bench_model import inference, training
from fsod.data.coco_folder import write_json

OUT = Path("runs/bench")
CLAIMS = (
    ("head_ratio", "baked head over plain YOLO head, 20 classes", "at most 1.03"),
    ("class_growth", "baked, 100 classes over 10", "at most 1.15"),
    ("lineage_ratio", "reweighting after the last 3x3 over baked, 20 classes", ""),
    ("lineage_before_ratio", "reweighting before the last 3x3 over baked, 20 classes", ""),
    ("cpu_speedup", "plain eager float32 over the default path", "at least 2 (1.3 without AVX512_BF16)"),
    ("step_ratio", "meta-training step over plain detection step", "at most 1.35"),
)


def main() -> None:
    found: dict[str, Any] = {**training.measure(), **inference.measure()}
    write_json(OUT / "model.json", found)
    inference.plot_by_classes(found["seconds_by_classes"], found["machine"], OUT / "classes.png")
    table = Table(title=f"yolov7-tiny, {found['machine']}")
    for heading in ("figure", "time of", "", "wanted"):
        table.add_column(heading)
    for key, what, wanted in CLAIMS:
        table.add_row(key, what, f"{found[key]:.3f}", wanted)
    console = Console()
    console.print(table)
    console.print(f"{OUT / 'model.json'}, {OUT / 'classes.png'}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
