from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch

from fsod.compute.device import Machine
from fsod.config import EpisodeSettings, OptimSettings, PretrainSettings
from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint, load_checkpoint, weights_sha256
from fsod.store.initial import initialise
from fsod.training.pretrain import pretrain
from tests.made_photographs import made_photograph

CPU = Machine(torch.device("cpu"), torch.float32)


def settings(run_dir: Path, steps: int = 2, without: tuple[str, ...] = ()) -> PretrainSettings:
    return PretrainSettings(
        name="test",
        run_dir=run_dir,
        episodes=EpisodeSettings(
            ways=2, shots=1, queries=1, query_px=64, support_px=64, procedural_uses=2, procedural_without=without
        ),
        pretrain=OptimSettings(steps=steps, warmup_steps=1, checkpoint_every=1, log_every=1, workers=0),
    )


def train(run: PretrainSettings, die: bool = False) -> Checkpoint:
    def observe(step: int, values: dict[str, float]) -> None:
        if die and step == 2:
            raise InterruptedError

    return pretrain(run, CPU, run.run_dir / "pre.safetensors", run.run_dir / "pre.state.pt", observe)


def test_a_bank_for_what_training_returns_fits_the_file(tmp_path: Path) -> None:
    trained = train(settings(tmp_path))
    read = load_checkpoint(tmp_path / "pre.safetensors")
    assert weights_sha256(read.detector) == weights_sha256(trained.detector)
    assert (read.stage, read.class_names) == ("pretrain", ())
    numbers = sum(value.numel() for value in read.detector.state_dict().values())
    assert (tmp_path / "pre.safetensors").stat().st_size < 2 * numbers + 50_000  # float16


def test_an_interrupted_pretraining_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        train(settings(tmp_path / "disturbed", steps=3), die=True)
    disturbed = train(settings(tmp_path / "disturbed", steps=3))
    undisturbed = train(settings(tmp_path / "quiet", steps=3))
    assert weights_sha256(disturbed.detector) == weights_sha256(undisturbed.detector)


def test_the_next_stage_starts_at_all_shared_weights(tmp_path: Path) -> None:
    trained = train(settings(tmp_path))
    following = Detector("nano", learned_classes=3)
    rows = [row.clone() for row in following.learned]
    initialise(following, "nano", tmp_path / "pre.safetensors")
    assert weights_sha256(following) == weights_sha256(trained.detector)
    assert all(torch.equal(row, own) for row, own in zip(rows, following.learned, strict=True))


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    train(settings(tmp_path))
    with pytest.raises(UserError, match="size 'nano', but the run's size is 'yolov7-tiny'"):
        initialise(Detector("yolov7-tiny", 0), "yolov7-tiny", tmp_path / "pre.safetensors")


def test_an_unknown_kind_of_object_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown kind 'castle'"):
        train(settings(tmp_path, without=("castle",)))


def with_photographs(run_dir: Path, folder: Path, steps: int = 2) -> PretrainSettings:
    folder.mkdir(exist_ok=True)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), made_photograph(i))
    return settings(run_dir, steps).model_copy(update={"grounds": folder, "grounds_share": 0.5})


def test_an_interrupted_pretraining_on_photographs_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        train(with_photographs(tmp_path / "disturbed", tmp_path / "seen", steps=4), die=True)
    disturbed = train(with_photographs(tmp_path / "disturbed", tmp_path / "seen", steps=4))
    undisturbed = train(with_photographs(tmp_path / "quiet", tmp_path / "seen", steps=4))
    drawn = train(settings(tmp_path / "drawn", steps=4))
    assert weights_sha256(disturbed.detector) == weights_sha256(undisturbed.detector)
    assert weights_sha256(disturbed.detector) != weights_sha256(drawn.detector)


def test_a_state_of_other_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        train(with_photographs(tmp_path, tmp_path / "seen", steps=4), die=True)
    again = with_photographs(tmp_path, tmp_path / "seen", steps=4)
    cv2.imwrite(str(tmp_path / "seen" / "2.png"), made_photograph(7))
    with pytest.raises(UserError, match="belongs to other settings, data or weights"):
        train(again)


def test_pretraining_goes_on_from_other_weights(tmp_path: Path) -> None:
    first = train(settings(tmp_path / "first"))
    slow = settings(tmp_path / "second").model_copy(
        update={
            "init": tmp_path / "first" / "pre.safetensors",
            "pretrain": OptimSettings(steps=1, lr=1e-9, warmup_steps=0, weight_decay=0, workers=0),
        }
    )
    second = train(slow)
    for name, value in first.detector.named_parameters():
        assert torch.allclose(value, second.detector.get_parameter(name), atol=1e-3), name
