"""Chooses settings without the test images and without labels of novel classes.

    .venv/bin/python -m experiments.nwpu_fewshot.validate --systems "finetune all" --shots 10 --seeds 0 1 \
        --set finetune.lr=5e-4

Base classes take the part of novel ones in turn, and a fixed third of the training list is scored; shots and base stage
come from the other two thirds. The true novel classes are never enrolled, and their boxes serve for nothing but leaving
their tiles out. A base stage is made once for every fold and every change of its settings; records go to
RUN_DIR/validate/results.json, and the table of all of them is printed at the end.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from experiments.intervals import interval
from experiments.nwpu_fewshot.base_stage import meta_trained, own_run
from experiments.nwpu_fewshot.baselines import BASELINES
from experiments.nwpu_fewshot.bench import Bench, open_bench, tiles_of
from experiments.nwpu_fewshot.grid import do_runs, folder_name, hashed, options_of, settings_of
from experiments.nwpu_fewshot.run import META_TRAINED, NOTHING_KEPT, PRETRAINED, SYSTEMS, system_of
from experiments.nwpu_fewshot.table import markdown
from experiments.records import Record, read_records
from fsod.errors import UserError

FOLDS = (("ship", "harbor", "ground track field"), ("storage tank", "basketball court", "bridge"))
SAME_GROUND = Path(__file__).parents[1] / "nwpu_overlap" / "results.json"


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=[META_TRAINED, "finetune all"])
    parser.add_argument("--shots", nargs="+", type=int, default=[10])
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1], choices=range(len(FOLDS)))
    options = parser.parse_args(arguments)
    settings = settings_of(options)
    where = settings.run_dir / "validate"
    results = options.results or where / "results.json"
    whole = open_bench(settings, options.threads)
    for fold in options.folds:
        bench = own_run(fold_of(whole, FOLDS[fold]), where / f"fold{fold}")
        for system in options.systems:
            if system != PRETRAINED and system.removesuffix(NOTHING_KEPT) not in BASELINES:
                meta_trained(bench)
            out = bench.settings.run_dir / folder_name(" ".join([system, *options.set]))
            learn, base = system_of(system, bench, options.set)
            same = {"system": " ".join([system, *options.set]), "split": f"fold {fold}", "checkpoint": hashed(base)}
            do_runs(bench, learn, same, options.shots, options.seeds, results, out)
    print(table(read_records(results)))


def fold_of(bench: Bench, held_out: tuple[str, ...]) -> Bench:
    """A bench whose novel classes are base classes, scored on a third of the training images."""
    novel = bench.settings.data.novel
    ids = [image.path.stem for image in bench.train.images]
    aside = set_aside(ids, json.loads(SAME_GROUND.read_text(encoding="utf-8"))["groups"])
    rest = [name for name in ids if name not in aside]
    data = bench.settings.data.model_copy(update={"novel": (*novel, *held_out)})
    return replace(
        bench,
        settings=bench.settings.model_copy(update={"data": data}),
        train=bench.train.select(rest),
        tiles=tiles_of(bench.tiles, rest),
        test=bench.train.select(sorted(aside)),
        class_names=tuple(name for name in bench.class_names if name not in novel),
        novel=held_out,
    )


def set_aside(ids: list[str], same_ground: list[list[str]]) -> set[str]:
    """About a third of the ids, always the same; images of the same ground stay together."""
    group_of = {name: min(group) for group in same_ground for name in group}
    return {name for name in ids if hashlib.sha256(group_of.get(name, name).encode()).digest()[0] % 3 == 0}


def table(records: list[Record]) -> str:
    """A row a system with its settings and K: means over folds and seeds; they serve for choosing, not for claiming."""
    rows = []
    for system, k in sorted({(r["system"], r["shots"]) for r in records}):
        found = [r for r in records if (r["system"], r["shots"]) == (system, k)]
        means = [f"{interval([r[m] for r in found]).mean:.3f}" for m in ("novel_map50", "base_map50")]
        rows.append([system, str(k), *means, str(len(found))])
    return markdown(["system and settings", "K", "held out", "other base", "runs"], rows)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"validate: {error}")
