"""The command ``fsod bank`` as a user types it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from fsod.model.detector import Detector
from fsod.store.checkpoint import SHIPPED, Checkpoint, save_checkpoint, weights_sha256
from fsod.store.class_bank import ClassBank, checkpoint_of, load_bank, read_bank, save_bank
from tests import command

fsod = partial(command.fsod, "bank")

LOOK = {"brightness": 100.0, "contrast": 20.0, "sharpness": 0.3}


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return Detector("nano", 2).eval()


@pytest.fixture
def place(tmp_path: Path, detector: Detector) -> Path:
    """Two banks of two classes in different folders, their weights in a third."""
    weights = tmp_path / "weights" / "w.safetensors"
    save_checkpoint(weights, Checkpoint(detector, "nano", ("a", "b"), "meta-train"))
    for folder, names in {"mine": ("tank", "ship"), "hers": ("tank", "car")}.items():
        origins = {n: {"row": "predicted", "examples": 5, "scene": f"{folder}.tif", "gsd_m": 0.5} for n in names}
        bank = ClassBank(names, detector.learned_rows().detach(), weights_sha256(detector), origins, 0.5)
        save_bank(tmp_path / folder / "bank.safetensors", bank, weights)
    return tmp_path


def test_list_says_where_classes_come_from(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank, out = place / "mine" / "bank.safetensors", place / "list.json"
    assert fsod("list", bank, "--json", out) == 0
    shown = capsys.readouterr().out
    assert "  tank: predicted, 5 examples, scene mine.tif, 0.5 m per pixel\n" in shown
    assert read_bank(bank).weights_sha256 in shown
    content = json.loads(out.read_text())
    assert content["gsd_m"] == 0.5
    assert [c["name"] for c in content["classes"]] == ["tank", "ship"]


def test_scores_and_rivals_stay_with_their_classes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, hers, out = place / "mine" / "bank.safetensors", place / "hers" / "bank.safetensors", place / "all" / "b"
    bank = read_bank(mine)
    origins = {
        "tank": {**bank.origins["tank"], "score": 0.125, "reduction": 2.0, "look": LOOK},
        "ship": {**bank.origins["ship"], "reported": False},
    }
    save_bank(mine, replace(bank, origins=origins), checkpoint_of(mine))
    assert fsod("list", mine) == 0
    shown = capsys.readouterr().out
    tank = "tank: predicted, shown from score 0.125, 5 examples, looked for in pixels 2 times coarser, scene mine.tif, 0.5 m per pixel"
    assert f"  {tank}\n" in shown
    assert "  ship: never reported, predicted, 5 examples" in shown
    assert fsod("merge", mine, hers, "--out", out, "--rename", "tank= silo ") == 0
    merged = read_bank(out)
    assert merged.reductions[0] == 2.0
    assert merged.reported.class_names == ("tank", "silo", "car")
    assert merged.reported.scores == (0.125, 0.25, 0.25)
    torch.testing.assert_close(merged.distractors.biases, bank.rows.biases[1:])
    assert fsod("remove", mine, "tank") == 2
    assert "no class would be left" in capsys.readouterr().err


def test_a_score_of_null_is_none_and_look_alikes_alone_are_refused(
    place: Path, detector: Detector, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = place / "mine" / "bank.safetensors"
    bank, weights = read_bank(mine), checkpoint_of(mine)
    save_bank(mine, bank.with_origins({"tank": {"score": None}}), weights)
    assert load_bank(mine, detector).scores == (0.25, 0.25)
    assert fsod("list", mine) == 0
    save_bank(mine, bank.with_origins({name: {"reported": False} for name in bank.class_names}), weights)
    assert fsod("list", mine) == 2
    assert "a class bank of look-alikes alone" in capsys.readouterr().err.replace("\n", " ")


def test_merge_writes_a_bank_that_loads(place: Path, detector: Detector, capsys: pytest.CaptureFixture[str]) -> None:
    mine, hers, out = place / "mine" / "bank.safetensors", place / "hers" / "bank.safetensors", place / "all" / "b"
    assert fsod("merge", mine, hers, "--out", out) == 2
    assert "class 'tank' is taken already" in capsys.readouterr().err
    assert not out.parent.exists()
    assert fsod("merge", mine, hers, "--out", out, "--rename", "tank= silo ") == 0
    assert load_bank(out, detector).class_names == ("tank", "ship", "silo", "car")
    assert checkpoint_of(out).resolve() == place / "weights" / "w.safetensors"
    assert fsod("merge", mine, hers, "--out", out, "--rename", "tank") == 2
    assert "give OLD=NEW" in capsys.readouterr().err
    assert fsod("merge", mine, hers, "--out", out, "--rename", "tank=\x1b[2J") == 2
    assert "has characters that cannot be printed" in capsys.readouterr().err.replace("\n", " ")
    assert fsod("merge", mine, hers, "--out", out, "--rename", f"tank={'x' * 201}") == 2
    assert "has 201 characters" in capsys.readouterr().err.replace("\n", " ")
    assert fsod("merge", mine, hers, "--out", out, "--rename", "tank= ") == 2
    assert "give OLD=NEW" in capsys.readouterr().err.replace("\n", " ")
    assert fsod("merge", mine, hers, "--out", out, "--rename", "tank=silo", "--rename", "tank=tower") == 2
    assert "--rename: gives a class two new names" in capsys.readouterr().err.replace("\n", " ")


def test_add_takes_one_class_and_remove_takes_it_out(
    place: Path, detector: Detector, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, hers = place / "mine" / "bank.safetensors", place / "hers" / "bank.safetensors"
    assert fsod("add", mine, hers, "--class", "car") == 0
    assert load_bank(mine, detector).class_names == ("tank", "ship", "car")
    assert fsod("remove", mine, "tank", "boat") == 2
    assert "no class 'boat' in the bank" in capsys.readouterr().err
    assert fsod("remove", mine, "tank", "ship") == 0
    left = load_bank(mine, detector)
    assert left.class_names == ("car",)
    assert left.origins == {"car": read_bank(hers).origins["car"]}
    assert checkpoint_of(mine).resolve() == place / "weights" / "w.safetensors"
    before = mine.read_bytes()
    assert fsod("remove", mine, "car") == 2
    assert "no class would be left" in capsys.readouterr().err
    assert mine.read_bytes() == before
    assert [p.name for p in mine.parent.iterdir()] == ["bank.safetensors"]


def test_what_is_no_bank_is_one_clear_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fsod("list", SHIPPED) == 2
    error = capsys.readouterr().err.strip()
    assert "have learned no class" in error
    assert len(error.splitlines()) == 1
