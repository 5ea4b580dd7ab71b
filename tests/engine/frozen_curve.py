"""A short training with frozen batch norm, run by test_distributed.py alone and under torchrun: FOLDER WEIGHTS OUT."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from fsod.config import EpisodeSettings, LossSettings, OptimSettings
from fsod.data.coco import load_folder, write_json
from fsod.data.episodes import RealEpisodes
from fsod.engine.device import choose_machine
from fsod.engine.distributed import is_first, joined, share_of
from fsod.engine.episode_loss import episode_loss
from fsod.engine.stage import Observer, Stage, run_stage
from fsod.model.detector import Detector

STEPS = 20
SIZES = EpisodeSettings(ways=3, shots=1, queries=5, query_px=64, support_px=64)  # 5 cannot be shared evenly


def trained(folder: Path, state: Path) -> Detector:
    """A detector that has learned a little: in a fresh one, rounding grows tenfold in a few steps."""
    detector = Detector("nano", 3)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.2  # statistics of 60 steps instead of thousands
    _train(detector, folder, state, lambda step, values: None, steps=60, lr=1e-3, freeze_norms=False)
    return detector


def curve(folder: Path, weights: Path, state: Path) -> list[tuple[float, float]]:
    """Total loss and norm of the gradient at every step."""
    detector = Detector("nano", 3)
    detector.load_state_dict(torch.load(weights, weights_only=True))
    seen: list[tuple[float, float]] = []

    def observe(step: int, values: dict[str, float]) -> None:
        seen.append((values["total"], values["gradient"]))

    _train(detector, folder, state, observe, steps=STEPS, lr=1e-5, freeze_norms=True)
    return seen


def _train(
    detector: Detector, folder: Path, state: Path, observe: Observer, *, steps: int, lr: float, freeze_norms: bool
) -> None:
    machine = choose_machine("float32")
    with joined(machine.device):
        stage = Stage(
            name="test",
            episodes=RealEpisodes(load_folder(folder), [0, 1, 2], SIZES, steps, 0, share_of(SIZES.queries)),
            loss_of=lambda model, episode: episode_loss(model, episode, [0, 1, 2], LossSettings()),
            settings=OptimSettings(steps=steps, lr=lr, warmup_steps=5, log_every=1, checkpoint_every=steps, workers=0),
            state_path=state,
            fingerprint="same",
            freeze_norms=freeze_norms,
        )
        run_stage(stage, detector, machine, observe)


if __name__ == "__main__":
    images, start, out = map(Path, sys.argv[1:])
    found = curve(images, start, out.with_suffix(".state.pt"))
    if is_first():
        write_json(out, found)
