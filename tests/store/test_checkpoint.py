from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.store.checkpoint import (
    Checkpoint,
    CheckpointHeader,
    load_checkpoint,
    read_header,
    save_checkpoint,
    weights_sha256,
    write_safetensors,
)
from fsod.store.class_bank import BankHeader, ClassBank, checkpoint_of, load_bank, read_bank, save_bank


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("store") / "weights.safetensors"
    save_checkpoint(path, Checkpoint(Detector("nano", 2), "nano", ("a", "b"), "meta-train", {"seed": 3}))
    return path


def bank_of(detector: Detector) -> ClassBank:
    return ClassBank(
        ("a", "b"), detector.learned_rows().detach(), weights_sha256(detector), {"a": {"row": "learned"}}, 0.5
    )


def test_a_checkpoint_comes_back_as_it_was(saved: Path) -> None:
    one, two = load_checkpoint(saved), load_checkpoint(saved, size="nano")
    assert (one.class_names, one.stage, one.settings) == (("a", "b"), "meta-train", {"seed": 3})
    for a, b in zip(one.detector.state_dict().values(), two.detector.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not one.detector.training


def test_another_size_is_refused(saved: Path) -> None:
    with pytest.raises(UserError, match="size 'nano', but yolov7-tiny is needed"):
        load_checkpoint(saved, size="yolov7-tiny")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_checkpoint(tmp_path / "nothing.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"cut\.safetensors: not a checkpoint"):
        load_checkpoint(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(foreign)


def test_one_of_another_version_says_what_to_do(saved: Path, tmp_path: Path) -> None:
    old = rewritten(tmp_path / "old.safetensors", saved, "format", "fsod-checkpoint-1")
    with pytest.raises(UserError, match=r"old\.safetensors: a checkpoint of another version .* make it again"):
        load_checkpoint(old)


@pytest.mark.parametrize("header", ["[1]", "3", "[" * 100_000, "{"])
def test_a_header_that_is_no_json_object_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"fsod": header})
    with pytest.raises(UserError, match=r"odd\.safetensors: not a checkpoint: "):
        load_checkpoint(path)


def rewritten(path: Path, source: Path, key: str, value: object) -> Path:
    """A copy with another value in its header; none where that is None."""
    with safe_open(source, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        header = json.loads(file.metadata()["fsod"]) | {key: value}
    save_file(tensors, path, metadata={"fsod": json.dumps({k: v for k, v in header.items() if v is not None})})
    return path


@pytest.mark.parametrize(("key", "value"), [("size", None), ("class_names", "ab"), ("stage", 3), ("settings", [])])
def test_a_checkpoint_with_a_damaged_header_is_refused(tmp_path: Path, saved: Path, key: str, value: object) -> None:
    path = rewritten(tmp_path / "odd.safetensors", saved, key, value)
    for read in (load_checkpoint, lambda path: read_header(path, CheckpointHeader)):
        with pytest.raises(UserError, match=rf"^\S+odd\.safetensors: a checkpoint with a damaged header: {key}: .*$"):
            read(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", None),
        ("class_names", [1, 2]),
        ("class_names", ["a", "\x1b[2J"]),
        ("weights_sha256", None),
        ("origins", []),
        ("gsd_m", "half"),
    ],
)
def test_a_bank_with_a_damaged_header_is_refused(tmp_path: Path, saved: Path, key: str, value: object) -> None:
    save_bank(tmp_path / "bank.safetensors", bank_of(load_checkpoint(saved).detector), saved)
    path = rewritten(tmp_path / "odd.safetensors", tmp_path / "bank.safetensors", key, value)
    for read in (read_bank, checkpoint_of):
        with pytest.raises(UserError, match=rf"^\S+odd\.safetensors: a class bank with a damaged header: {key}.*$"):
            read(path)


def test_a_bank_whose_rows_are_not_of_its_classes_is_refused(tmp_path: Path, saved: Path) -> None:
    bank = bank_of(load_checkpoint(saved).detector)
    save_bank(tmp_path / "bank.safetensors", bank, saved)
    path = rewritten(tmp_path / "odd.safetensors", tmp_path / "bank.safetensors", "class_names", ["a"])
    with pytest.raises(UserError, match="rows are not of its 1 classes"):
        read_bank(path)
    header = read_header(tmp_path / "bank.safetensors", BankHeader)
    write_safetensors(path, {"biases": bank.rows.biases, "x": torch.zeros(1)}, header)
    with pytest.raises(UserError, match=r"a class bank without its tensor 'kernels\.0'"):
        read_bank(path)


def test_a_bank_comes_back_as_it_was(tmp_path: Path, saved: Path) -> None:
    detector = load_checkpoint(saved).detector
    bank = bank_of(detector)
    save_bank(tmp_path / "bank.safetensors", bank, saved)
    got = load_bank(tmp_path / "bank.safetensors", detector)
    assert (got.class_names, got.gsd_m, got.origins) == (bank.class_names, 0.5, bank.origins)
    for a, b in zip(got.rows.kernels, bank.rows.kernels, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(got.rows.biases, bank.rows.biases)


def test_a_bank_knows_its_weights(tmp_path: Path, saved: Path) -> None:
    bank = bank_of(load_checkpoint(saved).detector)
    save_bank(tmp_path / "bank.safetensors", bank, saved)
    assert checkpoint_of(tmp_path / "bank.safetensors").resolve() == saved.resolve()
    save_bank(tmp_path / "bank.safetensors", bank, tmp_path / "gone.safetensors")
    with pytest.raises(UserError, match="--checkpoint"):
        checkpoint_of(tmp_path / "bank.safetensors")


def test_a_bank_for_other_weights_is_refused(tmp_path: Path, saved: Path) -> None:
    detector = load_checkpoint(saved).detector
    save_bank(tmp_path / "bank.safetensors", bank_of(detector), saved)
    torch.manual_seed(1)
    with pytest.raises(UserError, match="made for weights"):
        load_bank(tmp_path / "bank.safetensors", Detector("nano", 2))


def test_rows_of_classes_do_not_change_the_hash_and_weights_do(saved: Path) -> None:
    detector = load_checkpoint(saved).detector
    before = weights_sha256(detector)
    with torch.no_grad():
        detector.learned[0].add_(1)
    assert weights_sha256(detector) == before
    with torch.no_grad():
        detector.head.background[0].add_(1)
    assert weights_sha256(detector) != before


def test_select_orders_and_names_what_is_missing(saved: Path) -> None:
    bank = bank_of(load_checkpoint(saved).detector)
    assert torch.equal(bank.select(["b"]).rows.kernels[0], bank.rows.kernels[0][1:])
    with pytest.raises(UserError, match="no class 'c' in the bank"):
        bank.select(["c"])
