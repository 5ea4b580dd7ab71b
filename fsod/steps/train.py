"""The steps that train a run: its data, pretrain, meta-train, finetune."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.reader_of import reader_of
from data_prep.synthetic import load_spec, make_scenes
from data_prep.tile import tile_folder
from fsod.compute.device import choose_machine
from fsod.compute.distributed import first_goes_ahead, is_first, joined
from fsod.config import CommonSettings, OptimSettings, PretrainSettings, RunSettings
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids
from fsod.data.leakage import refuse_other_split
from fsod.data.shots import ShotList, draw_shots, load_shots, only_shots
from fsod.data_formats import DRAWN
from fsod.errors import UserError
from fsod.files import held, sha256_of
from fsod.inference.enrollment import shot_examples
from fsod.progress import console, progress_bar
from fsod.report.evaluation_pictures import remove_evaluation
from fsod.steps.example_sheet import write_examples
from fsod.steps.records import hashes, log_folder, log_shots, observer, tracked, unobserved
from fsod.steps.same_settings import refuse_other_settings
from fsod.store.checkpoint import CheckpointHeader, load_checkpoint, read_header
from fsod.store.class_bank import save_bank
from fsod.tracking.run_paths import RunPaths
from fsod.training.finetune import finetune, tuned_bank
from fsod.training.meta_train import SHAPING, meta_train
from fsod.training.pretrain import SHAPING as PRETRAIN_SHAPING
from fsod.training.pretrain import pretrain


def prepare_data(settings: RunSettings, source: Path | None) -> dict[str, Any]:
    """Makes the prepared folder and the training tiles of a run.

    Args:
        settings: of the run.
        source: the downloaded data set; not needed for synthetic scenes.
    """
    paths = RunPaths(settings.run_dir)
    if settings.data.format == DRAWN:
        if settings.data.scenes is None:
            raise UserError("data.scenes: name the specification of the synthetic scenes")
        card = make_scenes(load_spec(settings.data.scenes), paths.data)
    elif source is None:
        raise UserError("name the folder of the downloaded data set (--source, or DATA= with make)")
    else:
        card = reader_of(settings.data.format)(source, paths.data, skip_bad=settings.data.skip_bad)
    folder = load_folder(paths.data)
    split_list = read_ids(paths.id_list(settings.data.train_list))
    folder.class_indices(settings.data.novel)
    _check_test_list(paths.id_list(settings.data.test_list))
    tile_folder(
        folder,
        paths.tiles,
        window_px=settings.data.tile_px,
        overlap_px=settings.data.tile_overlap_px,
        keep_empty=0.0,
        ids=split_list,
    )
    return card


def _check_test_list(path: Path) -> None:
    """UserError without the list that the run is scored on: found out now, not by ``evaluate`` after days of training."""
    try:
        read_ids(path)
    except UserError as error:
        raise UserError(f"{error}; let data.test_list name the list to score on") from error


def run_meta_train(settings: RunSettings) -> dict[str, Any]:
    """Meta-trains, or finds that it has been done with these very settings; under torchrun, with all its processes."""
    paths = RunPaths(settings.run_dir)
    files = paths.meta_checkpoint, paths.meta_state
    return _train_once("meta-train", meta_train, settings, settings.meta_train, SHAPING, files, paths.tiles)


def run_pretrain(settings: PretrainSettings) -> dict[str, Any]:
    """Pretrains on invented classes, or finds that it has been done with these very settings."""
    paths = RunPaths(settings.run_dir)
    files = paths.pretrained, paths.pretrain_state
    return _train_once("pretrain", pretrain, settings, settings.pretrain, PRETRAIN_SHAPING, files)


def _train_once(
    stage: str,
    train: Callable[..., object],
    settings: RunSettings | PretrainSettings,
    optim: OptimSettings,
    shaping: set[str],
    files: tuple[Path, Path],
    *data: Path,
) -> dict[str, Any]:
    """Trains into the first of ``files``, if it is not there yet, on prepared folders."""
    checkpoint, machine = files[0], choose_machine(optim.precision)
    with joined(machine.device):
        if checkpoint.is_file():
            _check_done(checkpoint, settings, shaping, data)
            if is_first():
                files[1].unlink(missing_ok=True)  # of a run that was killed just before it was done
            return {"checkpoint": str(checkpoint), "seconds": 0.0}
        folders, started = [load_folder(path) for path in data], time.perf_counter()
        train = partial(train, settings, *folders, machine, *files)
        if is_first():
            with (
                held(settings.run_dir / f".{stage}.fsod-lock", checkpoint),
                tracked(settings, stage, settings.run_dir / f"{stage}.mlflow") as run,
            ):
                for folder in folders:
                    log_folder(run, stage, folder)
                with progress_bar(stage, optim.steps) as bar:
                    train(observer(run, bar.advance_to, settings.episodes.queries))
                run.log_metrics({"seconds": time.perf_counter() - started}, optim.steps)
                run.log_artifact(checkpoint)
                run.tag(hashes({"checkpoint": checkpoint}))
        else:
            train(unobserved)
    return {"checkpoint": str(checkpoint), "seconds": time.perf_counter() - started, "machine": str(machine)}


def _check_done(checkpoint: Path, settings: CommonSettings, shaping: set[str], data: Sequence[Path]) -> None:
    """UserError for a checkpoint that was trained with other settings, or on other data than is there now."""
    header = read_header(checkpoint, CheckpointHeader)
    refuse_other_settings(checkpoint, header.settings, settings, shaping)
    for path in data:  # may be gone, as nothing needs it any more
        if header.data_sha256 and path.is_dir() and load_folder(path).sha256 != header.data_sha256:
            raise UserError(
                f"{checkpoint}: was trained on other data than {path} holds now; delete it, or give another run_dir"
            )
    if is_first():
        console.print(f"{checkpoint}: already trained with these settings")


def shot_list(settings: RunSettings, k: int, seed: int) -> tuple[CocoFolder, ShotList]:
    """The training images and the run's K-shot list over all classes, drawn and kept as a file on first use."""
    paths = RunPaths(settings.run_dir)
    folder = load_folder(paths.data)
    train = folder.select(read_ids(paths.id_list(settings.data.train_list)))
    path = paths.shots(k, seed)
    if not path.is_file():
        draw_shots(train, train.class_names, k, seed).save(path)
    return train, load_shots(path, train)


