"""Runs the ablation: every variant trained on the same short schedule and finetuned on the same shot lists.

    .venv/bin/python -m experiments.ablation.run --variants full "no meta-sampling" --seeds 0 1 2 3 4

A variant's base stage starts from the shipped weights, which were made with the full system's parts: from chance, a
schedule that two cores can afford leaves the support encoder untrained (README). What is recorded in
RUN/ablation.json is skipped; several processes may share the work, as in nwpu_fewshot.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from experiments.ablation.variants import FULL, VARIANTS, applied
from experiments.nwpu_fewshot.base_stage import meta_trained, own_run
from experiments.nwpu_fewshot.bench import Bench, Learned, open_bench, split_name
from experiments.nwpu_fewshot.grid import do_runs, folder_name, hashed, options_of, settings_of
from experiments.nwpu_fewshot.systems import enroll, finetuned
from fsod.data.shots import ShotList
from fsod.errors import UserError
from fsod.store.checkpoint import load_checkpoint
from fsod.training.finetune import StartRows

ENROLLED = ", enrolled"
SCHEDULE = ("meta_train.steps=800", "finetune.part=all", "finetune.steps=200", "finetune.keep=0")
"""Of all variants alike; ``--set`` can change it."""


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--shots", nargs="+", type=int, default=[10])
    options = parser.parse_args(arguments)
    for name in options.variants:
        variant = VARIANTS[name]
        settings = settings_of(options, *SCHEDULE, *variant.changes)
        run_dir = settings.run_dir
        where = run_dir / "ablation" / folder_name(name if variant.own_base else FULL)
        bench = own_run(open_bench(settings, options.threads), where)
        with applied(variant):
            base = meta_trained(bench)
            same = {"split": split_name(settings.data), "changed": options.set, "checkpoint": hashed(base)}
            systems = {name: variant.finetuned} | ({name + ENROLLED: False} if variant.finetuned else {})
            for system, trained in systems.items():
                do_runs(
                    bench,
                    partial(learn, bench, base, variant.start_rows if trained else None),
                    {"system": system, **same},
                    options.shots,
                    options.seeds,
                    options.results or run_dir / "ablation.json",
                    bench.settings.run_dir / folder_name(system),
                )


def learn(bench: Bench, base_file: Path, start_rows: StartRows | None, shots: ShotList, out: Path) -> Learned:
    """What the variant that is applied makes of a shot list: finetuned from ``start_rows``, or only enrolled."""
    base = load_checkpoint(base_file, bench.machine.trunk_dtype, bench.settings.size)
    if start_rows is not None:
        return finetuned(bench, base, base_file, shots, out, [], start_rows)
    return enroll(bench, base, base_file, shots, out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"ablation: {error}")
