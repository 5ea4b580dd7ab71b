from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from fsod.compute.device import Machine
from fsod.config import EpisodeSettings, LossSettings
from fsod.data.real_episodes import RealEpisodes
from fsod.data.shots import draw_shots
from fsod.inference.enrollment import Examples, enrolled_bank
from fsod.model.detector import Detector
from fsod.model.meta_head import ClassRows
from fsod.store.checkpoint import Checkpoint, weights_sha256
from fsod.training import finetune
from fsod.training.finetune import choose_trained, interpolate_weights, refine_new, with_shots
from fsod.training.refine import REFINING
from tests.fake_gpu import fake_gpu, move
from tests.made_folder import NAMES, make_folder


@pytest.mark.parametrize(
    ("part", "shared"),
    [("kernels", set()), ("adapters", {"head", "norms"}), ("all", {"head", "norms", "convolutions"})],
)
def test_each_part_trains_what_it_says(part: str, shared: set[str]) -> None:
    detector = Detector("nano", learned_classes=2)
    choose_trained(detector, part)
    trained = {name: p.ndim for name, p in detector.named_parameters() if p.requires_grad}
    assert any(name.startswith("learned") for name in trained)
    kinds = {"head" for name in trained if name.startswith("head")}
    kinds |= {"norms" if ndim == 1 else "convolutions" for name, ndim in trained.items() if name.startswith("trunk")}
    assert kinds == shared
    assert not any(name.startswith("encoder") for name in trained)


@pytest.mark.parametrize("learned", [0, 1])
def test_new_rows_are_as_long_as_learned_ones_are(learned: int, tmp_path: Path) -> None:
    """Weights that were only pretrained have no rows to take the length from."""
    torch.manual_seed(0)
    folder = make_folder(tmp_path / "folder", images=2)
    base = Checkpoint(Detector("nano", learned).eval(), "nano", NAMES[:learned], "pretrain")
    machine = Machine(torch.device("cpu"), torch.float32)
    started = with_shots(base, NAMES, folder, draw_shots(folder, NAMES, 1, 0), 64, machine)
    for row, channels in zip(started.learned, started.trunk.channels, strict=True):
        torch.testing.assert_close(row.detach().norm(dim=1), torch.full((3,), channels**0.5), rtol=0.2, atol=0)


def test_rows_of_new_classes_learn_first_and_nothing_else_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "REFINING", REFINING.model_copy(update={"steps": 30}))
    torch.manual_seed(0)
    folder = make_folder(tmp_path / "folder", images=2)
    detector = Detector("nano", len(NAMES)).eval()
    sizes = EpisodeSettings(ways=3, queries=2, query_px=64, support_px=64)
    ids = folder.class_indices(NAMES)
    episodes = RealEpisodes(folder, ids, sizes, 2, 0, known_margin=0.5, with_supports=False)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    refine_new(detector, 1, episodes, ids, LossSettings(), Machine(torch.device("cpu"), torch.float32))
    for name, value in detector.state_dict().items():
        if name.startswith("learned"):
            assert torch.equal(value[:1], before[name][:1])
            assert not torch.isclose(value[1:], before[name][1:]).all(dim=1).any()
        else:
            assert torch.equal(value, before[name])
    for row, level in zip(detector.learned, range(3), strict=True):
        torch.testing.assert_close(row.detach().norm(dim=1), before[f"learned.{level}"].norm(dim=1))


def test_what_the_base_has_goes_back_part_of_the_way() -> None:
    torch.manual_seed(0)
    base, tuned = Detector("nano", learned_classes=1), Detector("nano", learned_classes=3)
    before = {name: value.clone() for name, value in tuned.state_dict().items()}
    interpolate_weights(tuned, base, 0.25)
    own, after = base.state_dict(), tuned.state_dict()
    for name in ("trunk.stem.0.conv.weight", "encoder.from_vector.0"):
        torch.testing.assert_close(after[name], 0.75 * before[name] + 0.25 * own[name])
    torch.testing.assert_close(after["learned.0"][:1], 0.75 * before["learned.0"][:1] + 0.25 * own["learned.0"])
    assert torch.equal(after["learned.0"][1:], before["learned.0"][1:])


def test_a_base_that_has_detected_on_a_gpu_is_gone_back_to() -> None:
    """``batch_detector`` moves the checkpoint's detector; a finetuned one is back on the CPU by then."""
    with fake_gpu() as to_gpu:
        base, tuned = Detector("nano", learned_classes=1), Detector("nano", learned_classes=3)
        move(base, to_gpu)
        assert {value.device.type for value in base.state_dict().values()} == {"cuda"}
        with pytest.raises(RuntimeError, match="same device"):
            tuned.learned_bias[:1] + base.learned_bias
        interpolate_weights(tuned, base, 0.25)
        assert {value.device.type for value in tuned.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("learned", [True, False])
def test_rows_of_a_bank_lie_together_wherever_they_were_made(learned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learned rows come from the CPU, or from a detector that has been moved; new ones from where it computes."""
    monkeypatch.setattr("fsod.store.class_bank.weights_sha256", lambda detector: "hash")  # reads numbers
    monkeypatch.setattr("fsod.inference.enrollment.encode_examples", lambda *_: None)
    with fake_gpu() as to_gpu:
        detector = Detector("nano", learned_classes=1)
        of_gpu = ClassRows([to_gpu(k.repeat(2, 1)) for k in detector.learned], to_gpu(torch.zeros(2, 3)))
        monkeypatch.setattr(Detector, "predicted_rows", lambda *_: of_gpu)
        base = Checkpoint(detector, "nano", ("a",), "meta-train")
        crops: Examples = {"b": [], "c": []}
        monkeypatch.setattr(detector, "to", lambda _: detector)  # tensors of a fake GPU cannot be moved in place
        for _ in range(2):
            bank = enrolled_bank(base, crops, Machine(torch.device("cpu"), torch.float32), {}, None, learned=learned)
            assert {part.device.type for part in (*bank.rows.kernels, bank.rows.biases)} == {"cpu"}
            assert len(bank.rows) == 2 + learned
            move(detector, to_gpu)


def test_weights_that_were_not_trained_stay_the_same_to_the_last_bit() -> None:
    """A bank is for weights of one hash."""
    base = Detector("nano", learned_classes=1)
    base.state_dict()["trunk.stem.0.conv.weight"][0] = -0.0
    before = weights_sha256(base)
    interpolate_weights(base, copy.deepcopy(base), 0.2)
    assert weights_sha256(base) == before
