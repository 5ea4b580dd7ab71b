from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from fsod.compute.device import Machine
from fsod.config import DataSettings, EpisodeSettings, FinetuneSettings, OptimSettings, RunSettings
from fsod.data.coco_folder import CocoFolder
from fsod.errors import UserError
from fsod.model.yolov7 import build_trunk
from fsod.store.checkpoint import Checkpoint
from fsod.store.official import import_official
from fsod.training.meta_train import SHAPING, init_sha256, meta_train
from tests.made_folder import make_folder

CPU = Machine(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    return make_folder(tmp_path_factory.mktemp("made") / "folder")


def imported_weights(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    torch.save(build_trunk("nano").state_dict(), path.with_suffix(".pt"))
    import_official(path.with_suffix(".pt"), path)
    return path


def settings(run_dir: Path, init: Path | None, steps: int = 1) -> RunSettings:
    optim = OptimSettings(
        steps=steps, lr=1e-9, warmup_steps=1, checkpoint_every=1, log_every=1, workers=0, precision="float32"
    )
    return RunSettings(
        name="test",
        run_dir=run_dir,
        init=init,
        data=DataSettings(format="nwpu", novel=()),
        episodes=EpisodeSettings(ways=3, shots=1, queries=2, query_px=64, support_px=64),
        meta_train=optim,
        finetune=FinetuneSettings(**optim.model_dump()),
    )


def train(run: RunSettings, folder: CocoFolder, die: bool = False) -> Checkpoint:
    def observe(step: int, values: dict[str, float]) -> None:
        if die and step == 2:
            raise InterruptedError

    return meta_train(run, folder, CPU, run.run_dir / "meta.safetensors", run.run_dir / "meta.state.pt", observe)


def test_training_starts_at_imported_weights(folder: CocoFolder, tmp_path: Path) -> None:
    init = imported_weights(tmp_path / "init.safetensors", seed=5)
    torch.manual_seed(5)
    given = build_trunk("nano")
    trained = train(settings(tmp_path, init), folder).detector.trunk  # one step of next to no length
    for (name, value), start in zip(trained.named_parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(value, start, atol=1e-6, rtol=0, msg=name)


def test_an_interrupted_training_goes_on_from_the_same_initial_weights_only(folder: CocoFolder, tmp_path: Path) -> None:
    one = imported_weights(tmp_path / "one.safetensors", seed=1)
    other = imported_weights(tmp_path / "other.safetensors", seed=2)
    with pytest.raises(InterruptedError):
        train(settings(tmp_path, one, steps=3), folder, die=True)
    for changed in (other, None):
        with pytest.raises(UserError, match="other settings, data or weights"):
            train(settings(tmp_path, changed, steps=3), folder)
    moved = Path(shutil.move(one, tmp_path / "moved.safetensors"))
    train(settings(tmp_path, moved, steps=3), folder)


def test_without_initial_weights_the_settings_count_as_before(tmp_path: Path) -> None:
    """Runs from before there was ``init`` go on, and their checkpoints are still those of their settings."""
    run = settings(tmp_path, None)
    assert init_sha256(run.init) == []
    old_header = {key: value for key, value in run.model_dump(mode="json").items() if key != "init"}
    assert RunSettings.model_validate(old_header).model_dump(include=SHAPING) == run.model_dump(include=SHAPING)


def test_another_file_is_no_initialisation(folder: CocoFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        train(settings(tmp_path, tmp_path / "nowhere.safetensors"), folder)
