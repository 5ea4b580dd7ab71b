"""Weights by chance with a bank of their classes: they find something, the same whenever they are made."""

from __future__ import annotations

from pathlib import Path

import torch

from fsod.config import RunSettings
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint, save_checkpoint
from fsod.store.class_bank import learned_bank, save_bank

SETTINGS = RunSettings.model_validate(
    {
        "name": "made",
        "run_dir": "made",
        "data": {"format": "nwpu", "novel": []},
        "meta_train": {"steps": 1},
        "finetune": {"steps": 1},
    }
)


def make_bank(
    folder: Path, names: tuple[str, ...] = ("boat", "car"), seed: int = 0, settings: RunSettings = SETTINGS
) -> Path:
    """``bank.safetensors`` beside its ``weights.safetensors``; the examples had pixels of half a metre."""
    torch.manual_seed(seed)
    detector = Detector("nano", len(names))
    torch.nn.init.constant_(detector.head.prior, 0.0)  # chance finds little; a class is not rare here
    made = Checkpoint(detector.eval(), "nano", names, "meta-train", settings.model_dump(mode="json"))
    weights, bank = folder / "weights.safetensors", folder / "bank.safetensors"
    save_checkpoint(weights, made)
    save_bank(bank, learned_bank(made, gsd_m=0.5), weights)
    return bank
