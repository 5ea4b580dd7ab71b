"""What the default precision costs in accuracy: mAP50 of a run's detector on its test images, both ways.

    .venv/bin/python -m experiments.bench_model.precision configs/nwpu.yaml

Takes the run's detector of 10 shots and seed 0 and writes precision.json beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

from experiments.bench_model.networks import Eager
from fsod.compute.device import Machine, choose_machine
from fsod.config_file import load_settings
from fsod.data.coco_folder import load_folder, read_ids, write_json
from fsod.evaluation.average_precision import average_precision
from fsod.evaluation.shown_images import detect_folder
from fsod.inference.infer import BatchDetector
from fsod.model.baked import bake
from fsod.progress import progress_bar
from fsod.store.checkpoint import load_checkpoint
from fsod.tracking.run_paths import RunPaths

HERE = Path(__file__).parent
SHOTS, SEED = 10, 0


def main(config: Path) -> None:
    settings = load_settings(config)
    paths, machine = RunPaths(settings.run_dir), choose_machine()
    tuned = load_checkpoint(paths.finetuned(SHOTS, SEED), size=settings.size)
    folder = load_folder(paths.data)
    test = folder.select(read_ids(paths.id_list(settings.data.test_list)))
    detector, rows = tuned.detector.to(machine.device), tuned.detector.learned_rows().detach()

    def map50(network: nn.Module, name: str, machine: Machine) -> float | None:
        detect = BatchDetector(network, machine, settings.evaluate.score_floor, settings.evaluate)
        with progress_bar(name, len(test.images)) as bar:
            found = detect_folder(test, detect, bar.advance)
        return average_precision(test, found, list(tuned.class_names), settings.data.novel).all_map50

    write_json(
        HERE / "precision.json",
        {
            "config": str(config),
            "images": len(test.images),
            "eager_float32_map50": map50(Eager(detector, rows), "eager float32", choose_machine("float32")),
            "default_map50": map50(bake(detector, rows, machine.trunk_dtype), str(machine), machine),
            "machine": str(machine),
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
