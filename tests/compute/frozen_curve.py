"""A short training with frozen batch norm, run by test_distributed.py in one process and in two."""

from __future__ import annotations

from pathlib import Path

import torch

from fsod.compute.device import choose_machine
from fsod.compute.distributed import joined, share_of
from fsod.config import EpisodeSettings, LossSettings, OptimSettings
from fsod.data.coco_folder import load_folder
from fsod.data.real_episodes import RealEpisodes
from fsod.model.detector import Detector
from fsod.store.checkpoint import SHIPPED, load_checkpoint
from fsod.training.episode_loss import episode_loss
from fsod.training.stage import Stage, run_stage

STEPS = 10
SIZES = EpisodeSettings(ways=3, shots=1, queries=5, query_px=64, support_px=64)  # 5 cannot be shared evenly


def started() -> Detector:
    """The shipped weights with three rows by chance: in a fresh detector, rounding grows tenfold in a few steps."""
    torch.manual_seed(0)
    detector = Detector("nano", 3)
    shipped = load_checkpoint(SHIPPED).detector.state_dict()
    detector.load_state_dict({n: v for n, v in shipped.items() if not n.startswith("learned")}, strict=False)
    return detector


def curve(folder: Path, state: Path) -> list[tuple[float, float]]:
    """Total loss and norm of the gradient at every step."""
    seen: list[tuple[float, float]] = []
    machine = choose_machine("float32")
    with joined(machine.device):
        stage = Stage(
            name="test",
            episodes=RealEpisodes(load_folder(folder), [0, 1, 2], SIZES, STEPS, 0, share_of(SIZES.queries)),
            loss_of=lambda model, episode: episode_loss(model, episode, [0, 1, 2], LossSettings()),
            settings=OptimSettings(
                steps=STEPS, lr=1e-5, warmup_steps=5, log_every=1, checkpoint_every=STEPS, workers=0
            ),
            state_path=state,
            fingerprint="same",
            freeze_norms=True,
        )
        run_stage(stage, started(), machine, lambda step, values: seen.append((values["total"], values["gradient"])))
    return seen
