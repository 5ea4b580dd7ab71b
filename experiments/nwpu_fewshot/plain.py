"""What the baselines share: plain detection training on the base tiles, then on K shots, in fsod's own loop.

The same tiles, crops, augmentation, optimiser and running average as the full system, and the same rule that only the K
boxes supervise. There are no episodes: a query is a crop, and a class a row of the detector's last layer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock
from torch import nn

from experiments.nwpu_fewshot.bench import Bench
from fsod.data.coco_folder import CocoFolder
from fsod.data.real_episodes import RealEpisodes
from fsod.data.shots import ShotList, only_shots
from fsod.data.splits import images_without
from fsod.model.detector import Detector
from fsod.progress import progress_bar
from fsod.training.finetune import interpolate_weights
from fsod.training.meta_train import SHAPING, fingerprint
from fsod.training.stage import LossOf, Network, Stage, run_stage


def base_tiles(bench: Bench) -> CocoFolder:
    """Tiles that base training may see: those with an object of a base class and nothing of any other class."""
    hidden = [name for name in bench.tiles.class_names if name not in bench.base]
    seen = images_without(bench.tiles, hidden)
    return replace(seen, images=tuple(tile for tile in seen.images if len(tile.class_ids)))


def train_base(bench: Bench, network: Network, loss_of: LossOf, steps: int, out: Path) -> Network:
    """Trains on the base tiles; every box of a base class in them is labelled.

    Args:
        bench: its settings give the optimiser and the crops.
        network: what is trained.
        loss_of: its loss terms.
        steps: how many.
        out: folder of the state that an interrupted training goes on from.
    """
    tiles = base_tiles(bench)
    episodes, seed = bench.settings.episodes, bench.settings.seed
    stage = Stage(
        name="base",
        episodes=RealEpisodes(tiles, tiles.class_indices(bench.base), episodes, steps, seed, with_supports=False),
        loss_of=loss_of,
        settings=bench.settings.meta_train.model_copy(update={"steps": steps}),
        state_path=out / "base.state.pt",
        fingerprint=fingerprint(tiles.sha256, str(steps), bench.settings.model_dump_json(include=SHAPING)),
    )
    return run_to_end(stage, network, bench)


def shot_episodes(bench: Bench, shots: ShotList, steps: int) -> RealEpisodes:
    """Crops of the K shots of every class, as finetuning draws them."""
    settings, folder = bench.settings.finetune, bench.train
    return RealEpisodes(
        only_shots(folder, shots),
        folder.class_indices(tuple(shots.box_ids)),
        bench.settings.episodes.model_copy(update={"ways": len(shots.box_ids)}),
        steps,
        shots.seed,
        known_margin=settings.known_margin,
        with_supports=False,
        often=(folder.class_indices(bench.novel), settings.novel_share),
    )


def train_on_shots(
    bench: Bench,
    base: nn.Module,
    network: Network,
    loss_of: LossOf,
    shots: ShotList,
    out: Path,
    more_steps: int = 0,
) -> Network:
    """Trains all weights on the K shots of every class, then keeps a share of the base's, as ``finetune.part=all`` does.

    Args:
        bench: its settings give the finetuning.
        base: what the network started from; its classes are the network's first.
        network: what is trained.
        loss_of: its loss terms.
        shots: K boxes per class.
        out: folder of the state that an interrupted training goes on from.
        more_steps: than the settings say.
    """
    settings = bench.settings.finetune
    settings = settings.model_copy(update={"steps": settings.steps + more_steps})
    episodes = shot_episodes(bench, shots, settings.steps)
    stage = Stage(
        name="finetune",
        episodes=episodes,
        loss_of=loss_of,
        settings=settings,
        state_path=out / "finetune.state.pt",
        fingerprint=fingerprint(
            bench.train.sha256, str(shots.box_ids), bench.settings.model_dump_json(), str(more_steps), _hash_of(base)
        ),
        freeze_norms=True,
    )
    tuned = run_to_end(stage, network, bench)
    interpolate_weights(tuned, base.to(bench.machine.device), settings.keep)
    return tuned


def _hash_of(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def run_to_end(stage: Stage, network: Network, bench: Bench) -> Network:
    """Runs a stage and removes its state."""
    with progress_bar(f"{stage.state_path.parent.name}, {stage.name}", stage.settings.steps) as bar:
        trained = run_stage(
            stage, network, bench.machine, lambda step, values: bar.advance_to(step, f"loss {values['total']:.2f}")
        )
    stage.state_path.unlink(missing_ok=True)
    return trained


@contextmanager
def made_once(path: Path) -> Iterator[bool]:
    """Whether the file is still to be made; another process that asks meanwhile waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        yield not path.is_file()


def with_rows(detector: Detector, size: str, old: tuple[str, ...], new: tuple[str, ...], seed: int) -> Detector:
    """The detector with learned rows for the classes ``new``: its own for those of ``old``, others from chance.

    Rows from chance are as long as the others: the head takes the direction only, but step sizes depend on the length.
    """
    torch.manual_seed(seed)
    other = Detector(size, len(new), detector.trunk_dtype).to(next(detector.parameters()).device)
    state = detector.state_dict()
    rows = {name: value for name, value in state.items() if name.startswith("learned")}
    other.load_state_dict({name: value for name, value in state.items() if name not in rows}, strict=False)
    kept = [name for name in new if name in old]
    to, source = [new.index(name) for name in kept], [old.index(name) for name in kept]
    with torch.no_grad():
        for name, value in other.state_dict().items():
            if name in rows and kept:
                if name != "learned_bias":
                    value *= rows[name].norm(dim=1).mean() / value.norm(dim=1, keepdim=True)
                value[to] = rows[name][source]
    return other
