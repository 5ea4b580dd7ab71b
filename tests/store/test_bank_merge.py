from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fsod.band_rule import BandRule
from fsod.errors import UserError
from fsod.model.meta_head import ClassRows
from fsod.store.bank_merge import BankFile, merge_banks, weights_file
from fsod.store.checkpoint import SHIPPED
from fsod.store.class_bank import ClassBank


def made(file: str, *names: str, weights: str = "w" * 64, gsd_m: float | None = None) -> BankFile:
    torch.manual_seed(len(names))
    rows = ClassRows([torch.randn(len(names), c) for c in (4, 8, 16)], torch.randn(len(names), 3))
    origins = {name: {"row": "predicted", "examples": 3, "scene": file} for name in names}
    return Path(file), ClassBank(names, rows, weights, origins, gsd_m, checkpoint="weights.safetensors")


def test_rows_and_origins_stand_beside_each_other() -> None:
    one, two = made("one", "tank", "ship", gsd_m=0.5), made("two", "car")
    merged = merge_banks([one, two], {})
    assert merged.class_names == ("tank", "ship", "car")
    assert merged.gsd_m == 0.5
    assert [o["scene"] for o in merged.origins.values()] == ["one", "one", "two"]
    for level in range(3):
        assert torch.equal(merged.select(["car"]).rows.kernels[level], two[1].rows.kernels[level])
        assert torch.equal(merged.select(["tank", "ship"]).rows.kernels[level], one[1].rows.kernels[level])
    assert torch.equal(merged.rows.biases[2:], two[1].rows.biases)


def test_other_weights_are_refused() -> None:
    with pytest.raises(UserError, match=r"^two: made for weights vvvvvvvvvvvv, but one for wwwwwwwwwwww; ") as error:
        merge_banks([made("one", "tank"), made("two", "car", weights="v" * 64)], {})
    assert "\n" not in str(error.value)


def test_a_name_of_two_classes_is_refused_unless_one_is_renamed() -> None:
    one, two = made("one", "tank", "ship"), made("two", "tank", "car")
    with pytest.raises(UserError, match=r"^two: class 'tank' is taken already"):
        merge_banks([one, two], {})
    with pytest.raises(UserError, match="class 'car' is taken already"):
        merge_banks([one, two], {"tank": "car"})
    with pytest.raises(UserError, match="class 'ship' is taken already"):
        merge_banks([one, two], {"tank": "ship"})
    with pytest.raises(UserError, match="no two of the banks have a class 'plane'"):
        merge_banks([one, two], {"tank": "silo", "plane": "jet"})
    merged = merge_banks([one, two], {"tank": "silo"})
    assert merged.class_names == ("tank", "ship", "silo", "car")
    assert merged.origins["tank"]["scene"] == "one"
    assert merged.origins["silo"]["scene"] == "two"
    assert torch.equal(merged.select(["silo"]).rows.kernels[0], two[1].rows.kernels[0][:1])


def test_different_gsds_are_refused_unless_one_is_chosen() -> None:
    banks = [made("one", "tank"), made("two", "car", gsd_m=0.5), made("three", "ship", gsd_m=0.54)]
    assert merge_banks(banks, {}).gsd_m == 0.5
    banks.append(made("four", "plane", gsd_m=1.2))
    with pytest.raises(UserError, match=r"four: examples at 1\.2 m per pixel, but those of two at 0\.5 m"):
        merge_banks(banks, {})
    assert merge_banks(banks, {}, gsd_m=0.7).gsd_m == 0.7


def test_all_bands_that_examples_were_shown_in_are_kept_once() -> None:
    true, false = (BandRule(bands=bands, count=4, chosen="option") for bands in ((3, 2, 1), (4, 3, 2)))
    shown = [(true,), (), (false, true)]
    banks = [(Path(name), replace(made(name, name)[1], shown=own)) for name, own in zip("abc", shown, strict=True)]
    assert merge_banks(banks, {}).shown == (true, false)


def test_weights_that_are_there_come_before_weights_that_are_not(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "weights.safetensors").touch()
    banks = [made(str(tmp_path / "a" / "bank"), "tank"), made(str(tmp_path / "b" / "bank"), "car")]
    assert weights_file(banks) == tmp_path / "b" / "weights.safetensors"
    assert weights_file(banks[:1]) == tmp_path / "a" / "weights.safetensors"


def test_working_sizes_are_those_of_scenes_of_unknown_gsd() -> None:
    (path, small), two = made("one", "tank"), made("two", "car")
    banks = [(path, replace(small, enlargement=2.0)), two]
    with pytest.raises(UserError, match="two: scenes are looked at 1 times as large as they are, but for one 2 times"):
        merge_banks(banks, {})
    assert merge_banks(banks, {}, gsd_m=0.5).enlargement == 2
    known = [(file, replace(bank, gsd_m=0.5)) for file, bank in banks]
    assert merge_banks(known, {}).gsd_m == 0.5
    turned = replace(two[1], turned=True, sized=True)
    assert merge_banks([made("one", "tank"), (two[0], turned)], {}).turned


def test_banks_of_the_shipped_weights_need_no_file_beside_them() -> None:
    banks = [(Path(f"{name}/{name}.safetensors"), replace(made("x", name)[1], checkpoint="shipped")) for name in "ab"]
    assert weights_file(banks) == SHIPPED
