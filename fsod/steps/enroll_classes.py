"""Steps from an analyst's examples to a class bank: enroll, which trains nothing, and refine, which trains the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fsod.compute.device import Machine, choose_machine
from fsod.config_file import common_settings
from fsod.data.marked import Marked
from fsod.errors import UserError
from fsod.evidence import evidence_of, in_words, origin_of
from fsod.geo.search import asked_for
from fsod.image_look import origin_of_look
from fsod.inference.enrollment import enrolled_bank
from fsod.inference.infer import batch_detector
from fsod.inference.thresholds import FLOOR, Detect, folds_of, left_out_scores, proposed_of
from fsod.inference.working_scale import best_enlargement, reductions_of
from fsod.progress import progress_bar, warn
from fsod.steps.example_files import ExampleFiles
from fsod.steps.example_sheet import write_examples
from fsod.store.checkpoint import Checkpoint, load_checkpoint
from fsod.store.class_bank import ClassBank, save_bank

KNOWN_MARGIN = 0.5
"""Background is assumed this far around an example, in box sides."""


def enroll(
    checkpoint: Path, files: ExampleFiles, out: Path, *, learned: bool = False, native: bool = False
) -> dict[str, Any]:
    """Makes a class bank of rows predicted from examples; a contact sheet of them is written beside it.

    Args:
        checkpoint: the weights.
        files: the examples.
        out: the bank.
        learned: also put in the classes that the checkpoint has learned.
        native: scenes are to be searched at the pixel size of the examples, as those of a folder or beside learned
            classes always are; else at that at which the examples are best told from what surrounds them.

    Raises:
        UserError: an example's class is among the learned ones.
    """

    def bank_of(loaded: Checkpoint, marked: Marked, machine: Machine) -> ClassBank:
        crops = marked.crops(common_settings(loaded.settings).episodes.support_px)
        return enrolled_bank(
            loaded, crops, machine, files.origin, files.gsd_m, learned=learned, distractors=files.distractors
        )

    return _write_bank(checkpoint, files, out, bank_of, native=native or learned)


def refine_files(checkpoint: Path, files: ExampleFiles, out: Path, steps: int | None = None) -> dict[str, Any]:
    """Makes a class bank of rows that start at the predicted ones and are trained on the examples; otherwise as ``enroll``.

    Args:
        checkpoint: the weights, which stay as they are.
        files: the examples.
        out: the bank.
        steps: of the training.
    """
    from fsod.training.refine import REFINING, refined_bank  # of the extra `train`

    optim = REFINING if steps is None else REFINING.model_copy(update={"steps": steps})
    with progress_bar("finetune", optim.steps * (1 + folds_of(files.marked))) as bar:

        def bank_of(loaded: Checkpoint, marked: Marked, machine: Machine) -> ClassBank:
            crops = marked.crops(common_settings(loaded.settings).episodes.support_px)
            origin = {**files.origin, "steps": optim.steps}
            bank = enrolled_bank(
                loaded, crops, machine, origin, files.gsd_m, learned=False, distractors=files.distractors
            )
            return refined_bank(loaded, bank, marked, optim, KNOWN_MARGIN, machine, bar.advance)

        return _write_bank(checkpoint, files, out, bank_of, native=True)


def sheet_beside(out: Path, scenes: Sequence[str | Path]) -> Path:
    """The picture beside a bank; UserError if bank or picture would be written over something else."""
    if out.suffix != ".safetensors":
        raise UserError(f"{out}: the name of a class bank ends in .safetensors")
    sheet = out.with_suffix(".png")
    if sheet.exists() and any(Path(scene).exists() and sheet.samefile(scene) for scene in scenes):
        raise UserError(f"{out}: the picture beside it would overwrite the scene; choose another --out")
    return sheet


def _write_bank(
    checkpoint: Path,
    files: ExampleFiles,
    out: Path,
    bank_of: Callable[[Checkpoint, Marked, Machine], ClassBank],
    *,
    native: bool,
) -> dict[str, Any]:
    """Makes the bank, proposes scores for its classes, and writes it with a contact sheet of the examples."""
    started = time.perf_counter()
    sheet = sheet_beside(out, files.scenes or [image.path for image in files.marked.folder.images])
    machine = choose_machine()
    loaded = load_checkpoint(checkpoint, machine.trunk_dtype)
    settings = common_settings(loaded.settings)
    class_names = tuple(name for name in files.marked.places if name not in files.distractors)

    def detector_of(some: Marked, *, turned: bool = True, class_ids: tuple[int, ...] | None = None) -> Detect:
        bank = bank_of(loaded, some, machine)
        detect = batch_detector(loaded, replace(bank, turned=turned), machine, settings.evaluate, FLOOR)
        return asked_for(detect, class_ids)

    # sizes compare alike without turns, in a quarter of the time
    as_it_lies = partial(detector_of, turned=False)
    enlargement = 1.0 if native or not files.scenes else best_enlargement(files.marked, class_names, as_it_lies)
    marked = files.marked.enlarged(enlargement)
    bank = bank_of(loaded, marked, machine)
    # one class on scenes has a size that suits it, and what is there to be told apart from others is seen as they are
    alike = native or files.distractors or (files.scenes and len(class_names) == 1)
    reductions = dict.fromkeys(class_names, 1.0) if alike else reductions_of(marked, class_names)
    trials: dict[str, list[float]] = {}
    for reduction in sorted(set(reductions.values())):
        seen = marked if reduction == 1 else files.marked.enlarged(enlargement / reduction)
        own = [name for name in class_names if reductions[name] == reduction]
        if reduction != 1:
            bank = bank.with_rows(bank_of(loaded, seen, machine).select(own))
        names = bank.reported.class_names
        ids = tuple(names.index(name) for name in own)
        of_all = left_out_scores(seen, names, partial(detector_of, class_ids=ids))
        trials |= {name: of_all[name] for name in own}
    proposed = proposed_of(trials)
    unfound = [
        f"{name}: none of its examples was found when it was left out, so nobody knows from which score on it is worth showing; see "
        f"whether the marks lie on the objects ({sheet}), or let all weights learn them: fsod finetune"
        for name, scores in trials.items()
        if scores and name not in proposed
    ]
    warn(unfound)
    look = origin_of_look((rgb, None) for rgb in marked.pixels)
    known = {name: {**origin_of(trials[name], files.judged.get(name)), **look} for name in trials}
    coarser = {name: reduction for name, reduction in reductions.items() if reduction != 1}
    gsd_m = None if files.gsd_m is None else files.gsd_m / enlargement
    bank = bank.with_scores(proposed).with_origins(known)
    bank = bank.with_origins({name: {"reduction": reduction} for name, reduction in coarser.items()})
    bank = replace(bank, gsd_m=gsd_m, enlargement=enlargement, shown=files.shown)
    save_bank(out, bank, checkpoint)
    write_examples(sheet, files.marked.crops(settings.episodes.support_px))
    return {
        "bank": str(out),
        "examples": {name: len(places) for name, places in files.marked.places.items()},
        "scores": {name: round(score, 4) for name, score in proposed.items()},
        "left_out_found": left_out_found(bank),
        "gsd_m": gsd_m,
        "enlargement": enlargement,
        "reductions": {name: round(reduction, 2) for name, reduction in coarser.items()},
        "warnings": [*files.warnings, *unfound],
        "contact_sheet": str(sheet),
        "seconds": time.perf_counter() - started,
        "machine": str(machine),
    }


def left_out_found(bank: ClassBank) -> dict[str, str]:
    """For each class that was tried how many of the examples left out are found from its score on, in words."""
    recalls = {
        name: evidence_of(bank.origins.get(name, {})).recall(score)
        for name, score in zip(bank.class_names, bank.scores, strict=True)
    }
    return {name: in_words(recall) for name, recall in recalls.items() if recall is not None}
