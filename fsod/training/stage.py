"""The training loop that every stage shares: one episode per step, EMA, checkpoints that survive a kill.

Under torchrun every process runs it on its share of the queries. Only the first process writes.
"""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from fsod.compute.device import Machine
from fsod.compute.distributed import is_first, mean_over_processes, parallel
from fsod.compute.side_processes import Stopped
from fsod.config import OptimSettings
from fsod.errors import UserError, one_line
from fsod.files import atomic_write


class Batch(Protocol):
    """What a step is taken on: tensors that can be brought to a device, an episode for example."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""


Network = TypeVar("Network", bound=nn.Module)
LossOf = Callable[[Any, Any], dict[str, Tensor]]
"""The loss terms of a detector on an item of the stage's episodes."""
Observer = Callable[[int, dict[str, float]], None]
"""Told every ``log_every`` steps: the step, and since the last call means of the loss terms and of the gradient's norm
(``gradient``), the learning rate (``lr``), ``steps_per_s`` and the share of time spent waiting for data
(``data_wait_share``)."""


@dataclass(frozen=True)
class Stage:
    """What a stage trains and on what.

    Attributes:
        name: for messages and file names.
        episodes: one item for each step; item i does not depend on the items before it.
        loss_of: the loss terms of an episode; ``total`` is what is minimised.
        settings: length and step size.
        state_path: where the state of an unfinished training is kept.
        fingerprint: everything that the result depends on; a state with another one is refused.
        freeze_norms: batch norm keeps its statistics. A handful of shots would bend them to themselves.
        until: the step to stop at, of the schedule of ``settings.steps``; with the same state another stage goes on.
    """

    name: str
    episodes: Dataset[Any]
    loss_of: LossOf
    settings: OptimSettings
    state_path: Path
    fingerprint: str
    freeze_norms: bool = False
    until: int | None = None

    @property
    def stop(self) -> int:
        """The step after the last one."""
        return self.settings.steps if self.until is None else self.until


