"""The weights that come with fsod."""

from __future__ import annotations

from pathlib import Path

import torch

from fsod.config import PretrainSettings
from fsod.model.detector import Detector
from fsod.store.checkpoint import SHIPPED, load_checkpoint, weights_sha256
from fsod.store.class_bank import ClassBank, checkpoint_of, save_bank
from fsod.store.initial import initialise


def test_they_are_small_whole_and_described() -> None:
    shipped = load_checkpoint(SHIPPED)
    assert SHIPPED.stat().st_size <= 4_000_000
    assert (shipped.size, shipped.stage, shipped.class_names) == ("nano", "pretrain", ())
    assert all(value.isfinite().all() for value in shipped.detector.state_dict().values())
    assert weights_sha256(shipped.detector)[:12] in SHIPPED.with_name("MODEL_CARD.md").read_text(encoding="utf-8")


def test_they_have_not_seen_what_resembles_the_novel_classes_of_the_benchmark() -> None:
    settings = PretrainSettings.model_validate(load_checkpoint(SHIPPED).settings)
    assert {"aircraft", "baseball_diamond", "tennis_court"} <= set(settings.episodes.procedural_without)


def test_a_run_may_start_from_them() -> None:
    detector = Detector("nano", learned_classes=2)
    initialise(detector, "nano", "shipped")
    assert weights_sha256(detector) == weights_sha256(load_checkpoint(SHIPPED).detector)


def test_a_bank_finds_them_wherever_it_is_moved(tmp_path: Path) -> None:
    shipped = load_checkpoint(SHIPPED)
    with torch.no_grad():
        bank = ClassBank((), shipped.detector.learned_rows().detach(), weights_sha256(shipped.detector))
    save_bank(tmp_path / "bank.safetensors", bank, SHIPPED)
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "bank.safetensors").rename(tmp_path / "elsewhere" / "bank.safetensors")
    assert checkpoint_of(moved) == SHIPPED
