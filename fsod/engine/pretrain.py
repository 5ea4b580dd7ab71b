"""Pretraining: thousands of invented classes teach the network to compare, before it has seen a real image."""

from __future__ import annotations

from pathlib import Path

import torch

from fsod.config import PretrainSettings
from fsod.data.procedural.episodes import ProceduralEpisodes
from fsod.engine.device import Machine
from fsod.engine.distributed import is_first, share_of
from fsod.engine.episode_loss import episode_loss
from fsod.engine.meta_train import fingerprint, motifs_of
from fsod.engine.stage import Observer, Stage, run_stage
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint, save_checkpoint

SHAPING = {"seed", "size", "episodes", "loss", "pretrain"}
"""Sections of the settings that shape a pretrained detector."""


def pretrain(
    settings: PretrainSettings, machine: Machine, checkpoint: Path, state: Path, observe: Observer
) -> Checkpoint:
    """Trains a detector without learned classes on procedural episodes and writes it.

    Args:
        settings: of the pretraining.
        machine: where to train.
        checkpoint: the file to write.
        state: the file that an interrupted training goes on from.
        observe: told how it goes.

    Raises:
        UserError: see ``motifs_of`` and ``run_stage``.
    """
    episodes, optim = settings.episodes, settings.pretrain
    without = motifs_of(episodes.procedural_without)
    torch.manual_seed(settings.seed)
    stage = Stage(
        name="pretrain",
        episodes=ProceduralEpisodes(episodes, optim.steps, settings.seed, share_of(episodes.queries), without=without),
        loss_of=lambda detector, episode: episode_loss(detector, episode, [], settings.loss),
        settings=optim,
        state_path=state,
        fingerprint=fingerprint(settings.model_dump_json(include=SHAPING)),
    )
    detector = run_stage(stage, Detector(settings.size, 0, machine.trunk_dtype), machine, observe)
    detector = detector.cpu().half().float()  # as it will be read again: banks go by the hash of the weights
    result = Checkpoint(detector, settings.size, (), "pretrain", settings.model_dump(mode="json"))
    if is_first():
        save_checkpoint(checkpoint, result, torch.float16)
        state.unlink(missing_ok=True)
    return result
