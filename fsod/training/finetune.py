"""Finetuning: novel classes start at rows predicted from their K shots.

First these rows learn alone, then everything that is to be trained learns together.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import normalize

from fsod.compute.device import Machine
from fsod.compute.distributed import first_goes_ahead, is_first, share_of
from fsod.config import LossSettings, RunSettings
from fsod.data.coco_folder import CocoFolder
from fsod.data.marked import marked_shots
from fsod.data.real_episodes import RealEpisodes
from fsod.data.shots import ShotList, only_shots
from fsod.inference.enrollment import encode_examples, shot_examples
from fsod.inference.infer import batch_detector
from fsod.inference.thresholds import FLOOR, propose_trained_scores
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint, save_checkpoint, weights_sha256
from fsod.store.class_bank import ClassBank, learned_bank
from fsod.training.episode_loss import shots_loss
from fsod.training.meta_train import fingerprint
from fsod.training.refine import EPISODES, REFINING, refine
from fsod.training.stage import Observer, Stage, run_stage


def with_shots(
    base: Checkpoint,
    class_names: tuple[str, ...],
    folder: CocoFolder,
    shots: ShotList,
    support_px: int,
    machine: Machine,
) -> Detector:
    """The checkpoint's detector with a learned row for every class: its own, or one predicted from the shots."""
    known, new = len(base.class_names), list(class_names[len(base.class_names) :])
    detector = Detector(base.size, len(class_names), machine.trunk_dtype).eval()
    own = base.detector.state_dict()
    rows = {name: value for name, value in own.items() if name.startswith("learned")}
    detector.load_state_dict({name: value for name, value in own.items() if name not in rows}, strict=False)
    detector.to(machine.device)
    with torch.no_grad():
        for name, value in detector.state_dict().items():
            if name in rows:
                value[:known] = rows[name]
        if new:
            examples = shot_examples(folder, shots, new, support_px)
            directions, biases = detector.encoder(encode_examples(detector, examples, machine))
            for row, learned in zip(directions, detector.learned, strict=True):
                # as long as its neighbours, without any as chance: the head takes the direction only, but step sizes
                # depend on the length
                length = (learned[:known] if known else learned).norm(dim=1).mean()
                learned[known:] = normalize(row, dim=1) * length
            detector.learned_bias[known:] = biases
    return detector


StartRows = Callable[[Checkpoint, tuple[str, ...], CocoFolder, ShotList, int, Machine], Detector]
"""A function like ``with_shots``."""


def finetune(
    settings: RunSettings,
    base: Checkpoint,
    folder: CocoFolder,
    shots: ShotList,
    machine: Machine,
    checkpoint: Path,
    state: Path,
    observe: Observer,
    start_rows: StartRows = with_shots,
) -> Checkpoint:
    """Trains on the K shots of every class, base and novel, and on background in the crops around them.

    Args:
        settings: of the run.
        base: a meta-trained checkpoint; classes of the shot list that it has not learned become learned ones.
        folder: the images of the shots.
        shots: K boxes per class.
        machine: where to train.
        checkpoint: the file to write.
        state: the file that an interrupted training goes on from.
        observe: told how it goes.
        start_rows: gives every class the row that its training starts from.
    """
    class_names = base.class_names + tuple(name for name in shots.box_ids if name not in base.class_names)
    detector = start_rows(base, class_names, folder, shots, settings.episodes.support_px, machine)
    choose_trained(detector, settings.finetune.part)
    taught = [name for name in class_names if name in shots.box_ids]
    class_ids, rows = folder.class_indices(taught), row_classes(class_names, folder)
    novel = folder.class_indices([name for name in taught if name not in base.class_names])
    sizes = settings.episodes.model_copy(update={"ways": len(taught)})
    share = share_of(sizes.queries)
    with first_goes_ahead():
        episodes = RealEpisodes(
            only_shots(folder, shots),
            class_ids,
            sizes,
            settings.finetune.steps,
            settings.seed,
            share,
            known_margin=settings.finetune.known_margin,
            with_supports=False,
            often=(novel, settings.finetune.novel_share) if novel else None,
        )
    if novel and settings.finetune.part != "kernels":
        refine_new(detector, len(base.class_names), episodes, rows, settings.loss, machine)
    stage = Stage(
        name="finetune",
        episodes=episodes,
        loss_of=lambda model, episode: shots_loss(model, episode, rows, settings.loss, shots_only=True),
        settings=settings.finetune,
        state_path=state,
        fingerprint=fingerprint(
            folder.sha256,
            str(shots.box_ids),
            weights_sha256(base.detector),
            settings.model_dump_json(include={"seed", "episodes", "loss", "finetune"}),
        ),
        freeze_norms=True,
    )
    tuned = run_stage(stage, detector, machine, observe).cpu()
    interpolate_weights(tuned, base.detector, settings.finetune.keep)
    result = Checkpoint(tuned, base.size, class_names, "finetune", settings.model_dump(mode="json"))
    if is_first():
        save_checkpoint(checkpoint, result)
        state.unlink(missing_ok=True)
    return result