def run_stage(stage: Stage, detector: Network, machine: Machine, observe: Observer) -> Network:
    """Trains to the end, from the last checkpoint if there is one, and returns the averaged (EMA) detector.

    Raises:
        UserError: the checkpoint belongs to other settings or data, or the loss is no longer finite.
        Stopped: ``observe`` raised it; the steps until then are kept.
    """
    settings = stage.settings
    detector = detector.to(machine.device).train()
    if stage.freeze_norms:
        for norm in (m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.eval()
    average = copy.deepcopy(detector).eval().requires_grad_(False)
    optimizer = adamw(detector, settings)
    start = _resume(stage, detector, average, optimizer)
    if mean_over_processes(torch.tensor(start, device=machine.device)) != start:
        raise UserError(f"{stage.state_path}: not the same on all machines; give a run_dir on a disk that they share")
    objective = parallel(_Objective(detector, stage.loss_of))

    window: list[dict[str, Tensor]] = []  # terms of the steps since the last report
    episodes = _Awaited(_loader(stage, start, machine))
    for step, episode in enumerate(episodes, start):
        lr = learning_rate(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = lr
        window.append(train_step(objective, episode.to(machine.device), optimizer, settings.clip_norm))
        update_ema(average, detector, settings.ema_decay, step)

        done = step + 1
        report, save = (
            done % every == 0 or done == stage.stop for every in (settings.log_every, settings.checkpoint_every)
        )
        if report or save:
            means = _read(window, stage, done)
        if save and is_first():
            _save(stage, done, detector, average, optimizer)
        if report:
            try:
                observe(done, {**means, "lr": lr, **episodes.pace(len(window))})
            except Stopped:
                if not save and is_first():
                    _save(stage, done, detector, average, optimizer)
                raise
            window = []
    return average


def train_step(
    objective: nn.Module, episode: Batch, optimizer: torch.optim.Optimizer, clip_norm: float
) -> dict[str, Tensor]:
    """One step; returns the loss terms and the norm of the gradient, still on their device: reading them would wait."""
    terms: dict[str, Tensor] = objective(episode)
    optimizer.zero_grad(set_to_none=True)
    terms["total"].backward()
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(trained, clip_norm)
    optimizer.step()
    return {**{name: value.detach() for name, value in terms.items()}, "gradient": norm}


class _Awaited:
    """Episodes, and how long they were waited for."""

    def __init__(self, episodes: Iterable[Batch]) -> None:
        self._episodes = episodes
        self._since_s, self._waited_s = time.perf_counter(), 0.0

    def __iter__(self) -> Iterator[Batch]:
        episodes = iter(self._episodes)
        while True:
            asked_s = time.perf_counter()
            episode = next(episodes, None)
            self._waited_s += time.perf_counter() - asked_s
            if episode is None:
                return
            yield episode

    def pace(self, steps: int) -> dict[str, float]:
        """Steps a second, and the share of time waited, since the last call."""
        now_s = time.perf_counter()
        seconds = now_s - self._since_s
        pace = {"steps_per_s": steps / seconds, "data_wait_share": self._waited_s / seconds}
        self._since_s, self._waited_s = now_s, 0.0
        return pace


class _Objective(nn.Module):
    """The loss as a module, which is what DistributedDataParallel wraps."""

    def __init__(self, detector: nn.Module, loss_of: LossOf) -> None:
        super().__init__()
        self.detector, self.loss_of = detector, loss_of

    def forward(self, episode: Batch) -> dict[str, Tensor]:
        return self.loss_of(self.detector, episode)


def _read(window: list[dict[str, Tensor]], stage: Stage, done: int) -> dict[str, float]:
    """Means of the terms over steps and processes; a term that a step does not have counts as 0."""
    names = list(dict.fromkeys(name for terms in window for name in terms))
    nothing = torch.zeros_like(window[0]["total"])
    steps = torch.stack([torch.stack([terms.get(name, nothing) for name in names]) for terms in window])
    steps = mean_over_processes(steps).cpu()
    broken = (~steps.isfinite().all(1)).nonzero()
    if len(broken):
        raise UserError(
            f"{stage.name}: loss or gradient is not finite at step {done - len(window) + int(broken[0]) + 1}; lower the "
            f"learning rate (now {stage.settings.lr}) and start again: the last checkpoint is {stage.state_path}"
        )
    return dict(zip(names, steps.mean(0).tolist(), strict=True))


def learning_rate(step: int, settings: OptimSettings) -> float:
    """Linear warm-up, then a half cosine down to a twentieth."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    return settings.lr * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)


def adamw(detector: nn.Module, settings: OptimSettings) -> torch.optim.Optimizer:
    """AdamW over what is trained; only convolutions decay."""
    trained = [p for p in detector.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim == 4]  # convolutions; kernels of classes have no scale to shrink
    rest = [p for p in trained if p.ndim != 4]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.lr)


def _loader(stage: Stage, start: int, machine: Machine) -> DataLoader[Batch]:
    left = Subset(stage.episodes, range(start, stage.stop))
    return DataLoader(
        left,
        batch_size=None,
        num_workers=stage.settings.workers,
        pin_memory=machine.device.type == "cuda",
        prefetch_factor=4 if stage.settings.workers else None,
    )


@torch.no_grad()
def update_ema(average: nn.Module, detector: nn.Module, decay: float, step: int) -> None:
    """Moves the running average a little towards the detector."""
    # a short memory at first, so that the average forgets the random start
    decay *= 1 - math.exp(-(step + 1) / 100)
    pairs = zip(
        itertools.chain(average.parameters(), average.buffers()),
        itertools.chain(detector.parameters(), detector.buffers()),
        strict=True,
    )
    for mean, value in pairs:
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _save(stage: Stage, done: int, detector: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    state = {
        "fingerprint": stage.fingerprint,
        "done": done,
        "detector": detector.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with atomic_write(stage.state_path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # what torch's archive makes of a full disk
            raise UserError(f"{stage.state_path}: cannot be written ({one_line(error)}): is the disk full?") from error


def _resume(stage: Stage, detector: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    def take(state: dict[str, Any]) -> None:
        detector.load_state_dict(state["detector"])
        average.load_state_dict(state["average"])
        _load_optimizer(optimizer, state["optimizer"])

    return _from_state(stage, take)


def kept_average(stage: Stage, average: nn.Module) -> int:
    """Loads the averaged (EMA) detector that an unfinished training keeps.

    Args:
        stage: of that training.
        average: a detector of the same shape, which is written to.

    Returns:
        The steps that it has taken; 0 where the training keeps nothing yet.

    Raises:
        UserError: the state is damaged, or belongs to other settings or data.
    """
    return _from_state(stage, lambda state: average.load_state_dict(state["average"]))


def _from_state(stage: Stage, take: Callable[[dict[str, Any]], object]) -> int:
    if not stage.state_path.is_file():
        return 0
    try:
        state = torch.load(stage.state_path, map_location="cpu", weights_only=True)
        same = state["fingerprint"] == stage.fingerprint
    except _DAMAGED as error:
        raise _damaged(stage, error) from error
    if not same:
        raise UserError(
            f"{stage.state_path}: belongs to other settings, data or weights; "
            f"delete it (or give another run_dir) to run {stage.name} with these"
        )
    try:
        take(state)
        done = int(state["done"])
        if not 0 <= done <= stage.settings.steps:
            raise ValueError(f"{done} of {stage.settings.steps} steps done")
    except _DAMAGED as error:
        raise _damaged(stage, error) from error
    return done


_DAMAGED = (
    *(RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError),
    *(AssertionError, OverflowError, MemoryError, struct.error, zlib.error),
)
"""What PyTorch raises for a state that is damaged, or not of this detector."""


def _damaged(stage: Stage, error: Exception) -> UserError:
    return UserError(f"{stage.state_path}: not a readable checkpoint ({one_line(error)}); delete it to start again")


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads a state; ValueError where its averages are not of the shape of what is trained, which PyTorch does not look at."""
    optimizer.load_state_dict(state)
    for parameter, averages in optimizer.state.items():
        if set(averages) != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError(f"an optimizer's state of {', '.join(map(str, averages))}")
        if any(averages[name].shape != parameter.shape for name in ("exp_avg", "exp_avg_sq")):
            raise ValueError("an optimizer's state of another shape")
