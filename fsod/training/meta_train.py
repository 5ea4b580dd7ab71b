"""Meta-training: episodes over the base classes, invented classes before and among them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from fsod.compute.device import Machine
from fsod.compute.distributed import first_goes_ahead, is_first, share_of
from fsod.config import RunSettings
from fsod.data.coco_folder import CocoFolder
from fsod.data.mixed import MixedEpisodes
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.procedural.invent import TELLTALE
from fsod.data.real_episodes import RealEpisodes
from fsod.data.splits import images_without, split_classes
from fsod.errors import UserError
from fsod.files import sha256_of
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint, save_checkpoint
from fsod.store.initial import Initial, initial_file, initialise
from fsod.training.episode_loss import episode_loss
from fsod.training.stage import Observer, Stage, run_stage


def meta_train(
    settings: RunSettings, tiles: CocoFolder, machine: Machine, checkpoint: Path, state: Path, observe: Observer
) -> Checkpoint:
    """Trains a detector on the base classes and writes it.

    Tiles that show a novel object, or a part of one, are left out: base training never sees a novel class.

    Args:
        settings: of the run.
        tiles: training tiles.
        machine: where to train.
        checkpoint: the file to write.
        state: the file that an interrupted training goes on from.
        observe: told how it goes.

    Raises:
        UserError: see ``split_classes``, ``RealEpisodes``, ``initialise`` and ``run_stage``; or no tile is left.
    """
    split = split_classes(tiles, settings.data.novel)
    seen = images_without(tiles, split.novel)
    seen = replace(seen, images=tuple(image for image in seen.images if len(image.class_ids)))
    if not seen.images:
        raise UserError(f"{tiles.root}: every tile shows a novel class ({', '.join(split.novel)}); nothing to train on")
    base = tiles.class_indices(split.base)
    optim, episodes = settings.meta_train, settings.episodes
    share, without = share_of(episodes.queries), motifs_of(episodes.procedural_without)
    invented = ProceduralEpisodes(episodes, optim.steps, settings.seed, share, without=without)
    with first_goes_ahead():
        real = RealEpisodes(seen, base, episodes, optim.steps, settings.seed, share)
    torch.manual_seed(settings.seed)
    detector = Detector(settings.size, len(base), machine.trunk_dtype)
    if settings.init is not None:
        initialise(detector, settings.size, settings.init)
    stage = Stage(
        name="meta-train",
        episodes=MixedEpisodes(real, invented, episodes.procedural_first, episodes.procedural_share, settings.seed),
        loss_of=lambda detector, episode: episode_loss(detector, episode, base, settings.loss),
        settings=optim,
        state_path=state,
        fingerprint=fingerprint(
            tiles.sha256, settings.model_dump_json(include=SHAPING - {"init"}), *init_sha256(settings.init)
        ),
    )
    detector = run_stage(stage, detector, machine, observe)
    result = Checkpoint(
        detector.cpu(),
        settings.size,
        split.base,
        "meta-train",
        settings.model_dump(mode="json"),
        data_sha256=tiles.sha256,
    )
    if is_first():
        save_checkpoint(checkpoint, result)
        state.unlink(missing_ok=True)
    return result


SHAPING = {"seed", "size", "init", "data", "episodes", "loss", "meta_train"}
"""Sections of the settings that shape a meta-trained detector."""


def init_sha256(init: Initial | None) -> list[str]:
    """Hash of the weights that training starts from, none where it starts from chance; their file's name is no matter."""
    return [] if init is None else [sha256_of(initial_file(init))]


def motifs_of(kinds: tuple[str, ...]) -> frozenset[str]:
    """Motifs that give away the named kinds of object; UserError for a kind that is not known."""
    unknown = [kind for kind in kinds if kind not in TELLTALE]
    if unknown:
        raise UserError(
            f"episodes.procedural_without: unknown kind {unknown[0]!r}; the kinds are {', '.join(sorted(TELLTALE))}"
        )
    return frozenset(motif for kind in kinds for motif in TELLTALE[kind])


def fingerprint(*parts: str) -> str:
    """One hash of everything that a stage's result depends on."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
