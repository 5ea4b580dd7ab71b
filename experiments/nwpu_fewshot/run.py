"""Runs the few-shot study: every system on the same shot lists, one record a run in results.json.

    make data meta-train CONFIG=configs/nwpu.yaml DATA=/path/to/nwpu_vhr10 SET=data.train_list=train_strict
    .venv/bin/python -m experiments.nwpu_fewshot.run --systems "enroll-only (meta-trained)" "finetune all" \
        --shots 3 5 10 --seeds 0 1 2 3 4

Images that show the same ground as a test image are left out of training (``train_strict``). Runs that are recorded are
skipped, so an interrupted study goes on. Processes may share the work and the results file: ``--threads 1 --seeds 0 1``
beside ``--threads 1 --seeds 2 3 4`` takes less time than one process with two threads.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from functools import partial
from pathlib import Path

from experiments.nwpu_fewshot.baselines import BASELINES, Learn
from experiments.nwpu_fewshot.bench import Bench, open_bench, pretraining, split_name
from experiments.nwpu_fewshot.systems import enroll, finetuned
from experiments.records import Record, add_record, check_same, commit, key_of, read_records
from fsod.config import load_settings
from fsod.engine.evaluate import Scores
from fsod.engine.run_paths import RunPaths
from fsod.errors import UserError
from fsod.steps import flat_metrics, tracked
from fsod.store.checkpoint import Checkpoint, load_checkpoint

HERE = Path(__file__).parent
PRETRAINED, META_TRAINED = "enroll-only (pretrained)", "enroll-only (meta-trained)"
FINETUNED = {f"finetune {part}": [f"finetune.part={part}"] for part in ("kernels", "adapters", "all")}
"""System -> what it changes of the run's settings; chosen with validate.py."""
SYSTEMS = (PRETRAINED, META_TRAINED, *FINETUNED, *BASELINES)


def main(arguments: list[str]) -> None:
    options = _options().parse_args(arguments)
    settings = load_settings(options.config, ["data.train_list=train_strict", *options.set])
    if options.run_dir is not None:
        settings = settings.model_copy(update={"run_dir": options.run_dir})
    bench = open_bench(settings, options.threads)
    shared = {"split": split_name(settings.data), "train_list": settings.data.train_list, "changed": options.set}
    runs = settings.run_dir / "study"
    for system in options.systems:
        same = {"system": system, **shared}
        learn, checkpoint = system_of(system, bench)
        same["checkpoint"] = checkpoint
        for seed in options.seeds:
            for k in options.shots:
                records = read_records(options.results)
                check_same(options.results, records, same)
                run = {**same, "shots": k, "seed": seed}
                if key_of(run) not in map(key_of, records):
                    record(options.results, bench, run, learn, runs / folder_name(system) / f"k{k}-seed{seed}")


def record(results: Path, bench: Bench, run: Record, learn: Learn, out: Path) -> None:
    """Does one run, tracks it and adds its record."""
    shots = bench.shots(run["shots"], run["seed"])
    shots.save(out / "shots.json")
    learned = learn(shots, out)
    scores = bench.score(learned.detect, learned.class_names)
    with tracked(bench.settings, f"study {run['system']} k={shots.k} seed={shots.seed}", None) as tracking:
        tracking.log_metrics({**flat_metrics(scores), "seconds": learned.seconds}, 0)
        for file in learned.files:
            tracking.log_artifact(file)
    add_record(results, {**run, **fields(scores), "seconds": learned.seconds, **origin(bench)})
    print(f"{run['system']}, {shots.k} shots, seed {shots.seed}: {brief(scores)}, {learned.seconds} s", flush=True)


def fields(scores: Scores) -> Record:
    """What a record holds of scores."""
    kept = ("novel_map50", "base_map50", "harmonic_map50", "all_map50", "all_map50_voc07", "all_map", "images")
    return {**{name: getattr(scores, name) for name in kept}, "per_class": scores.per_class_ap50}


def origin(bench: Bench) -> Record:
    """What a record holds of machine and code."""
    return {"machine": str(bench.machine), "commit": commit()}


def brief(scores: Scores) -> str:
    """Scores for the screen."""
    values = (("base", scores.base_map50), ("novel", scores.novel_map50))
    return ", ".join(f"{name} {value:.3f}" for name, value in values if value is not None)


def folder_name(system: str) -> str:
    """A system's name as that of a folder."""
    return "".join(c if c.isalnum() else "-" for c in system).strip("-")


def system_of(system: str, bench: Bench) -> tuple[Learn, str]:
    """How a system learns a shot list, and what its base stage is: file and first digits of its hash."""
    file = RunPaths(bench.settings.run_dir).meta_checkpoint
    if system in BASELINES:
        file = bench.settings.run_dir / "study" / folder_name(system) / "base.safetensors"
        return BASELINES[system](bench, pretraining(bench), file), _named(file)
    if system == PRETRAINED:
        file = pretraining(bench).file
    base = load_checkpoint(file, bench.machine.trunk_dtype, bench.settings.size)
    return learner(system, bench, base, file), _named(file)


def _named(file: Path) -> str:
    return f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


def learner(system: str, bench: Bench, base: Checkpoint, file: Path) -> Learn:
    """How a system learns a shot list from a base checkpoint."""
    if system in FINETUNED:
        return lambda shots, out: finetuned(bench, base, file, shots, out, FINETUNED[system])
    return partial(enroll, bench, base, file)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/nwpu.yaml"))
    parser.add_argument("--run-dir", type=Path, help="of data and base stage, if not the configuration's")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="recorded with every run")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--shots", nargs="+", type=int, default=[3, 5, 10])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, help="of this process; all cores if not given")
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"nwpu_fewshot: {error}")
