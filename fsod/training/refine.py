"""Refining: trains class rows, starting from the predicted ones. The rest of the detector stays as it is.

The trunk therefore sees the examples only once. Its features of some hundred crops are kept, and a step is one 1x1
convolution over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from fsod.compute.device import Machine
from fsod.compute.distributed import average_gradients
from fsod.config import LossSettings, OptimSettings
from fsod.config_file import common_settings
from fsod.data.marked import Marked
from fsod.data.real_episodes import Episode, RealEpisodes
from fsod.model.detector import Detector, unit_pixels
from fsod.model.meta_head import ClassRows, Predictions
from fsod.store.checkpoint import Checkpoint
from fsod.store.class_bank import ClassBank
from fsod.training.episode_loss import predicted_shots_loss
from fsod.training.stage import learning_rate

REFINING = OptimSettings(steps=200, lr=0.1, warmup_steps=20)
"""A kernel is 10 long, so that a step of 0.1 turns it by a degree or two."""

EPISODES = 24
"""How many are seen, each of as many crops as the weights were trained with."""


def refined_bank(
    checkpoint: Checkpoint,
    bank: ClassBank,
    marked: Marked,
    optim: OptimSettings,
    known_margin: float,
    machine: Machine,
    on_step: Callable[[], None],
) -> ClassBank:
    """A bank of the same classes whose rows have been trained on the examples.

    Args:
        checkpoint: the weights of the bank; they stay as they are.
        bank: rows predicted from the examples.
        marked: the examples of every class of the bank.
        optim: number and size of the steps.
        known_margin: how far around the examples the background is known, in box sides.
        machine: where to compute.
        on_step: told after each.
    """
    settings = common_settings(checkpoint.settings)
    class_ids = marked.folder.class_indices(bank.class_names)
    sizes = settings.episodes.model_copy(update={"ways": len(class_ids)})
    episodes = RealEpisodes(
        marked.folder,
        class_ids,
        sizes,
        EPISODES,
        0,
        known_margin=known_margin,
        with_supports=False,
        pixels=marked.pixels,
    )
    detector = checkpoint.detector.to(machine.device).eval()
    start = bank.rows.to(machine.device)
    seen = [episodes[i] for i in range(EPISODES)]
    # an analyst marks what is there, and what is not marked around it is something else
    rows = refine(detector, start, seen, class_ids, optim, settings.loss, machine, on_step, shots_only=False)
    origins = {name: {**origin, "row": "refined"} for name, origin in bank.origins.items()}
    return replace(bank, rows=rows.to(torch.device("cpu")), origins=origins)


@dataclass(frozen=True)
class _Seen:
    """An episode after the trunk: unit features per level, what does not depend on the rows, and the boxes to find."""

    features: list[Tensor]
    located: Predictions
    episode: Episode


def refine(
    detector: Detector,
    rows: ClassRows,
    episodes: Sequence[Episode],
    row_classes: list[int],
    optim: OptimSettings,
    loss: LossSettings,
    machine: Machine,
    on_step: Callable[[], None] = lambda: None,
    *,
    shots_only: bool,
) -> ClassRows:
    """Trains rows on the queries of some episodes, over and over; of several processes each has its share of them.

    Args:
        detector: in evaluation mode, on the machine's device; it is left as it is.
        rows: where to start.
        episodes: of the marked objects, with the regions whose background is known.
        row_classes: the episodes' class ids in the order of the rows.
        optim: number and size of the steps.
        loss: weights and quotas; that of the boxes, which do not depend on rows, has no effect.
        machine: where to compute.
        on_step: told after each.
        shots_only: see ``shots_loss``.
    """
    seen = [_look(detector, episode.to(machine.device)) for episode in episodes]
    directions = nn.ParameterList(kernel.clone() for kernel in rows.kernels)
    biases = nn.Parameter(rows.biases - detector.head.prior.detach())
    optimizer = torch.optim.Adam([*directions, biases], lr=optim.lr)
    order = np.random.default_rng(0)
    for step in range(optim.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, optim)
        batch = seen[order.integers(len(seen))]
        refined = detector.head.rows(list(directions), biases)
        predictions = replace(batch.located, logits=detector.head.logits(batch.features, refined))
        optimizer.zero_grad(set_to_none=True)
        terms = predicted_shots_loss(predictions, batch.episode, row_classes, loss, shots_only=shots_only)
        terms["total"].backward(inputs=[*directions, biases])
        average_gradients([*directions, biases])
        optimizer.step()
        on_step()
    return detector.head.rows(list(directions), biases).detach()


@torch.no_grad()
def _look(detector: Detector, episode: Episode) -> _Seen:
    maps = detector.maps(unit_pixels(episode.queries))
    nothing = detector.learned_rows().select([])
    return _Seen(maps.unit, detector.head(maps.raw, maps.unit, nothing), replace(episode, queries=episode.queries[:0]))
