"""Learning from an analyst's marks: all weights, within the time that the analyst gives.

Two detectors are trained side by side. Each leaves out some of the marks, others than its twin, and both start from the same
weights, so that the mean of their weights is a detector that knows all marks and does better than either (model soups,
Wortsman et al. 2022, arXiv 2203.05482, section 2). What each finds of the marks that it has not seen tells what the
scores are worth.

Marks are few and stand among objects that nobody has marked. So a twin first learns the marks and the background that the
analyst vouches for. Then it looks at the scenes, and goes on with what it is sure of (``View.looked_at``), twice.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import normalize

from fsod.compute.device import Machine
from fsod.compute.side_processes import Tell, at_once, train_side_by_side
from fsod.config import OptimSettings
from fsod.config_file import common_settings
from fsod.data.mark_views import CropSettings, MarkCrops, View, best_seen, classes_of_marks
from fsod.data.support import support_crop
from fsod.files import write_text
from fsod.inference.enrollment import Examples, encode_examples
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint
from fsod.training.episode_loss import marks_loss
from fsod.training.finetune import interpolate_weights
from fsod.training.kept_looks import keep_looks, kept_looks
from fsod.training.scene_looks import LOOK_FLOOR, best_scores, look, searching
from fsod.training.stage import Stage, kept_average, run_stage

LEARNING = OptimSettings(steps=1, lr=1.5e-3, warmup_steps=20, log_every=1, checkpoint_every=20, workers=0)
"""How weights move; the number of steps depends on the time. After each step a twin may be told to stop."""

LEAST_STEPS, MOST_STEPS = 60, 200
"""Of a twin. Less teaches nothing; what more teaches has not been measured."""

LEFT_OUT = 0.1
"""Of the marks of a class, by each twin. Of fewer than five marks none is."""

LOOKS = ((0.35, 2), (0.55, 5), (0.75, 10))
"""After which shares of its steps a twin looks at the scenes, and how many objects for each mark it may take from them: few at
first, as what is learned from a mistake is found again with a better score."""

KEPT = 0.3
"""Share of the weights that a training started from, see ``interpolate_weights``: what it knew holds for scenes beyond these."""

TRIAL_STEPS = 3
"""Steps that the speed is measured on."""


@dataclass(frozen=True)
class Learned:
    """What came out.

    Attributes:
        detector: on the CPU, in evaluation mode, with a learned row for each class.
        steps: that each twin took; the fewest, where they were stopped.
        left_out_scores: (classes) lists of the scores with which twins find the marks that they had not seen; 0 for
            one that is not found.
    """

    detector: Detector
    steps: int
    left_out_scores: list[list[float]]


@dataclass(frozen=True)
class Lesson:
    """What there is to learn, and where the training keeps its state.

    Attributes:
        base: the weights to start from.
        views: of the scenes, with all marks.
        class_names: of the marks; a box's class id is a position in them. One that the base has learned starts from its row.
        machine: where to train.
        state: folder.
        fingerprint: of everything that the result depends on.
    """

    base: Checkpoint
    views: Sequence[View]
    class_names: tuple[str, ...]
    machine: Machine
    state: Path
    fingerprint: str


def learn_marks(
    lesson: Lesson, seconds: float, on_steps: Callable[[int, int], None], stopping: Callable[[], bool]
) -> Learned:
    """Trains for about so many seconds; goes on where an earlier run with the same state has stopped.

    Args:
        lesson: what to learn.
        seconds: for all steps.
        on_steps: told the steps that a twin has done, on average, and in all.
        stopping: asked now and then; once it says yes, what has been learned so far is the result.

    Raises:
        KeyboardInterrupt: stopped before the first step.
    """
    twins = [_Twin(lesson, number, _left_out(lesson, number)) for number in range(2)]
    for_each = seconds if at_once(lesson.machine.device) else seconds / len(twins)
    trainings = [partial(twin.train, for_each) for twin in twins]

    def tell(done: int, total: int) -> None:
        on_steps(done // len(twins), total // len(twins))

    train_side_by_side(trainings, lesson.machine.device, tell, stopping)
    # what was trained elsewhere is known here by its state alone
    trained = [(twin, *so_far) for twin in twins if (so_far := twin.so_far())[1]]
    if not trained:
        raise KeyboardInterrupt
    scores: list[list[float]] = [[] for _ in lesson.class_names]
    for twin, detector, _ in trained:
        for class_id, score in twin.left_out_scores(detector):
            scores[class_id].append(score)
    mean = mean_of([detector for _, detector, _ in trained])
    return Learned(mean.cpu().eval(), min(steps for _, _, steps in trained), scores)


class _Twin:
    """One of the trainings.

    Args:
        lesson: what both learn.
        number: which of the two.
        out: numbers of the marks that it is not shown.
    """

    def __init__(self, lesson: Lesson, number: int, out: NDArray[np.int64]) -> None:
        self.lesson, self.number, self.out = lesson, number, out
        self.views = [view.without(out) for view in lesson.views]
        self.settings = common_settings(lesson.base.settings)

    def train(self, seconds: float, tell: Tell) -> None:
        """Trains to the end of the schedule; ``tell`` may raise to stop it."""
        steps, views = self._planned_steps(seconds, tell), self.views
        for share, trusted in (*LOOKS, (1, 0)):
            end = round(share * steps)
            stage = self._stage(views, steps, end)
            start = self._blank() if stage.state_path.is_file() else self._start()
            average = run_stage(stage, start, self.lesson.machine, lambda done, _: tell(done, steps))
            if end < steps:
                views = self._looked(average, end, trusted, partial(tell, end, steps))

    def _looked(self, average: Detector, step: int, trusted: int, beat: Callable[[], None]) -> list[View]:
        """What a look after so many steps says. It is kept: a run that goes on has other weights by then."""
        file = self.lesson.state / f"look{self.number}-{step}.npz"
        if file.is_file():
            return kept_looks(file, self.views)
        seen = look(average, self.views, trusted, self.settings.evaluate, self.lesson.machine, beat)
        keep_looks(file, seen)
        return seen

    def so_far(self) -> tuple[Detector, int]:
        """The averaged detector of the steps that have been taken, part of the way back, and how many these are.

        They may have been taken by another process.
        """
        average = self._blank().eval()
        steps = kept_average(self._stage(self.views, self.plan() or 1, 0), average)
        if steps:
            interpolate_weights(average, self._start(), KEPT)
        return average, steps

    def plan(self) -> int | None:
        """The steps of the schedule, None as long as it is not made."""
        file = self.lesson.state / f"plan{self.number}.json"
        return int(json.loads(file.read_text(encoding="utf-8"))["steps"]) if file.is_file() else None

    def _planned_steps(self, seconds: float, tell: Tell) -> int:
        """As many as fit into the time; measured once, as a run that goes on keeps its schedule."""
        if (known := self.plan()) is not None:
            return known
        stage = self._stage(self.views, TRIAL_STEPS, TRIAL_STEPS)
        trial = replace(stage, state_path=self.lesson.state / f"trial{self.number}.pt")
        of_a_step = seconds_of_a_step(trial, self._start(), self.lesson.machine, lambda: tell(0, 0))
        steps = round(min(max(seconds / of_a_step, LEAST_STEPS), MOST_STEPS))
        write_text(self.lesson.state / f"plan{self.number}.json", json.dumps({"steps": steps}))
        return steps

    def left_out_scores(self, detector: Detector) -> list[tuple[int, float]]:
        """Class and score of each mark that was left out, as the detector finds it."""
        detect = searching(detector, self.settings.evaluate, self.lesson.machine, LOOK_FLOOR, around=True)
        views = [view for view in self.lesson.views if np.isin(view.mark_ids, self.out).any()]
        scores = best_scores(views, [detect(view.rgb[None])[0] for view in views])
        class_of = classes_of_marks(self.lesson.views)
        return [(class_of[mark], scores[mark]) for mark in sorted(set(self.out.tolist()) & set(scores))]

    def _stage(self, views: Sequence[View], steps: int, until: int) -> Stage:
        loss = self.settings.loss
        return Stage(
            name="finetune",
            episodes=MarkCrops(views, CropSettings(), steps, self.number),
            loss_of=lambda detector, crops: marks_loss(detector, crops, loss),
            settings=LEARNING.model_copy(update={"steps": steps}),
            state_path=self.lesson.state / f"twin{self.number}.pt",
            fingerprint=f"{self.lesson.fingerprint}/{steps}/{self.number}",
            freeze_norms=True,
            until=until,
        )

    def _blank(self) -> Detector:
        """A detector of the same shape, to load a state into."""
        detector = Detector(self.lesson.base.size, len(self.lesson.class_names), self.lesson.machine.trunk_dtype)
        detector.encoder.requires_grad_(False)
        return detector.to(self.lesson.machine.device)

    def _start(self) -> Detector:
        """The base with a row for each class, predicted from the marks that the twin may see."""
        crops: Examples = {name: [] for name in self.lesson.class_names}
        for v, i in best_seen(self.views).values():
            view, size_px = self.views[v], self.settings.episodes.support_px
            name = self.lesson.class_names[view.class_ids[i]]
            crops[name].append(support_crop(view.rgb, view.boxes_xyxy_px[i], size_px))
        return with_predicted_rows(self.lesson.base, crops, self.lesson.machine)


def seconds_of_a_step(trial: Stage, start: nn.Module, machine: Machine, beat: Callable[[], None]) -> float:
    """What a step takes: the quickest of a stage, as the first of a process is many times as slow.

    Args:
        trial: a stage of a few steps, each of which is logged; its state is removed.
        start: is trained.
        machine: where to train.
        beat: called after each step; may raise to stop.
    """
    trial.state_path.unlink(missing_ok=True)  # of one that was killed
    times = [time.perf_counter()]

    def note(done: int, _: object) -> None:
        times.append(time.perf_counter())
        beat()

    try:
        run_stage(trial, start, machine, note)
    finally:
        trial.state_path.unlink(missing_ok=True)
    return float(min(np.diff(times)))


@torch.no_grad()
def with_predicted_rows(base: Checkpoint, examples: Examples, machine: Machine) -> Detector:
    """The base's weights with a learned row for each class of ``examples``: the base's own, or predicted from its crops."""
    detector = Detector(base.size, len(examples), machine.trunk_dtype)
    shared = {name: value for name, value in base.detector.state_dict().items() if not name.startswith("learned")}
    detector.load_state_dict(shared, strict=False)
    detector.to(machine.device).eval()
    names = list(examples)
    new = [i for i, name in enumerate(names) if name not in base.class_names]
    known = [i for i, name in enumerate(names) if name in base.class_names]
    if new:
        directions, biases = detector.encoder(
            encode_examples(detector, {names[i]: examples[names[i]] for i in new}, machine)
        )
        for row, learned in zip(directions, detector.learned, strict=True):
            # the head takes the direction only, but step sizes depend on the length
            learned[new] = normalize(row, dim=1) * math.sqrt(learned.shape[1])
        detector.learned_bias[new] = biases
    own = [base.class_names.index(names[i]) for i in known]
    for learned, before in zip(detector.learned, base.detector.learned, strict=True):
        learned[known] = before[own].to(machine.device)
    detector.learned_bias[known] = base.detector.learned_bias[own].to(machine.device)
    detector.encoder.requires_grad_(False)  # there are no supports
    return detector


@torch.no_grad()
def mean_of(detectors: Sequence[Detector]) -> Detector:
    """A detector whose weights are the mean of those of detectors that started from the same ones."""
    mean = copy.deepcopy(detectors[0])
    others = [detector.state_dict() for detector in detectors[1:]]
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.stack([value, *(own[name] for own in others)]).mean(0))
    return mean


def _left_out(lesson: Lesson, number: int) -> NDArray[np.int64]:
    """Numbers of the marks that a twin is not shown: a part of each class's, none of which its twin goes without."""
    class_of = classes_of_marks(lesson.views)
    rng = np.random.default_rng(0)
    out: list[int] = []
    for class_id in range(len(lesson.class_names)):
        own = rng.permutation(sorted(mark for mark, c in class_of.items() if c == class_id)).tolist()
        share = round(LEFT_OUT * len(own)) if len(own) > 4 else 0
        out += own[number * share : (number + 1) * share]
    return np.array(out, np.int64)
