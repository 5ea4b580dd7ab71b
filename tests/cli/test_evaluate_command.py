"""``fsod evaluate`` as a user types it: a run, any checkpoint, a bank; never on what they were made from."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fsod.data.leakage import SCENES, hashes_of_scenes
from fsod.store.checkpoint import LearnedFrom, load_checkpoint, save_checkpoint
from fsod.store.class_bank import read_bank, save_bank
from tests.command import fsod
from tests.conftest import few_steps


def test_evaluate_a_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = trained / "scores.json"
    assert fsod("evaluate", "--config", trained / "run.yaml", "--shots-k", "2", "--json", out) == 0
    assert capsys.readouterr().out.endswith(f"\nnext: fsod report {trained / 'runs' / 'mini'}\n")
    scores = json.loads(out.read_text())
    assert scores["images"] == 2
    assert scores["objects"] == 40
    assert set(scores["per_class_ap50"]) >= {"airplane", "vehicle"}
    made = {path.name for path in Path(scores["picture"]).parent.iterdir()}
    assert made >= {
        "found.jpg",
        "precision_recall.png",
        "errors.png",
        "confusion.png",
        "calibration.png",
        "errors.json",
    }
    assert (trained / "runs" / "mini" / "ap50_by_shots.png").is_file()


def test_what_was_trained_is_not_called_novel(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor are weights of another list of training images taken for those of this one."""
    run = trained / "run.yaml"
    for step in ("finetune", "evaluate"):
        for setting, said in (
            ("data.novel=[vehicle]", "data.novel ['airplane', 'baseball diamond', 'tennis court'], not ['vehicle']"),
            ("data.train_list=test", "data.train_list train, not test"),
        ):
            assert fsod(step, "--config", run, "--shots-k", "2", setting) == 2
            assert f".safetensors: was trained with {said}: what counts as unseen" in capsys.readouterr().err
    assert (
        fsod("evaluate", "--config", run, "--shots-k", "2", "data.novel=[tennis court,airplane,baseball diamond]") == 0
    )


