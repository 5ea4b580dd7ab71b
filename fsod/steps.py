"""The steps of a run: each reads the files of the step before it, calls the engine, writes its own and tracks itself.

The command line and the demo are made of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from data_prep.formats import FORMATS
from data_prep.synthetic import load_spec, make_scenes
from data_prep.tile import tile_folder
from fsod.config import CommonSettings, OptimSettings, PretrainSettings, RunSettings, override_settings
from fsod.data.coco import CocoFolder, load_folder, read_ids, write_json
from fsod.data.shots import ShotList, draw_shots, load_shots, only_shots
from fsod.draw import contact_sheet, write_png
from fsod.engine.device import choose_machine
from fsod.engine.distributed import first_goes_ahead, is_first, joined
from fsod.engine.enroll import Examples, enrolled_bank, shot_examples
from fsod.engine.evaluate import average_precision, detect_folder
from fsod.engine.finetune import finetune, tuned_bank
from fsod.engine.infer import batch_detector
from fsod.engine.meta_train import SHAPING, meta_train
from fsod.engine.pretrain import SHAPING as PRETRAIN_SHAPING
from fsod.engine.pretrain import pretrain
from fsod.engine.run_paths import SCORES, RunPaths
from fsod.engine.run_scores import evaluations
from fsod.errors import UserError
from fsod.evaluation_pictures import FOUND, write_by_shots, write_pictures
from fsod.progress import console, progress_bar
from fsod.records import flat_metrics, hashes, log_folder, log_shots, observer, tracked, unobserved
from fsod.store.checkpoint import Checkpoint, load_checkpoint
from fsod.store.class_bank import ClassBank, load_bank, save_bank


def prepare_data(settings: RunSettings, source: Path | None) -> dict[str, Any]:
    """Makes the prepared folder and the training tiles of a run.

    Args:
        settings: of the run.
        source: the downloaded data set; not needed for synthetic scenes.
    """
    paths = RunPaths(settings.run_dir)
    if settings.data.format == "synthetic":
        if settings.data.scenes is None:
            raise UserError("data.scenes: name the specification of the synthetic scenes")
        card = make_scenes(load_spec(settings.data.scenes), paths.data)
    elif source is None:
        raise UserError("name the folder of the downloaded data set (--source, or DATA= with make)")
    else:
        card = FORMATS[settings.data.format](source, paths.data, skip_bad=settings.data.skip_bad)
    folder = load_folder(paths.data)
    split_list = read_ids(paths.id_list(settings.data.train_list))
    folder.class_indices(settings.data.novel)
    tile_folder(
        folder,
        paths.tiles,
        window_px=settings.data.tile_px,
        overlap_px=settings.data.tile_overlap_px,
        keep_empty=0.0,
        ids=split_list,
    )
    return card


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
            _check_settings(checkpoint, settings, shaping)
            return {"checkpoint": str(checkpoint), "seconds": 0.0}
        folders, started = [load_folder(path) for path in data], time.perf_counter()
        train = partial(train, settings, *folders, machine, *files)
        if is_first():
            with tracked(settings, stage, settings.run_dir / f"{stage}.mlflow") as run:
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


def _check_settings(checkpoint: Path, settings: CommonSettings, shaping: set[str]) -> None:
    done = type(settings).model_validate(load_checkpoint(checkpoint).settings)
    if done.model_dump(include=shaping) != settings.model_dump(include=shaping):
        raise UserError(f"{checkpoint}: was trained with other settings; delete it, or give another run_dir")
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
    """Finetunes the run's meta-trained detector on K shots a class and writes checkpoint and bank."""
    paths, machine = RunPaths(settings.run_dir), choose_machine(settings.finetune.precision)
    with joined(machine.device):
        base = load_checkpoint(paths.meta_checkpoint, machine.trunk_dtype, settings.size)
        with first_goes_ahead():
            train, shots = shot_list(settings, k, seed)
        settings = settings.model_copy(update={"seed": seed})
        files = (paths.finetuned(k, seed), paths.finetune_state(k, seed))
        started = time.perf_counter()
        if is_first():
            with tracked(settings, "finetune", paths.finetune_run(k, seed), shots=k) as run:
                log_folder(run, "query", only_shots(train, shots))
                log_shots(run, shots, paths.shots(k, seed))
                run.log_image(support_sheet(train, shots, settings.episodes.support_px, paths.shots(k, seed).parent))
                with progress_bar(f"finetune, {k} shots", settings.finetune.steps) as bar:
                    observe = observer(run, bar.advance_to, settings.episodes.queries)
                    tuned = finetune(settings, base, train, shots, machine, *files, observe)
                bank = tuned_bank(settings, tuned, train, shots, machine, gsd_of(train))
                save_bank(paths.bank(k, seed), bank, files[0])
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


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated on what.

    Attributes:
        checkpoint: any checkpoint.
        files: what the tracking store keeps the hash of: the checkpoint, and the bank if there is one.
        folder: the images.
        novel: names of the novel classes.
        examples: of classes that the checkpoint has not learned; they are enrolled first.
        support: the shot list that novel classes were learned from, and its file.
        run_file: names the run in the tracking store that trained the checkpoint, where the scores belong; None: they get
            a run of their own.
        label: of such a run.
        bank: the classes to score, instead of those learned and those enrolled.
    """

    checkpoint: Checkpoint
    files: dict[str, Path]
    folder: CocoFolder
    novel: tuple[str, ...]
    examples: Examples
    support: tuple[ShotList, Path] | None = None
    run_file: Path | None = None
    label: str = ""
    bank: ClassBank | None = None


def run_evaluate(settings: CommonSettings, what: Evaluation, out: Path) -> dict[str, Any]:
    """Scores a checkpoint, all its classes enrolled at once; scores and pictures go to the folder ``out``."""
    machine = choose_machine(settings.predict.precision)
    bank = what.bank or enrolled_bank(what.checkpoint, what.examples, machine, {}, None, learned=True)
    names = [name for name in bank.reported.class_names if name in what.folder.class_names]
    if not names:
        raise UserError(f"{what.folder.root}: has none of the checkpoint's classes ({', '.join(bank.class_names)})")
    bank = bank.select([*names, *(name for name in bank.class_names if name not in bank.reported.class_names)])
    detect = batch_detector(what.checkpoint, bank, machine, settings.evaluate, settings.evaluate.score_floor)
    started = time.perf_counter()
    with progress_bar("evaluate", len(what.folder.images)) as bar:
        found = detect_folder(what.folder, detect, bar.advance)
    seconds = time.perf_counter() - started
    scores = average_precision(what.folder, found, names, what.novel)
    result = {**scores.as_dict(), "seconds": seconds, "machine": str(machine), "picture": str(out / FOUND)}
    write_json(out / SCORES, result)
    shots = what.support[0].k if what.support and what.run_file else None
    with tracked(settings, "evaluate", what.run_file, shots=shots, label=what.label, reopen=True) as run:
        run.tag({"stage": "evaluate", **hashes(what.files)})
        log_folder(run, "test", what.folder)
        if what.support:
            log_shots(run, *what.support)
        run.log_metrics(flat_metrics(scores), 0)
        run.summarise()
        run.log_artifact(out / SCORES)
        for picture in write_pictures(what.folder, found, names, what.novel, out):
            run.log_image(picture)
        if what.run_file is not None:
            run.log_image_of_study(write_by_shots(evaluations(settings.run_dir), settings.run_dir))
    return result


def gsd_of(folder: CocoFolder) -> float | None:
    """The median GSD of a folder's images, None when any is unknown."""
    known = [image.gsd_m for image in folder.images if image.gsd_m is not None]
    return float(np.median(known)) if len(known) == len(folder.images) and known else None


