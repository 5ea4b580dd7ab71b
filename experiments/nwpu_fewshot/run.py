"""Runs the few-shot study: every system on the same shot lists, one record a run in RUN/study.json.

    make data meta-train CONFIG=configs/nwpu.yaml DATA=/path/to/nwpu_vhr10 SET=data.train_list=train_strict
    .venv/bin/python -m experiments.nwpu_fewshot.run --systems "enroll-only (meta-trained)" "finetune all" \
        --shots 3 5 10 --seeds 0 1 2 3 4

results.json here, which the README shows, takes more runs (``--results``) only on its own base stage,
weights/base.safetensors. Images that show the same ground as a test image are left out of training
(``train_strict``). Runs that are recorded are skipped, so an interrupted study goes on. Processes may share the work
and the results file: ``--threads 1 --seeds 0 1`` beside ``--threads 1 --seeds 2 3 4`` takes less time than one
process with two threads.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from experiments.nwpu_fewshot.baselines import BASELINES
from experiments.nwpu_fewshot.bench import Bench, Learn, open_bench, pretraining, split_name
from experiments.nwpu_fewshot.grid import do_runs, folder_name, hashed, options_of, settings_of
from experiments.nwpu_fewshot.systems import enroll, finetuned
from fsod.errors import UserError
from fsod.store.checkpoint import load_checkpoint
from fsod.tracking.run_paths import RunPaths

PRETRAINED, META_TRAINED = "enroll-only (pretrained)", "enroll-only (meta-trained)"
FINETUNED = {
    "finetune kernels": ["finetune.part=kernels", "finetune.lr=0.1", "finetune.steps=200"],
    "finetune adapters": ["finetune.part=adapters", "finetune.lr=5e-3", "finetune.steps=300"],
    "finetune all": ["finetune.part=all"],
}
"""System -> what it changes of the run's settings; chosen with validate.py. ``--set`` comes after."""
NOTHING_KEPT = ", nothing kept"
"""Behind a system's name: its weights stay as the shots leave them, whatever ``finetune.keep`` says."""
SYSTEMS = (PRETRAINED, META_TRAINED, *FINETUNED, *BASELINES, *(s + NOTHING_KEPT for s in ("finetune all", *BASELINES)))


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--shots", nargs="+", type=int, default=[3, 5, 10])
    options = parser.parse_args(arguments)
    settings = settings_of(options)
    bench, results = open_bench(settings, options.threads), options.results or settings.run_dir / "study.json"
    for system in options.systems:
        out = settings.run_dir / "study" / folder_name(system)
        learn, base = system_of(system, bench, options.set)
        same = {
            "system": system,
            "split": split_name(settings.data),
            "changed": options.set,
            "checkpoint": hashed(base),
        }
        do_runs(bench, learn, same, options.shots, options.seeds, results, out)


def system_of(system: str, bench: Bench, changes: list[str]) -> tuple[Learn, Path]:
    """How a system learns a shot list, and the file of its base stage, which a baseline makes below the run's folder.

    ``changes`` are those of ``--set``, which the settings of the finetuning forms must not undo.
    """
    if system.endswith(NOTHING_KEPT):
        system, bench = system.removesuffix(NOTHING_KEPT), _with_nothing_kept(bench)
    if system in BASELINES:
        file = bench.settings.run_dir / "study" / folder_name(system) / "base.safetensors"
        return BASELINES[system](bench, pretraining(bench), file), file
    file = pretraining(bench).file if system == PRETRAINED else RunPaths(bench.settings.run_dir).meta_checkpoint
    base = load_checkpoint(file, bench.machine.trunk_dtype, bench.settings.size)
    if system in FINETUNED:
        changes = [*FINETUNED[system], *changes]
        return lambda shots, where: finetuned(bench, base, file, shots, where, changes), file
    return partial(enroll, bench, base, file), file


def _with_nothing_kept(bench: Bench) -> Bench:
    finetune = bench.settings.finetune.model_copy(update={"keep": 0.0})
    return replace(bench, settings=bench.settings.model_copy(update={"finetune": finetune}))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"nwpu_fewshot: {error}")
