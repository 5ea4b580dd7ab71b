"""Rows refined before a finetuning, by test_distributed.py in one process and in two."""

from __future__ import annotations

from pathlib import Path

import torch

from fsod.compute.device import choose_machine
from fsod.compute.distributed import joined, share_of
from fsod.config import EpisodeSettings, LossSettings
from fsod.data.coco_folder import load_folder
from fsod.data.real_episodes import RealEpisodes
from fsod.data.shots import draw_shots, only_shots
from fsod.model.detector import Detector
from fsod.training.finetune import refine_new

SIZES = EpisodeSettings(ways=3, shots=1, queries=4, query_px=64, support_px=64)


def refined(folder: Path) -> list[list[float]]:
    """Of the two new classes the biases of their rows, then each level's kernels, as they are after refining."""
    machine = choose_machine("float32")
    with joined(machine.device):
        torch.manual_seed(0)
        detector = Detector("nano", 3).to(machine.device).eval()
        images = load_folder(folder)
        shots = only_shots(images, draw_shots(images, images.class_names, 3, 0))
        share = share_of(SIZES.queries)
        episodes = RealEpisodes(shots, [0, 1, 2], SIZES, 4, 0, share, known_margin=0.5, with_supports=False)
        refine_new(detector, 1, episodes, [0, 1, 2], LossSettings(), machine)
    return [value[1:].flatten().tolist() for value in (detector.learned_bias, *detector.learned)]
