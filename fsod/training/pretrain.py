"""Pretraining: thousands of invented classes, drawn or cut out of photographs, teach the network to compare."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import Dataset

from fsod.compute.device import Machine
from fsod.compute.distributed import is_first, share_of
from fsod.config import PretrainSettings
from fsod.data.mixed import MixedEpisodes
from fsod.data.photographs.album import Album
from fsod.data.photographs.photo_episodes import PhotoEpisodes
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.real_episodes import Episode
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint, save_checkpoint
from fsod.store.initial import initialise
from fsod.training.episode_loss import episode_loss
from fsod.training.meta_train import fingerprint, init_sha256, motifs_of
from fsod.training.photograph_folder import photographs_sha256, read_photographs
from fsod.training.stage import Observer, Stage, run_stage

SHAPING = {"seed", "size", "init", "grounds", "grounds_share", "episodes", "loss", "pretrain"}
"""Sections of the settings that shape a pretrained detector."""


def pretrain(
    settings: PretrainSettings, machine: Machine, checkpoint: Path, state: Path, observe: Observer
) -> Checkpoint:
    """Trains a detector without learned classes on invented episodes and writes it.

    Args:
        settings: of the pretraining.
        machine: where to train.
        checkpoint: the file to write.
        state: the file that an interrupted training goes on from.
        observe: told how it goes.

    Raises:
        UserError: see ``motifs_of``, ``read_photographs``, ``initialise`` and ``run_stage``.
    """
    optim = settings.pretrain
    episodes, photographs_hash = _episodes(settings)
    torch.manual_seed(settings.seed)
    start = Detector(settings.size, 0, machine.trunk_dtype)
    if settings.init is not None:
        initialise(start, settings.size, settings.init)
    stage = Stage(
        name="pretrain",
        episodes=episodes,
        loss_of=lambda detector, episode: episode_loss(detector, episode, [], settings.loss),
        settings=optim,
        state_path=state,
        fingerprint=fingerprint(
            settings.model_dump_json(include=SHAPING - {"init", "grounds"}),
            *init_sha256(settings.init),
            *photographs_hash,
        ),
    )
    detector = run_stage(stage, start, machine, observe)
    detector = detector.cpu().half().float()  # as it will be read again: banks go by the hash of the weights
    result = Checkpoint(detector, settings.size, (), "pretrain", settings.model_dump(mode="json"))
    if is_first():
        save_checkpoint(checkpoint, result, torch.float16)
        state.unlink(missing_ok=True)
    return result


def _episodes(settings: PretrainSettings) -> tuple[Dataset[Episode], list[str]]:
    """Episodes of a pretraining, and the hash of the photographs that some are made of."""
    sizes, length, seed = settings.episodes, settings.pretrain.steps, settings.seed
    share, without = share_of(sizes.queries), motifs_of(sizes.procedural_without)
    drawn = ProceduralEpisodes(sizes, length, seed, share, without=without)
    if settings.grounds is None:
        return drawn, []
    photographs = read_photographs(settings.grounds)
    cut = PhotoEpisodes(sizes, Album(photographs), length, seed, share)
    mixed = MixedEpisodes(cut, drawn, 0, 1 - settings.grounds_share, seed)
    return mixed, [photographs_sha256(photographs)]