def run_finetune(settings: RunSettings, k: int, seed: int) -> dict[str, Any]:
    """Finetunes the run's meta-trained detector on K shots per class and writes checkpoint and bank."""
    paths, machine = RunPaths(settings.run_dir), choose_machine(settings.finetune.precision)
    with joined(machine.device):
        if not paths.meta_checkpoint.is_file():
            raise UserError(f"{paths.meta_checkpoint}: no such file; run `fsod meta-train` with these settings first")
        base = load_checkpoint(paths.meta_checkpoint, machine.trunk_dtype, settings.size)
        refuse_other_split(base.settings, settings.data, paths.meta_checkpoint)
        with first_goes_ahead():
            train, shots = shot_list(settings, k, seed)
        settings = settings.model_copy(update={"seed": seed})
        files = (paths.finetuned(k, seed), paths.finetune_state(k, seed))
        before = sha256_of(files[0]) if files[0].is_file() else None
        started = time.perf_counter()
        if is_first():
            with (
                held(files[0].with_name(".fsod-lock"), files[0].parent),
                tracked(settings, "finetune", paths.finetune_run(k, seed), shots=k) as run,
            ):
                log_folder(run, "query", only_shots(train, shots))
                log_shots(run, shots, paths.shots(k, seed))
                run.log_image(support_sheet(train, shots, settings.episodes.support_px, paths.shots(k, seed).parent))
                with progress_bar(f"finetune, {k} shots", settings.finetune.steps) as bar:
                    observe = observer(run, bar.advance_to, settings.episodes.queries)
                    tuned = finetune(settings, base, train, shots, machine, *files, observe)
                bank = tuned_bank(settings, tuned, train, shots, machine, train.gsd_m)
                save_bank(paths.bank(k, seed), bank, files[0])
                if before not in (None, sha256_of(files[0])):
                    remove_evaluation(files[0].parent)
                run.log_artifact(files[0])
                run.log_artifact(paths.bank(k, seed))
                run.tag(hashes({"checkpoint": files[0], "bank": paths.bank(k, seed)}))
        else:
            finetune(settings, base, train, shots, machine, *files, unobserved)
    seconds = time.perf_counter() - started
    return {
        "checkpoint": str(paths.finetuned(k, seed)),
        "bank": str(paths.bank(k, seed)),
        "seconds": seconds,
        "machine": str(machine),
    }


def support_sheet(folder: CocoFolder, shots: ShotList, support_px: int, where: Path) -> Path:
    """A picture of all shots with their boxes' surroundings."""
    examples = shot_examples(folder, shots, list(shots.box_ids), support_px)
    path = where / "support.png"
    write_examples(path, examples, columns=shots.k)
    return path
