"""A meta-training of a study's own, on the bench's tiles."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from experiments.nwpu_fewshot.bench import Bench
from experiments.nwpu_fewshot.plain import made_once
from fsod.progress import progress_bar
from fsod.tracking.run_paths import RunPaths
from fsod.training.meta_train import SHAPING, init_sha256, meta_train


def own_run(bench: Bench, where: Path) -> Bench:
    """The same bench with a run folder below ``where`` that belongs to settings and initial weights."""
    shaping = [bench.settings.model_dump_json(include=SHAPING), *init_sha256(bench.settings.init)]
    name = hashlib.sha256("\n".join(shaping).encode()).hexdigest()[:10]
    return replace(bench, settings=bench.settings.model_copy(update={"run_dir": where / name}))


def meta_trained(bench: Bench) -> Path:
    """The checkpoint of the bench's run, made if it is not there; another process that asks meanwhile waits."""
    paths = RunPaths(bench.settings.run_dir)
    with made_once(paths.meta_checkpoint) as wanted:
        if wanted:
            files = paths.meta_checkpoint, paths.meta_state
            with progress_bar(f"{paths.run_dir.parent.name}, meta-train", bench.settings.meta_train.steps) as bar:
                meta_train(
                    bench.settings,
                    bench.tiles,
                    bench.machine,
                    *files,
                    lambda step, values: bar.advance_to(step, f"loss {values['total']:.2f}"),
                )
    return paths.meta_checkpoint
