"""A grid of runs, K by seeds, for one system: what is recorded is skipped, what is done is tracked and recorded."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.nwpu_fewshot.bench import Bench, Learn
from experiments.records import Record, add_record, check_same, commit, key_of, read_records
from fsod.config import RunSettings
from fsod.config_file import load_settings
from fsod.evaluation.average_precision import Scores
from fsod.files import sha256_of
from fsod.steps.records import flat_metrics
from fsod.tracking.tracker import open_run


def options_of(description: str | None) -> argparse.ArgumentParser:
    """The options of every study."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/nwpu.yaml"))
    parser.add_argument("--run-dir", type=Path, help="of data and base stage, if not the configuration's")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="recorded with every run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, help="of this process; all cores if not given")
    parser.add_argument("--results", type=Path, help="the records, if not where the study keeps them")
    return parser


def settings_of(options: argparse.Namespace, *changes: str) -> RunSettings:
    """The run's settings with ``changes`` and ``--set``, and no training image of a test image's ground."""
    settings = load_settings(options.config, ["data.train_list=train_strict", *changes, *options.set])
    return settings if options.run_dir is None else settings.model_copy(update={"run_dir": options.run_dir})


def do_runs(
    bench: Bench, learn: Learn, same: Record, shots: list[int], seeds: list[int], results: Path, out: Path
) -> None:
    """Does what is missing of a system's runs.

    Args:
        bench: the benchmark.
        learn: how the system learns a shot list.
        same: what the system's records have in common; ``system`` and ``split`` among it.
        shots: every K.
        seeds: of the shot lists.
        results: the file of the records.
        out: folder for what the runs write.
    """
    same = {**same, "train_list": bench.settings.data.train_list}
    for seed in seeds:
        for k in shots:
            records = read_records(results)
            check_same(results, records, same)
            run = {**same, "shots": k, "seed": seed}
            if key_of(run) not in map(key_of, records):
                _do(bench, learn, run, results, out / f"k{k}-seed{seed}")


def _do(bench: Bench, learn: Learn, run: Record, results: Path, out: Path) -> None:
    shots = bench.shots(run["shots"], run["seed"])
    shots.save(out / "shots.json")
    learned = learn(shots, out)
    scores = bench.score(learned.detect, learned.class_names)
    with open_run(
        database=bench.database,
        experiment=bench.settings.name,
        run_name=f"{run['system']} k={shots.k} seed={shots.seed}",
        params=bench.settings.model_dump(mode="json"),
        tags={"stage": "study", "seed": str(shots.seed)},
    ) as tracking:
        tracking.log_metrics({**flat_metrics(scores), "seconds": learned.seconds}, 0)
        for file in learned.files:
            tracking.log_artifact(file)
    made = {"seconds": learned.seconds, "machine": str(bench.machine), "commit": commit()}
    add_record(results, {**run, **_fields(scores), **made})
    found = f"base {scores.base_map50 or 0:.3f}, novel {scores.novel_map50 or 0:.3f}"
    print(f"{run['system']}, {shots.k} shots, seed {shots.seed}: {found}, {learned.seconds} s", flush=True)


def _fields(scores: Scores) -> Record:
    kept = ("novel_map50", "base_map50", "harmonic_map50", "all_map50", "all_map50_voc07", "all_map", "images")
    return {**{name: getattr(scores, name) for name in kept}, "per_class": scores.per_class_ap50}


def folder_name(system: str) -> str:
    """A system's name as that of a folder."""
    return "".join(c if c.isalnum() else "-" for c in system).strip("-")


def hashed(file: Path) -> str:
    """Name of a file and first digits of its hash."""
    return f"{file.name} {sha256_of(file)[:12]}"