def test_a_seed_among_the_settings_is_that_of_the_shots(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, folder = trained / "run.yaml", trained / "runs" / "mini"
    with few_steps():
        assert fsod("finetune", "--config", run, "--shots-k", "2", "seed=1") == 0
        assert (folder / "k2-seed1" / "finetune.safetensors").is_file()
        assert fsod("evaluate", "--config", run, "--shots-k", "2", "seed=1") == 0
        assert (folder / "k2-seed1" / "scores.json").is_file()
        assert fsod("evaluate", "--config", run, "--shots-k", "2", "--seed", "0", "seed=1") == 0
        # scores tell of the weights that are there: the same stay, others have none
        assert fsod("finetune", "--config", run, "--shots-k", "2", "seed=1") == 0
        assert (folder / "k2-seed1" / "scores.json").is_file()
        assert fsod("finetune", "--config", run, "--shots-k", "2", "seed=1", "finetune.lr=0.001") == 0
    assert not (folder / "k2-seed1" / "scores.json").exists()
    assert not (folder / "k2-seed1" / "found.jpg").exists()


def test_scores_are_of_the_settings_that_trained(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = "evaluate", "--config", trained / "run.yaml", "--shots-k", "2"
    assert fsod(*run, "finetune.lr=5", "episodes.ways=1", "meta_train.lr=5") == 2
    error = capsys.readouterr().err
    assert "was trained with other settings (episodes.ways, finetune.lr); give those" in error
    pace = "finetune.workers=0", "finetune.log_every=7", "finetune.checkpoint_every=7"
    assert fsod(*run, "evaluate.nms_iou=0.5", *pace) == 0


def test_evaluate_any_checkpoint_folder_list_and_shots(trained: Path) -> None:
    """The meta-trained checkpoint has not learned the airplane; its shots enroll it."""
    run = trained / "runs" / "mini"
    out = trained / "enrolled.json"
    status = fsod(
        "evaluate", "--checkpoint", run / "meta-train.safetensors", "--data", run / "data",
        "--ids", run / "data" / "splits" / "test.txt", "--shots", run / "k2-seed0" / "shots.json", "--json", out,
    )  # fmt: skip
    assert status == 0
    scores = json.loads(out.read_text())
    assert scores["novel_map50"] is not None
    assert "airplane" in scores["per_class_ap50"]


def test_nothing_is_scored_on_what_it_was_shown(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shots of a list, examples of a bank, a run's own shots: whoever lies on a scored image is refused by name."""
    run = trained / "runs" / "mini"
    meta, lists = run / "meta-train.safetensors", run / "data" / "splits"
    any_folder = "evaluate", "--checkpoint", meta, "--data", run / "data"
    shots, bank = run / "k2-seed0" / "shots.json", trained / "airplanes.safetensors"
    draw = "enroll", "--checkpoint", meta, "--data", run / "data", "--class", "airplane", "-k", "1", "--out", bank
    assert fsod(*draw) == 2
    assert "has test images, from which no example may come; name the images to draw from" in capsys.readouterr().err
    assert not bank.exists()
    assert fsod(*draw, "--ids", lists / "train.txt") == 0
    origin = read_bank(bank).origins["airplane"]
    assert origin["images"] in (["002"], ["004"])
    assert fsod("bank", "list", bank) == 0
    assert "sha256" not in capsys.readouterr().out.rpartition("airplane")[2]
    for leaks, message in (
        (
            (*any_folder, "--shots", shots),
            r"shots\.json: its box \d+ of '.+' lies on 00[24]\.jpg, which is among the 6 im",
        ),
        (
            (*any_folder, "--bank", bank),
            rf"examples \(airplane\) on {origin['images'][0]}\.jpg, which is among the 6 images",
        ),
        (
            ("evaluate", "--checkpoint", run / "k2-seed0" / "finetune.safetensors", "--data", run / "data"),
            r"its box \d+ of",
        ),
        (("evaluate", "--config", trained / "run.yaml", "-k", "2", "--ids", lists / "train.txt"), r"its box \d+ of '"),
    ):
        assert fsod(*leaks) == 2
        assert re.search(message, capsys.readouterr().err), message
    known = read_bank(bank)
    by_hand = {"scene": "harbour.tif", SCENES: hashes_of_scenes([str(run / "data" / "images" / "004.jpg")])}
    save_bank(trained / "by_hand.safetensors", replace(known, origins={"airplane": by_hand}), meta)
    of_marks = replace(load_checkpoint(meta), learned_from=LearnedFrom(origins={"vehicle": by_hand}))
    save_checkpoint(trained / "of_marks.safetensors", of_marks)
    for leaks, name in (
        ((*any_folder, "--bank", trained / "by_hand.safetensors"), "airplane"),
        (("evaluate", "--checkpoint", trained / "of_marks.safetensors", "--data", run / "data"), "vehicle"),
    ):
        assert fsod(*leaks) == 2
        assert f"was made from examples ({name}) on 004.jpg, which is among" in capsys.readouterr().err
    test = "--ids", lists / "test.txt"
    assert fsod(*any_folder, "--bank", bank, *test) == 0


def test_a_checkpoint_from_another_machine_is_tracked_in_runs_here(
    trained: Path, tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained / "runs" / "mini"
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "runs" / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(migrated, database)
    moved = load_checkpoint(run / "meta-train.safetensors")
    elsewhere = {**moved.settings, "run_dir": "/of/another/machine/mini"}
    save_checkpoint(tmp_path / "moved.safetensors", replace(moved, settings=elsewhere))
    assert fsod("evaluate", "--checkpoint", "moved.safetensors", "--data", run / "data") == 0
    assert list((tmp_path / "runs" / "mlartifacts").iterdir())
    assert not Path("/of").exists()


def test_a_checkpoint_without_settings_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained / "runs" / "mini"
    monkeypatch.chdir(tmp_path)
    save_checkpoint(
        tmp_path / "bare.safetensors", replace(load_checkpoint(run / "meta-train.safetensors"), settings={})
    )
    assert fsod("evaluate", "--checkpoint", "bare.safetensors", "--data", run / "data") == 2
    assert "bare.safetensors" in capsys.readouterr().err


def test_evaluate_a_bank_of_the_checkpoint(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained / "runs" / "mini"
    tuned, other, one = run / "k2-seed0" / "finetune.safetensors", run / "meta-train.safetensors", trained / "one.bank"
    bank = read_bank(run / "k2-seed0" / "bank.safetensors")
    save_bank(one, bank.select(["airplane"]), tuned)
    files = "--data", run / "data", "--ids", run / "data" / "splits" / "test.txt", "--bank", one
    assert fsod("evaluate", "--checkpoint", tuned, *files, "--json", trained / "bank.json") == 0
    scores = json.loads((trained / "bank.json").read_text())["per_class_ap50"]
    assert list(scores) == ["airplane"]
    assert fsod("evaluate", *files, "--json", trained / "own.json") == 0, "the bank knows its weights"
    assert json.loads((trained / "own.json").read_text())["per_class_ap50"] == scores
    assert fsod("evaluate", "--checkpoint", other, *files) == 2
    assert "this bank was made for weights" in capsys.readouterr().err


def test_a_stage_whose_forerunner_is_missing_names_it(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, elsewhere = trained / "run.yaml", f"run_dir={trained / 'runs' / 'nothing'}"
    for command, hint in (
        (("evaluate", "--config", config, "--shots-k", "3"), "run `fsod finetune` with these settings and --shots-k 3"),
        (
            ("finetune", "--config", config, elsewhere),
            "nothing/meta-train.safetensors: no such file; run `fsod meta-tr",
        ),
        (
            ("meta-train", "--config", config, elsewhere),
            "nothing/tiles: no such folder; .* a run needs with `fsod data ma",
        ),
    ):
        assert fsod(*command) == 2
        assert re.search(hint, " ".join(capsys.readouterr().err.split()))
