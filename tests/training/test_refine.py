from __future__ import annotations

import pytest
import torch

from fsod.compute.device import Machine
from fsod.config import OptimSettings
from fsod.config_file import common_settings
from fsod.data.marked import Marked, marked_shots
from fsod.data.real_episodes import RealEpisodes
from fsod.data.shots import draw_shots
from fsod.inference.enrollment import enrolled_bank
from fsod.model.detector import Detector, unit_pixels
from fsod.store.checkpoint import Checkpoint, weights_sha256
from fsod.store.class_bank import ClassBank
from fsod.training.episode_loss import predicted_shots_loss
from fsod.training.refine import refined_bank
from tests.made_folder import make_folder

CPU = Machine(torch.device("cpu"), torch.float32)
NAMES = ("square", "cross")
SETTINGS = {"name": "made", "run_dir": "made", "episodes": {"queries": 2, "query_px": 64, "support_px": 64}}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Marked:
    folder = make_folder(tmp_path_factory.mktemp("made") / "folder")
    return marked_shots(folder, draw_shots(folder, NAMES, 3, 0), NAMES)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(Detector("nano", 1).eval(), "nano", ("disc",), "meta-train", SETTINGS)


def loss(checkpoint: Checkpoint, bank: ClassBank, examples: Marked) -> float:
    """Of rows, on other crops of the examples than they were trained on."""
    settings, ids = common_settings(checkpoint.settings), examples.folder.class_indices(bank.class_names)
    sizes = settings.episodes.model_copy(update={"ways": 2, "queries": 8})
    folder, pixels = examples.folder, examples.pixels
    episode = RealEpisodes(folder, ids, sizes, 1, 1, known_margin=0.5, with_supports=False, pixels=pixels)[0]
    with torch.no_grad():
        predictions = checkpoint.detector(unit_pixels(episode.queries), bank.rows)
        terms = predicted_shots_loss(predictions, episode, ids, settings.loss, shots_only=False)
    return float(terms["learned"])


def test_rows_learn_their_examples_and_nothing_else_changes(checkpoint: Checkpoint, examples: Marked) -> None:
    before = weights_sha256(checkpoint.detector)
    start = enrolled_bank(
        checkpoint, examples.crops(64), CPU, {"data": "made"}, None, learned=False, distractors=("cross",)
    )
    steps: list[None] = []
    optim = OptimSettings(steps=40, lr=0.1, warmup_steps=1)
    tuned = refined_bank(checkpoint, start, examples, optim, 0.5, CPU, lambda: steps.append(None))
    assert loss(checkpoint, tuned, examples) < 0.5 * loss(checkpoint, start, examples)
    assert len(steps) == 40
    assert weights_sha256(checkpoint.detector) == before == tuned.weights_sha256
    assert all(p.requires_grad for p in checkpoint.detector.parameters())
    assert all(p.grad is None for p in checkpoint.detector.parameters())
    assert tuned.class_names == NAMES
    assert tuned.origins["square"] == {"row": "refined", "examples": 3, "data": "made"}
    assert tuned.reported.class_names == ("square",)
    for one, two in zip(tuned.rows.kernels, start.rows.kernels, strict=True):
        torch.testing.assert_close(one.norm(dim=1), two.norm(dim=1))
        assert not torch.allclose(one, two)


def test_the_same_examples_give_the_same_rows(checkpoint: Checkpoint, examples: Marked) -> None:
    start = enrolled_bank(checkpoint, examples.crops(64), CPU, {}, None, learned=False)
    optim = OptimSettings(steps=3, lr=0.1, warmup_steps=1)
    one, two = (refined_bank(checkpoint, start, examples, optim, 0.5, CPU, lambda: None) for _ in range(2))
    assert torch.equal(one.rows.biases, two.rows.biases)
