"""A finetuned run of configs/nwpu.yaml, for studies that start from one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from fsod.config import RunSettings
from fsod.config_file import load_settings
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids
from fsod.tracking.run_paths import RunPaths

SHOTS, SEED = 10, 0
"""Boxes per class, and which draw of them."""


@dataclass(frozen=True)
class Finetuned:
    """Its settings, what finetuning made, and its test images."""

    settings: RunSettings
    checkpoint: Path
    bank: Path
    test: CocoFolder


def finetuned_run(overrides: list[str]) -> Finetuned:
    """The run, its settings changed by ``overrides``; ends the script where there is none."""
    settings = load_settings(Path("configs/nwpu.yaml"), overrides)
    paths = RunPaths(settings.run_dir)
    checkpoint, bank = paths.finetuned(SHOTS, SEED), paths.bank(SHOTS, SEED)
    for needed in (bank, checkpoint, paths.data):
        if not needed.exists():
            sys.exit(f"skipped: {needed} is not there; the first lines of this script say how to make it")
    test = load_folder(paths.data).select(read_ids(paths.id_list(settings.data.test_list)))
    return Finetuned(settings, checkpoint, bank, test)
