"""The commands of a run: pretrain, meta-train, evaluate, and the demo, which does all of it."""

from __future__ import annotations

from json import dumps as as_json
from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.options import Config, Overrides, Seed, ShotsK, refuse, report
from fsod.cli.outputs import Json, Overwrite, may_write, paths_in
from fsod.config_file import load_pretrain_settings, load_settings
from fsod.errors import UserError


def pretrain_command(
    config: Config,
    overrides: Overrides = None,
    grounds: Annotated[
        Path | None,
        typer.Option(help="Folder of unlabelled photographs to cut classes out of; the same as the key grounds."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Teach a network to compare, on invented classes. Goes on after an interruption."""
    from fsod.steps.train import run_pretrain

    named = [] if grounds is None else [f"grounds={as_json(str(grounds))}"]
    settings = load_pretrain_settings(config, [*(overrides or ()), *named])
    may_write(json, overwrite, inputs=paths_in(settings))
    result = run_pretrain(settings)
    start = f"init={result['checkpoint']}", f"size={settings.size}"
    report(result, json, "meta-train", "--config", "configs/nwpu.yaml", *start)


def meta_train_command(
    config: Config, overrides: Overrides = None, overwrite: Overwrite = False, json: Json = None
) -> None:
    """Train on the base classes in episodes. Goes on after an interruption."""
    from fsod.steps.train import run_meta_train

    settings = load_settings(config, overrides)
    may_write(json, overwrite, inputs=paths_in(settings))
    result = run_meta_train(settings)
    report(result, json, "finetune", "--config", config, "--shots-k", 10, *overrides or ())


def evaluate_command(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Evaluate a run's finetuned detector.")] = None,
    shots_k: ShotsK = 10,
    seed: Seed = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Evaluate this checkpoint.")] = None,
    data: Annotated[Path | None, typer.Option(help="Evaluate on this prepared folder.")] = None,
    ids: Annotated[
        Path | None, typer.Option(help="Evaluate on this list of image ids. By default the test list of the run.")
    ] = None,
    shots: Annotated[
        Path | None, typer.Option(help="Shot list for classes that the checkpoint has not learned.")
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option(help="Score the classes of this bank, by default with its own weights."),
    ] = None,
    overrides: Overrides = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Measure average precision of a run (--config), or of any checkpoint or bank on any folder (--data)."""
    from fsod.steps.evaluate_detector import evaluate_files, evaluate_run
    from fsod.store.class_bank import checkpoint_of

    if config is None and checkpoint is None and bank is not None:
        checkpoint = checkpoint_of(bank)
    if checkpoint is not None and data is not None and config is None:
        may_write(json, overwrite)
        report(evaluate_files(checkpoint, data, ids, shots, bank, overrides or []), json, "dashboard")
    elif config is not None and checkpoint is None and data is None:
        refuse({"--bank": bank, "--shots": shots}, "goes with --data; a run (--config) has its own")
        settings = load_settings(config, overrides)
        may_write(json, overwrite, inputs=paths_in(settings))
        scores = evaluate_run(settings, shots_k, settings.seed if seed is None else seed, ids)
        report(scores, json, "report", settings.run_dir)
    else:
        raise UserError("evaluate needs either --config, or --data and what is scored: --checkpoint or --bank")


def demo_command(overrides: Overrides = None) -> None:
    """Run everything once on synthetic scenes, in minutes, without a download."""
    from fsod.steps.demo import demo

    demo(overrides or [])
