from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from fsod.data.coco_folder import load_folder
from fsod.data.shots import load_shots
from tests.command import fsod
from tests.made_folder import make_folder

shots = partial(fsod, "data", "shots")


def test_a_folder_of_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The made folder has 16 boxes per class: enough for 10, too few for 20 and 30."""
    folder = make_folder(tmp_path / "folder")
    assert shots(folder.root, tmp_path / "shots") == 2
    assert "has test images, from which no example may come; name the images" in capsys.readouterr().err
    (folder.root / "splits" / "test.txt").unlink()
    assert shots(folder.root, tmp_path / "shots", "--seeds", "2") == 2
    assert "20 shots of 'cross' asked for, but only 16" in capsys.readouterr().err
    assert not (tmp_path / "shots").exists()
    report = tmp_path / "report.json"
    command = (folder.root, tmp_path / "shots", "--seeds", "2", "--shots-k", "10", "--json", report)
    assert shots(*command) == 0
    assert sorted(p.name for p in (tmp_path / "shots").iterdir()) == ["k10-seed0.json", "k10-seed1.json"]
    told = {"written_by": "fsod data shots", "out": str(tmp_path / "shots"), "lists": 2, "left_out": {}}
    assert json.loads(report.read_text()) == told


def test_rare_classes_are_left_out_and_said(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder")
    (folder.root / "splits" / "test.txt").unlink()
    raw = json.loads((folder.root / "annotations.json").read_text())
    crosses = [a["id"] for a in raw["annotations"] if a["category_id"] == 3]
    raw["annotations"] = [a for a in raw["annotations"] if a["id"] not in crosses[4:]]
    (folder.root / "annotations.json").write_text(json.dumps(raw))
    command = (folder.root, tmp_path / "shots", "--leave-out-rare", "--json", tmp_path / "report.json")
    for k in ("3", "5", "10"):
        assert shots(*command, "-k", k) == 0
        left_out = json.loads((tmp_path / "report.json").read_text())["left_out"]
        assert left_out == ({} if k == "3" else {k: ["cross"]})
    lists = [load_shots(path, load_folder(folder.root)) for path in sorted((tmp_path / "shots").iterdir())]
    assert len(lists) == 30
    assert {(s.k, len(s.box_ids)) for s in lists} == {(3, 3), (5, 2), (10, 2)}


def test_one_list_as_a_file(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder")
    train = folder.root / "splits" / "train.txt"
    assert shots(folder.root, tmp_path / "s.json", "-k", "3", "--seed", "7", "--ids", train) == 0
    found = load_shots(tmp_path / "s.json", folder.select(["001", "002", "003", "004"]))
    assert (found.k, found.seed) == (3, 7)
