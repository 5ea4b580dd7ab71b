from __future__ import annotations

from pathlib import Path

import pytest

from experiments.nwpu_fewshot import validate
from experiments.nwpu_fewshot.bench import open_bench
from experiments.nwpu_fewshot.plain import base_tiles
from experiments.records import read_records
from fsod.config_file import load_settings


def test_a_third_is_set_aside_and_no_ground_is_on_both_sides() -> None:
    ids = [f"{n:03d}" for n in range(300)]
    groups = [[f"{n:03d}", f"{n + 100:03d}", f"{n + 200:03d}"] for n in range(0, 100, 7)]
    aside = validate.set_aside(ids, groups)
    assert 80 < len(aside) < 125
    assert all(len(aside & set(group)) in (0, 3) for group in groups)
    assert validate.set_aside(ids[::-1], groups) == aside


@pytest.fixture
def first_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "set_aside", lambda ids, same_ground: {"001"})
    monkeypatch.setattr(validate, "FOLDS", (("disc",),))


@pytest.mark.usefixtures("first_aside")
def test_a_fold_keeps_novel_classes_and_its_own_images_out(run: Path) -> None:
    whole = open_bench(load_settings(run, ["data.train_list=train_strict"]), 1)
    fold = validate.fold_of(whole, ("disc",))
    assert fold.class_names == ("square", "disc")
    assert fold.base == ("square",)
    assert set(fold.settings.data.novel) == {"cross", "disc"}
    assert [image.path.stem for image in fold.test.images] == ["001"]
    assert [image.path.stem for image in fold.train.images] == ["002", "003", "004"]
    assert {tile.source for tile in fold.tiles.images} == {"002", "003", "004"}
    assert not base_tiles(fold).images  # every tile of the made folder shows a disc
    assert set(fold.shots(2, 0).box_ids) == {"square", "disc"}


@pytest.mark.usefixtures("first_aside")
def test_what_is_held_out_is_scored(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.json"
    arguments = ["--config", str(run), "--shots", "1", "--seeds", "0", "--folds", "0", "--results", str(results)]
    validate.main([*arguments, "--systems", "enroll-only (pretrained)", "--set", "evaluate.nms_iou=0.5"])
    (record,) = read_records(results)
    assert record["system"] == "enroll-only (pretrained) evaluate.nms_iou=0.5"
    assert set(record["per_class"]) == {"square", "disc"}
    assert record["images"] == 1
    assert "| enroll-only (pretrained) evaluate.nms_iou=0.5 | 1 |" in capsys.readouterr().out