def tuned_bank(
    settings: RunSettings, tuned: Checkpoint, folder: CocoFolder, shots: ShotList, machine: Machine, gsd_m: float | None
) -> ClassBank:
    """The bank of a finetuned detector's classes, with the scores that its shots propose."""
    bank = learned_bank(tuned, gsd_m)
    marked = marked_shots(folder, shots, [name for name in tuned.class_names if name in shots.box_ids])
    detect = batch_detector(tuned, bank, machine, settings.evaluate, FLOOR)
    return bank.with_scores(propose_trained_scores(marked, bank.class_names, detect))


@torch.no_grad()
def interpolate_weights(tuned: nn.Module, base: nn.Module, keep: float) -> None:
    """Moves every weight that the base has a ``keep``-th of the way back to it.

    Rows of new classes, which come after the base's, stay as they are. Weights between both know the new classes and
    forget less of the old ones (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903, section 3).
    """
    own = base.state_dict()
    for name, value in tuned.state_dict().items():
        if value.ndim:  # all but the counters of batch norms
            # the base may lie elsewhere: who detects with a checkpoint moves its detector
            value[: len(own[name])].lerp_(own[name].to(value.device), keep)


def refine_new(
    detector: Detector, known: int, episodes: RealEpisodes, row_classes: list[int], loss: LossSettings, machine: Machine
) -> None:
    """Trains the rows of new classes, those from ``known`` on, before anything else moves.

    Rows that are wrong bend the features that all classes share to fit them (Kumar et al. 2022, arXiv 2202.10054).
    """
    seen = [episodes[i] for i in range(min(EPISODES, len(episodes)))]
    start = detector.learned_rows().detach()
    refined = refine(detector, start, seen, row_classes, REFINING, loss, machine, shots_only=True)
    with torch.no_grad():
        for kernels, learned in zip(refined.kernels, detector.learned, strict=True):
            learned[known:] = normalize(kernels[known:], dim=1) * learned[known:].norm(dim=1, keepdim=True)
        detector.learned_bias[known:] = refined.biases[known:] - detector.head.prior


def choose_trained(detector: Detector, part: str) -> None:
    """Freezes what finetuning leaves alone; see ``FinetuneSettings.part``."""
    detector.requires_grad_(part == "all")
    detector.encoder.requires_grad_(False)  # there are no supports
    detector.learned.requires_grad_(True)
    detector.learned_bias.requires_grad_(True)
    if part == "adapters":
        detector.head.requires_grad_(True)
        for norm in (m for m in detector.trunk.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.requires_grad_(True)


def row_classes(class_names: tuple[str, ...], folder: CocoFolder) -> list[int]:
    """Class ids of the folder in the order of rows; -2 for a class that the folder does not have."""
    return [folder.class_names.index(name) if name in folder.class_names else -2 for name in class_names]
