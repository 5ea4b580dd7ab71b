"""The step from an analyst's marks to a detector of its own: all weights learn, and one file holds what came out."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from fsod.compute.device import choose_machine
from fsod.config_file import common_settings
from fsod.data.leakage import SCENES, hashes_of_scenes
from fsod.data.mark_views import best_seen
from fsod.errors import UserError
from fsod.evidence import origin_of
from fsod.files import write_text
from fsod.geo.raster_in_memory import is_in_memory
from fsod.image_look import origin_of_look
from fsod.progress import console, progress_bar, warn
from fsod.steps.enroll_classes import left_out_found, sheet_beside
from fsod.steps.example_sheet import write_sheet
from fsod.steps.kept_marks import joined_marks, kept_marks, marks_kept
from fsod.steps.marks_elsewhere import as_all_say
from fsod.steps.scene_marks import SceneMarks, added_verdicts, band_rules, in_one_tone, misspelt
from fsod.steps.scene_views import MarkedViews, read_views, working_enlargement
from fsod.store.bank_merge import same_gsd
from fsod.store.checkpoint import Checkpoint, LearnedFrom, load_checkpoint, save_checkpoint, weights_sha256
from fsod.store.class_bank import learned_bank
from fsod.training.learn_marks import Learned, Lesson, learn_marks
from fsod.training.scene_looks import proposed_scores

LOCK = "lock"
"""In the folder of the state, held by the process that is at work."""

TOLD = "told.txt"
"""There as well, what the training was told to do, as a hash."""

MINUTES = 2.0
"""For the steps of the training, unless the user says otherwise."""


def finetune_marks(
    checkpoint: Path, marks: Sequence[SceneMarks], out: Path, *, minutes: float = MINUTES, restart: bool = False
) -> dict[str, Any]:
    """Trains all weights on an analyst's marks and writes a detector that stands alone, with a picture of the marks.

    While it is at work, ``OUT.unfinished`` holds its state. After an interruption the same command goes on; after Ctrl-C
    the detector of what has been learned so far is there as well.

    Args:
        checkpoint: the weights to start from. Where they have been finetuned on marks, these are learned again as well.
        marks: what is known of each scene.
        out: the file to write.
        minutes: for the steps of the training.
        restart: drop the state of an unfinished training.

    Raises:
        UserError: no mark at all; a scene of earlier marks that is not there; another training is at work on the file, or
            has left a state of other marks, weights or minutes.
    """
    started = time.perf_counter()
    sheet = sheet_beside(out, [scene.scene for scene in marks])
    machine = choose_machine()
    base = load_checkpoint(checkpoint, machine.trunk_dtype)
    earlier = [] if base.learned_from is None else marks_kept(base.learned_from.marks, checkpoint)
    _check_gsds(earlier, marks)
    marks = in_one_tone(as_all_say(joined_marks(earlier, marks)) if earlier else marks)
    examples = _examples(marks)
    names = tuple(examples)
    if not names:
        raise UserError("no mark to learn from; give some with --examples, or verdicts that say yes")
    warn(unsure := misspelt(examples))
    enlargement = working_enlargement(marks) if base.learned_from is None else base.learned_from.enlargement
    state = out.with_name(out.name + ".unfinished")
    with _alone(state):
        views = read_views(marks, names, enlargement)
        _check_state(state, fingerprint := _fingerprint(base, marks, views, minutes), restart)
        lesson = Lesson(base, views.views, names, machine, state, fingerprint)
        with progress_bar("finetune", 0) as bar, _ctrl_c() as asked:
            learned = learn_marks(lesson, 60 * minutes, bar.of, asked)
        stopped = asked()
        settings = common_settings(base.settings).evaluate
        scores = proposed_scores(learned.detector, views.views, list(examples.values()), settings, machine)
        result = _as_file(base, lesson, learned, scores, marks, enlargement)
        save_checkpoint(out, result, torch.float16)
        _write_sheet(sheet, views, names)
        if not stopped:
            _empty(state)
            shutil.rmtree(state)
    return {
        "detector": str(out),
        "examples": dict(examples),
        "scores": {name: round(score, 4) for name, score in zip(names, scores, strict=True)},
        "left_out_found": left_out_found(learned_bank(result)),
        "steps": learned.steps,
        "enlargement": enlargement,
        "warnings": [*unsure, *views.warnings],
        "contact_sheet": str(sheet),
        "seconds": time.perf_counter() - started,
        "machine": str(machine),
        **({"stopped": "by Ctrl-C; the same command goes on"} if stopped else {}),
    }


def _as_file(
    base: Checkpoint,
    lesson: Lesson,
    learned: Learned,
    scores: Sequence[float],
    marks: Sequence[SceneMarks],
    enlargement: float,
) -> Checkpoint:
    """What is to be written, rounded as it will be read again: banks go by the hash of the weights."""
    gsds_m = [scene.gsd_m for scene in marks if scene.gsd_m is not None]
    gsd_m = float(np.median(gsds_m)) / enlargement if gsds_m else None
    judged = added_verdicts(counts for scene in marks for counts in scene.judged.values())
    examples = _examples(marks)
    scenes_sha256 = hashes_of_scenes(scene.scene for scene in marks)
    look = origin_of_look((view.rgb, None) for view in lesson.views)
    origins = {
        name: {
            "row": "finetuned",
            "examples": examples[name],
            "scene": ", ".join(scene.name for scene in marks),
            SCENES: scenes_sha256,
            "gsd_m": gsd_m,
            "steps": learned.steps,
            "score": score,
            **origin_of(trials, judged.get(name)),
            **look,
        }
        for name, score, trials in zip(lesson.class_names, scores, learned.left_out_scores, strict=True)
    }
    lasting = kept_marks([scene for scene in marks if not is_in_memory(scene.scene)])
    known = LearnedFrom(
        origins=origins,
        gsd_m=gsd_m,
        enlargement=enlargement,
        turned=True,
        sized=True,
        marks=lasting,
        shown=band_rules(marks),
    )
    detector = learned.detector.half().float()
    return Checkpoint(detector, base.size, lesson.class_names, "finetune", base.settings, known)


def _check_gsds(earlier: Sequence[SceneMarks], later: Sequence[SceneMarks]) -> None:
    """UserError for scenes whose pixels have another size than those of earlier marks, at which scenes are searched."""
    known = [(one.name, one.gsd_m) for one in earlier if one.gsd_m is not None]
    for one in later if known else ():
        name, before_m = known[0]
        if one.gsd_m is not None and not same_gsd(before_m, one.gsd_m):
            raise UserError(
                f"{one.scene}: {one.gsd_m:.3g} m per pixel, but {name}, which was marked before, has {before_m:.3g} m; "
                "give each its own detector"
            )


def _examples(marks: Sequence[SceneMarks]) -> Counter[str]:
    """How many marks each class has; classes in the order in which they come."""
    return Counter(chain.from_iterable(scene.class_names for scene in marks))


def _fingerprint(base: Checkpoint, marks: Sequence[SceneMarks], views: MarkedViews, minutes: float) -> str:
    told = json.dumps([kept_marks(marks), minutes, weights_sha256(base.detector)], sort_keys=True)
    digest = hashlib.sha256(told.encode())
    for view in views.views:  # a scene of the same name and size may have been saved anew
        digest.update(view.rgb.tobytes())
    return digest.hexdigest()


def _check_place(state: Path) -> None:
    """UserError for a folder that is not of a training, which would be emptied."""
    if state.is_symlink() or (state.exists() and not state.is_dir()):
        raise UserError(f"{state}: is where this training keeps its state; move it, or choose another --out")
    names = {path.name for path in state.iterdir()} if state.is_dir() else set()
    if names - {LOCK} and TOLD not in names:
        raise UserError(f"{state}: is where this training keeps its state, but no training wrote it; move it elsewhere")


def _check_state(state: Path, fingerprint: str, restart: bool) -> None:
    """UserError for the state of another training."""
    told = state / TOLD
    if restart:
        _empty(state)
    if told.is_file() and told.read_text(encoding="utf-8") != fingerprint:
        raise UserError(
            f"{state}: left by an unfinished training with other marks, scenes, weights or --minutes; finish it with its own "
            "command, or drop it with --restart"
        )
    write_text(told, fingerprint)


def _empty(state: Path) -> None:
    """Removes all but the lock; last what tells that the folder is of a training."""
    told = state / TOLD
    for file in state.iterdir():
        if file.name not in (LOCK, TOLD):
            file.unlink()
    told.unlink(missing_ok=True)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Makes the folder of the state; UserError while another process uses it."""
    _check_place(state)
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / LOCK, timeout=0)
    try:
        with lock:
            try:
                yield
            except BaseException:
                if not any(state.glob("plan*")):  # nothing has been trained, so there is nothing to go on from
                    shutil.rmtree(state, ignore_errors=True)
                raise
    except Timeout as error:
        raise UserError(f"{state}: another `fsod finetune` is using this file; wait for it") from error


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed in the block; the second time it ends the program as ever."""
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        console.print("stopping; what has been learned so far is kept")

    if threading.current_thread() is not threading.main_thread():  # which alone may set signals: a program's own affair
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _write_sheet(sheet: Path, views: MarkedViews, names: Sequence[str]) -> None:
    """A contact sheet of the marks, each under its class."""
    shown = ((views.views[v], i) for v, i in best_seen(views.views).values())
    write_sheet(sheet, [(view.around(view.boxes_xyxy_px[i]), names[view.class_ids[i]]) for view, i in shown])
