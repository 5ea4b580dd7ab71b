"""The steps that score a detector: of a run, or any checkpoint on any folder; scores and pictures are written and tracked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fsod.band_rule import are_toned
from fsod.compute.device import choose_machine
from fsod.config import WINDOW_PX, CommonSettings, PretrainSettings, RunSettings
from fsod.config_file import override_settings
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids, write_json
from fsod.data.leakage import refuse_other_split, refuse_scored_examples, refuse_shots_of_whole
from fsod.data.shots import ShotList, load_shots, refuse_scored_shots
from fsod.errors import UserError
from fsod.evaluation.average_precision import average_precision
from fsod.evaluation.shown_images import detect_folder
from fsod.files import held
from fsod.geo.scene_plan import ScenePlan
from fsod.inference.enrollment import Examples, enrolled_bank, shot_examples
from fsod.inference.infer import batch_detector
from fsod.progress import progress_bar
from fsod.report.evaluation_pictures import FOUND, write_by_shots, write_pictures
from fsod.steps.records import flat_metrics, hashes, log_folder, log_shots, tracked
from fsod.steps.same_settings import refuse_other_settings
from fsod.store.checkpoint import Checkpoint, load_checkpoint
from fsod.store.class_bank import ClassBank, learned_bank, load_bank
from fsod.tracking.run_paths import SCORES, RunPaths
from fsod.tracking.run_scores import evaluations


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
    plan = settings.predict
    windows = ScenePlan(
        window_px=plan.window_px or WINDOW_PX,
        overlap_px=plan.overlap_px,
        enlargement=bank.enlargement,
        reductions=bank.reported.reductions,
        batch=plan.batch,
        toned=are_toned(bank.shown),
        suppression=settings.evaluate,
    )
    started = time.perf_counter()
    with progress_bar("evaluate", len(what.folder.images)) as bar:
        found = detect_folder(what.folder, detect, bar.advance, windows)
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


def evaluate_run(settings: RunSettings, k: int, seed: int, ids: Path | None) -> dict[str, Any]:
    """Scores a run's finetuned detector on its test list, or on another list of image ids.

    Raises:
        UserError: the detector was trained with other settings, or a shot lies on an image of the list.
    """
    paths, settings = RunPaths(settings.run_dir), settings.model_copy(update={"seed": seed})
    file = paths.finetuned(k, seed)
    if not file.is_file():
        raise UserError(
            f"{file}: no such file; run `fsod finetune` with these settings and --shots-k {k} --seed {seed} first"
        )
    tuned = load_checkpoint(file, size=settings.size)
    refuse_other_split(tuned.settings, settings.data, file)
    refuse_other_settings(file, tuned.settings, settings, {"episodes", "loss", "finetune"})
    folder = load_folder(paths.data)
    test = folder.select(read_ids(ids or paths.id_list(settings.data.test_list)))
    known = paths.shots(k, seed)
    support = (load_shots(known, folder), known) if known.is_file() else None
    if support:
        refuse_scored_shots(support[0], folder, test, known)
    what = Evaluation(
        tuned,
        {"checkpoint": file},
        test,
        settings.data.novel,
        {},
        support=support,
        run_file=paths.finetune_run(k, seed) if ids is None else None,
        label="" if ids is None else f"K={k}/seed={seed} on {ids.stem}",
    )
    # scores on another list must not pass for the run's own
    out = file.parent if ids is None else file.parent / f"on-{ids.stem}"
    with held(out / ".fsod-lock", out):
        return run_evaluate(settings, what, out)


def evaluate_files(
    checkpoint: Path, data: Path, ids: Path | None, shots: Path | None, bank: Path | None, overrides: list[str]
) -> dict[str, Any]:
    """Scores any checkpoint on any prepared folder; its own settings say which classes are novel.

    Classes of the shot list that the checkpoint has not learned are enrolled from their shots and count as novel; so do
    those of a bank, which is scored instead. The score is tracked in the store of the checkpoint's run where the folder
    of runs is on this machine, else in that of ``runs``.

    Raises:
        UserError: both ``shots`` and ``bank``; a shot, or an example of the bank, lies on an image that is scored.
    """
    if shots is not None and bank is not None:
        raise UserError(f"{bank}: a bank has its classes already; leave --shots or --bank out")
    loaded = load_checkpoint(checkpoint)
    kind = RunSettings if "data" in loaded.settings else PretrainSettings  # what marks made has those of its base
    known = loaded.settings
    if not Path(str(known.get("run_dir", "."))).parent.is_dir():
        known = {**known, "run_dir": f"runs/{known.get('name')}"}
    settings = override_settings(known, overrides, checkpoint, kind)
    folder = load_folder(data)
    test = folder.select(read_ids(ids)) if ids else folder
    examples: Examples = {}
    support = None
    if shots is not None:
        drawn = load_shots(shots, folder)
        refuse_scored_shots(drawn, folder, test, shots)
        support = (drawn, shots)
        new = [name for name in drawn.box_ids if name not in loaded.class_names]
        examples = shot_examples(folder, drawn, new, settings.episodes.support_px)
    stored = load_bank(bank, loaded.detector) if bank is not None else None
    marks = loaded.learned_from.marks if loaded.learned_from else []
    refuse_scored_examples(bank or checkpoint, (stored or learned_bank(loaded)).origins, marks, test)
    own = checkpoint.with_name("shots.json")  # of a run
    if loaded.stage == "finetune" and own.is_file():
        shown = load_shots(own, None)
        if shown.source_sha256 == folder.sha256:
            refuse_scored_shots(load_shots(own, folder), folder, test, own)
        refuse_shots_of_whole(shown, own, folder, test)
    added = [name for name in (stored.class_names if stored else examples) if name not in loaded.class_names]
    novel = tuple(dict.fromkeys((*(settings.data.novel if isinstance(settings, RunSettings) else ()), *added)))
    label = (bank or checkpoint).stem
    files = {"checkpoint": checkpoint} | ({"bank": bank} if bank else {})
    what = Evaluation(loaded, files, test, novel, examples, support, label=label, bank=stored)
    with TemporaryDirectory() as pictures:
        result = run_evaluate(settings, what, Path(pictures))
    del result["picture"]  # the tracking store keeps it
    return result
