"""The road of configs/nwpu.yaml after meta-training: enroll and finetune at K = 3, 5, 10 with two seeds, and score.

    make data meta-train CONFIG=configs/nwpu.yaml DATA=/path/to/nwpu_vhr10
    .venv/bin/python experiments/nwpu_road/nwpu_road.py

Writes results.json beside this file, one record a run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fsod.config import load_settings
from fsod.data.coco import write_json
from fsod.engine.run_paths import RunPaths
from fsod.steps.evaluate import evaluate_files, evaluate_run
from fsod.steps.train import run_finetune, shot_list

HERE = Path(__file__).parent
KS, SEEDS = (3, 5, 10), (0, 1)


def main(overrides: list[str]) -> None:
    settings = load_settings(Path("configs/nwpu.yaml"), overrides)
    paths = RunPaths(settings.run_dir)
    test = paths.id_list(settings.data.test_list)
    records: list[dict[str, Any]] = []
    for seed in SEEDS:
        for k in KS:
            shot_list(settings, k, seed)
            enrolled = evaluate_files(paths.meta_checkpoint, paths.data, test, paths.shots(k, seed), None, overrides)
            tuned = run_finetune(settings, k, seed)
            scored = evaluate_run(settings, k, seed, None)
            for system, result, seconds in (("enrolled", enrolled, 0.0), ("finetuned", scored, tuned["seconds"])):
                kept = {key: value for key, value in result.items() if key not in ("picture", "seconds")}
                records.append({"system": system, "shots": k, "seed": seed, "training_seconds": seconds, **kept})
                print(system, k, seed, f"base {result['base_map50']:.3f} novel {result['novel_map50']:.3f}", flush=True)
            write_json(HERE / "results.json", {"config": settings.model_dump(mode="json"), "runs": records})


if __name__ == "__main__":
    main(sys.argv[1:])