def support_sheet(folder: CocoFolder, shots: ShotList, support_px: int, where: Path) -> Path:
    """A picture of all shots with their boxes' surroundings."""
    examples = shot_examples(folder, shots, list(shots.box_ids), support_px)
    path = where / "support.png"
    write_examples(path, examples, columns=shots.k)
    return path


def write_examples(path: Path, examples: Examples, columns: int) -> None:
    """A contact sheet of support crops, each under its class."""
    pairs = [(crop.rgb, name) for name, crops in examples.items() for crop in crops]
    write_png(path, contact_sheet([rgb for rgb, _ in pairs], [name for _, name in pairs], columns=columns))


def evaluate_run(settings: RunSettings, k: int, seed: int, ids: Path | None) -> dict[str, Any]:
    """Scores a run's finetuned detector on its test list, or on another list of image ids."""
    paths, settings = RunPaths(settings.run_dir), settings.model_copy(update={"seed": seed})
    file = paths.finetuned(k, seed)
    tuned = load_checkpoint(file, size=settings.size)
    folder = load_folder(paths.data)
    test = folder.select(read_ids(ids or paths.id_list(settings.data.test_list)))
    known = paths.shots(k, seed)
    what = Evaluation(
        tuned,
        {"checkpoint": file},
        test,
        settings.data.novel,
        {},
        support=(load_shots(known, folder), known) if known.is_file() else None,
        run_file=paths.finetune_run(k, seed) if ids is None else None,
        label="" if ids is None else f"K={k}/seed={seed} on {ids.stem}",
    )
    # scores on another list must not pass for the run's own
    return run_evaluate(settings, what, file.parent if ids is None else file.parent / f"on-{ids.stem}")


def evaluate_files(
    checkpoint: Path, data: Path, ids: Path | None, shots: Path | None, bank: Path | None, overrides: list[str]
) -> dict[str, Any]:
    """Scores any checkpoint on any prepared folder; its own settings say which classes are novel.

    Classes of the shot list that the checkpoint has not learned are enrolled from their shots and count as novel; so do
    those of a bank, which is scored instead.
    """
    if shots is not None and bank is not None:
        raise UserError(f"{bank}: a bank has its classes already; leave --shots or --bank out")
    loaded = load_checkpoint(checkpoint)
    kind = PretrainSettings if loaded.stage == "pretrain" else RunSettings
    settings = override_settings(loaded.settings, overrides, checkpoint, kind)
    folder = load_folder(data)
    test = folder.select(read_ids(ids)) if ids else folder
    examples: Examples = {}
    support = None
    if shots is not None:
        drawn = load_shots(shots, folder)
        support = (drawn, shots)
        new = [name for name in drawn.box_ids if name not in loaded.class_names]
        examples = shot_examples(folder, drawn, new, settings.episodes.support_px)
    stored = load_bank(bank, loaded.detector) if bank is not None else None
    added = [name for name in (stored.class_names if stored else examples) if name not in loaded.class_names]
    novel = tuple(dict.fromkeys((*(settings.data.novel if isinstance(settings, RunSettings) else ()), *added)))
    label = (bank or checkpoint).stem
    files = {"checkpoint": checkpoint} | ({"bank": bank} if bank else {})
    what = Evaluation(loaded, files, test, novel, examples, support, label=label, bank=stored)
    with TemporaryDirectory() as pictures:
        result = run_evaluate(settings, what, Path(pictures))
    del result["picture"]  # the tracking store keeps it
    return result
