from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fsod.config_file import common_settings
from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.store.checkpoint import (
    Checkpoint,
    CheckpointHeader,
    load_checkpoint,
    read_header,
    read_safetensors,
    save_checkpoint,
    weights_sha256,
    write_safetensors,
)
from fsod.store.class_bank import BankHeader, ClassBank, checkpoint_of, load_bank, read_bank, save_bank
from tests.untrained import SETTINGS


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


def test_whoever_may_read_other_files_may_read_a_checkpoint(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    assert saved.stat().st_mode == other.stat().st_mode


def test_a_full_disk_is_one_line_and_leaves_nothing(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("fsod.store.checkpoint.save_file", full)
    with pytest.raises(UserError, match=r"c.safetensors: cannot be written \(.*No space left on device"):
        save_checkpoint(tmp_path / "c.safetensors", load_checkpoint(saved), torch.float16)
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("header", ["[1]", "3", "[" * 100_000, "{", '{"seed": ' + "9" * 5000 + "}"])
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


MARKS = {
    "scene": "s.tif",
    "size_px": [90, 60],
    "gsd_m": 0.5,
    "boxes_xyxy_px": [[1, 2, 3, 4]],
    "class_names": ["a"],
    "refused_xyxy_px": [],
    "refused_names": [],
    "areas": "MULTIPOLYGON EMPTY",
}


def learned(origin: object = None, **marks: object) -> dict[str, object]:
    """What a detector says of where it comes from, with other values for some."""
    return {"origins": {"a": {} if origin is None else origin}, "marks": [MARKS | marks]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", None),
        ("class_names", "ab"),
        ("stage", 3),
        ("settings", []),
        ("learned_from", []),
        ("learned_from", {"marks": []}),
        ("learned_from", learned({"score": "high"})),
        ("learned_from", learned("learned")),
        ("learned_from", learned(size_px=[90])),
        ("learned_from", learned(size_px=[90, -1])),
        ("learned_from", learned(boxes_xyxy_px=[[1, 2, 3]])),
        ("learned_from", learned(boxes_xyxy_px=[[1, 2, 3, "x"]])),
        ("learned_from", learned(class_names=["a", "b"])),
        ("learned_from", learned(class_names=["\x1b[2J"])),
        ("learned_from", learned(areas=None)),
        ("learned_from", {**learned(), "enlargement": 0}),
        ("learned_from", {**learned(), "shown": [{"bands": [0], "count": 1, "chosen": "option"}]}),
    ],
)
def test_a_checkpoint_with_a_damaged_header_is_refused(tmp_path: Path, saved: Path, key: str, value: object) -> None:
    path = rewritten(tmp_path / "odd.safetensors", saved, key, value)
    for read in (load_checkpoint, lambda path: read_header(path, CheckpointHeader)):
        with pytest.raises(
            UserError, match=rf"^\S+odd\.safetensors: a checkpoint with a damaged header: {key}\S*: .*$"
        ):
            read(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", None),
        ("class_names", [1, 2]),
        ("class_names", ["a", "\x1b[2J"]),
        ("weights_sha256", None),
        ("class_names", ["a", "b" * 10**6]),
        ("origins", []),
        ("origins", {"a": 7}),
        ("origins", {"a": {"score": "high"}}),
        ("origins", {"a": {"score": 1.5}}),
        ("origins", {"a": {"reported": "perhaps"}}),
        ("origins", {"a": {"gsd_m": 0}}),
        ("gsd_m", "half"),
        ("gsd_m", -0.5),
        ("enlargement", 0),
    ],
)
def test_a_bank_with_a_damaged_header_is_refused(tmp_path: Path, saved: Path, key: str, value: object) -> None:
    save_bank(tmp_path / "bank.safetensors", bank_of(load_checkpoint(saved).detector), saved)
    path = rewritten(tmp_path / "odd.safetensors", tmp_path / "bank.safetensors", key, value)
    for read in (read_bank, checkpoint_of):
        with pytest.raises(UserError, match=rf"^\S+odd\.safetensors: a class bank with a damaged header: {key}.*$"):
            read(path)
        with pytest.raises(UserError) as caught:
            read(path)
        assert len(str(caught.value)) < 500


def test_the_header_of_a_detector_is_read_as_it_was(tmp_path: Path, saved: Path) -> None:
    """What is damaged above is sound without the damage."""
    path = rewritten(tmp_path / "d.safetensors", saved, "learned_from", learned())
    assert read_header(path, CheckpointHeader).learned_from.marks == [MARKS]  # type: ignore[union-attr]


@pytest.mark.parametrize("settings", [{"evaluate": 7}, {"episodes": {"support_px": "large"}}, {"loss": []}])
def test_settings_that_are_damaged_are_one_line(tmp_path: Path, saved: Path, settings: dict[str, object]) -> None:
    path = rewritten(tmp_path / "d.safetensors", saved, "settings", SETTINGS.model_dump(mode="json") | settings)
    with pytest.raises(
        UserError, match=rf"the settings in the header of the weights are damaged: {next(iter(settings))}"
    ):
        common_settings(load_checkpoint(path).settings)


@pytest.mark.parametrize("damage", ["double", "dimensions", "levels", "not finite", "twice", "none"])
def test_a_bank_whose_rows_are_no_rows_is_refused(tmp_path: Path, saved: Path, damage: str) -> None:
    path, bank = tmp_path / "bank.safetensors", bank_of(load_checkpoint(saved).detector)
    save_bank(path, bank, saved)
    tensors, header = read_safetensors(path, BankHeader)
    if damage == "double":
        tensors["kernels.0"] = tensors["kernels.0"].double()
    elif damage == "dimensions":
        tensors["kernels.0"] = tensors["kernels.0"][..., None, None]
    elif damage == "levels":
        tensors["kernels.0"], tensors["kernels.2"] = tensors["kernels.2"], tensors["kernels.0"]
    elif damage == "not finite":
        tensors["biases"][0, 0] = torch.nan
    elif damage == "twice":
        header = header.model_copy(update={"class_names": ("a", "a")})
    else:
        header = header.model_copy(update={"class_names": ()})
        tensors = {name: rows[:0] for name, rows in tensors.items()}
    write_safetensors(path, tensors, header)
    with pytest.raises(UserError, match=r"^\S+bank\.safetensors: a class bank (whose|with) .*; make it again$"):
        load_bank(path, load_checkpoint(saved).detector)


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
