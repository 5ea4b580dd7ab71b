"""The demo over three seeds of training and shots; the scenes are the same frozen ones.

.venv/bin/python experiments/demo/demo_seeds.py

Writes results.json beside this file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fsod.data.coco_folder import write_json
from fsod.steps.demo import demo

HERE = Path(__file__).parent


def main() -> None:
    runs = []
    for seed in range(3):
        summary = demo([f"seed={seed}", f"run_dir=runs/demo-seed{seed}"])
        keep = ("seed", "base_map50", "novel_map50", "seconds", "machine", "per_class_ap50")
        runs.append({key: summary[key] for key in keep})
        write_json(HERE / "results.json", runs)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
