"""From marks to a detector in one file: what is written, what an interruption leaves, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image, ImageOps

from fsod.data.leakage import SCENES, hashes_of_scenes
from fsod.data.mark_views import CropSettings
from fsod.errors import UserError
from fsod.steps import finetune_marks as step
from fsod.steps.finetune_marks import finetune_marks
from fsod.steps.kept_marks import earlier_marks
from fsod.steps.scene_marks import SceneMarks
from fsod.steps.scene_views import OTHER_VIEWS, read_views, working_enlargement
from fsod.store.checkpoint import SHIPPED, load_checkpoint
from fsod.store.class_bank import checkpoint_of, read_bank
from fsod.training import learn_marks as learning
from tests.command import fsod

RED = (220, 40, 40)
PLACES: list[tuple[float, float]] = [(60, 60), (200, 60), (60, 220), (200, 220), (300, 140), (140, 140)]
SIDE = 24


def write_scene(path: Path, places: list[tuple[float, float]] = PLACES, side: int = 360) -> Path:
    rgb = np.random.default_rng(0).integers(70, 110, (side, side, 3)).astype(np.uint8)
    for x, y in places:
        rgb[int(y) : int(y) + SIDE, int(x) : int(x) + SIDE] = RED
    Image.fromarray(rgb).save(path)
    return path


def marks_on(path: Path, places: list[tuple[float, float]] = PLACES, name: str = "roof") -> SceneMarks:
    boxes = np.array([[x, y, x + SIDE, y + SIDE] for x, y in places], float).reshape(-1, 4)
    size = Image.open(path).size
    return SceneMarks(
        str(path), path.name, *size, None, boxes, (name,) * len(boxes), np.zeros((0, 4)), (), shapely.MultiPolygon()
    )


def write_labels(path: Path, places: list[tuple[float, float]], side: float = SIDE) -> Path:
    def ring(x: float, y: float) -> list[list[float]]:
        return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]

    features = [
        {
            "type": "Feature",
            "properties": {"class": "roof"},
            "geometry": {"type": "Polygon", "coordinates": [ring(x, y)]},
        }
        for x, y in places
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture(scope="module", autouse=True)
def few_steps() -> Iterator[None]:
    """Of small crops: what a step teaches is tested beside the training."""
    frequent = learning.LEARNING.model_copy(update={"log_every": 1, "checkpoint_every": 1, "warmup_steps": 1})
    few = {"LEAST_STEPS": 3, "MOST_STEPS": 3, "TRIAL_STEPS": 1, "LOOKS": ((0.5, 2),), "LEARNING": frequent}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in few.items():
            patch.setattr(learning, name, value)
        patch.setattr(learning, "CropSettings", partial(CropSettings, queries=1, query_px=64))
        yield


@dataclass(frozen=True)
class Made:
    """A detector, the scene with the marks that it was made from, and what the command said."""

    detector: Path
    scene: Path
    result: dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Made as typed, where another training had left its state, which was to be dropped."""
    folder = tmp_path_factory.mktemp("made")
    scene, detector, report = write_scene(folder / "s.png"), folder / "D.safetensors", folder / "said.json"
    (state := folder / "D.safetensors.unfinished").mkdir()
    (state / "told.txt").write_text("another")
    marks = "--examples", write_labels(folder / "e.geojson", PLACES)
    area = "--area", write_labels(folder / "a.geojson", [(40, 40)], side=250)
    options = "--out", detector, "--minutes", 1, "--restart", "--json", report
    assert fsod("finetune", "--scene", scene, *marks, *area, *options) == 0
    return Made(detector, scene, json.loads(report.read_text()))


def test_one_file_holds_weights_rows_scores_and_what_it_was_made_from(made: Made) -> None:
    assert made.result["examples"] == {"roof": 6}
    assert Image.open(made.detector.with_suffix(".png")).width > 100
    bank = read_bank(made.detector)
    assert bank.class_names == ("roof",)
    assert bank.scores[0] == pytest.approx(bank.origins["roof"]["score"])
    assert len(bank.origins["roof"]["trials"]) == 2  # one by each twin
    assert 110 < bank.origins["roof"]["look"]["brightness"] < 145  # as the network saw the scene
    assert [rule.toned for rule in bank.shown] == [True]
    assert made.result["left_out_found"]["roof"] in (
        "0 of 2 trials (0 to 85 %)",
        "1 of 2 trials (1 to 99 %)",
        "2 of 2 trials (15 to 100 %)",
    )
    assert bank.weights_sha256 != read_bank_of_shipped()
    assert checkpoint_of(made.detector) == made.detector
    (kept,) = earlier_marks(made.detector)
    assert kept.scene == str(made.scene.resolve())
    assert bank.origins["roof"][SCENES] == hashes_of_scenes([str(made.scene)]) != []  # so that nobody is scored on it
    assert kept.boxes_xyxy_px.tolist() == marks_on(made.scene).boxes_xyxy_px.tolist()


def read_bank_of_shipped() -> str:
    from fsod.store.checkpoint import weights_sha256

    return weights_sha256(load_checkpoint(SHIPPED).detector)


def test_a_training_that_was_stopped_keeps_what_it_knows_and_goes_on(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, out = tmp_path / "s.png", tmp_path / "D.safetensors"
    shutil.copy(made.scene, scene)
    learn = learning.learn_marks

    def interrupted(lesson, seconds, on_steps, stopping):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        def press(done: int, total: int) -> None:
            on_steps(done, total)
            if done >= 2 and not stopping():
                os.kill(os.getpid(), signal.SIGINT)

        return learn(lesson, seconds, press, stopping)

    with monkeypatch.context() as patched:
        patched.setattr(step, "learn_marks", interrupted)
        stopped = finetune_marks(SHIPPED, [marks_on(scene)], out, minutes=1)
    assert "stopped" in stopped
    assert read_bank(out).class_names == ("roof",)
    said = r"other marks, scenes, weights or --minutes.*--restart"
    with pytest.raises(UserError, match=said):
        finetune_marks(SHIPPED, [marks_on(scene, PLACES[:4])], out, minutes=1)
    ImageOps.invert(Image.open(made.scene)).save(scene)  # of the same name and size
    with pytest.raises(UserError, match=said):
        finetune_marks(SHIPPED, [marks_on(scene)], out, minutes=1)
    shutil.copy(made.scene, scene)
    finished = finetune_marks(SHIPPED, [marks_on(scene)], out, minutes=1)
    assert "stopped" not in finished
    assert finished["steps"] == made.result["steps"] == 3
    assert not (tmp_path / "D.safetensors.unfinished").exists()


def test_stopped_before_the_first_step_there_is_no_detector(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(lesson, seconds, on_steps, stopping):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        os.kill(os.getpid(), signal.SIGINT)
        return learning.learn_marks(lesson, seconds, on_steps, stopping)

    monkeypatch.setattr(step, "learn_marks", at_once)
    with pytest.raises(KeyboardInterrupt):
        finetune_marks(SHIPPED, [marks_on(made.scene)], tmp_path / "D.safetensors", minutes=1)
    assert list(tmp_path.iterdir()) == []


def test_restart_drops_another_trainings_state(made: Made) -> None:
    assert made.detector.is_file()
    assert not made.detector.with_name("D.safetensors.unfinished").exists()


def test_going_on_takes_what_the_detector_was_made_from(made: Made, tmp_path: Path) -> None:
    two, second = write_scene(tmp_path / "two.png"), tmp_path / "D2.safetensors"
    result = finetune_marks(made.detector, [marks_on(two, PLACES[2:3])], second, minutes=1)
    assert result["examples"] == {"roof": 7}
    assert [marks.name for marks in earlier_marks(second)] == ["s.png", "two.png"]
    away = made.scene.rename(made.scene.with_name("away.png"))
    try:
        with pytest.raises(UserError, match=r"was made from .*s\.png, which is not there"):
            finetune_marks(made.detector, [marks_on(two)], tmp_path / "D3.safetensors", minutes=1)
    finally:
        away.rename(made.scene)


def test_of_a_large_scene_little_is_read(tmp_path: Path) -> None:
    far = [(10.0, 10.0), (2900.0, 2900.0)]
    scene = write_scene(tmp_path / "s.png", far, side=3000)  # of 36 windows
    views = read_views([marks_on(scene, far)], ["roof"], 1.0)
    assert set(np.concatenate([view.mark_ids for view in views.views]).tolist()) == {0, 1}
    assert len(views.views) <= 5 + OTHER_VIEWS


@pytest.mark.parametrize(("side", "enlargement"), [(10, 2.0), (24, 1.0), (300, 0.5), (1000, 0.125)])
def test_the_working_scale_brings_objects_to_a_size_that_windows_hold(
    tmp_path: Path, side: float, enlargement: float
) -> None:
    marks = marks_on(write_scene(tmp_path / "s.png"))
    boxes = np.concatenate([marks.boxes_xyxy_px[:, :2], marks.boxes_xyxy_px[:, :2] + side], axis=1)
    sized = SceneMarks(**{**vars(marks), "boxes_xyxy_px": boxes})
    assert working_enlargement([sized]) == enlargement


def test_the_road_as_typed(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was marked is finetuned; predict, judge, finetune again; look at what came out."""
    scene, out, found = made.scene, made.detector, tmp_path / "found.geojson"
    assert fsod("predict", scene, "--bank", out, "--out", found, "--score", 0.005) == 0
    layer = json.loads(found.read_text())
    assert layer["features"]
    for i, feature in enumerate(layer["features"]):
        left, top = (feature["properties"][side] for side in ("x1_px", "y1_px"))
        on_mark = any(abs(left - x) < SIDE and abs(top - y) < SIDE for x, y in PLACES)  # a no would take the mark back
        feature["properties"]["verdict"] = "yes" if i == 0 else "no" if i < 3 and not on_mark else ""
    found.write_text(json.dumps(layer))
    again = tmp_path / "D2.safetensors"
    assert fsod("finetune", "--from", out, "--verdicts", found, "--out", again, "--minutes", 0.05) == 0
    (kept,) = earlier_marks(again)
    assert len(kept.boxes_xyxy_px) >= len(PLACES)
    assert not kept.areas.is_empty
    assert fsod("bank", "list", again) == 0
    assert "finetuned" in capsys.readouterr().out
    bank = tmp_path / "merged.safetensors"
    assert fsod("bank", "merge", out, again, "--out", bank) == 2
    assert "rows of different weights cannot share a bank" in capsys.readouterr().err


def test_verdicts_on_another_scene_need_no_scene(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two, found = write_scene(tmp_path / "two.png"), tmp_path / "found.geojson"
    assert fsod("predict", two, "--bank", made.detector, "--out", found, "--score", 0.005) == 0
    layer = json.loads(found.read_text())
    layer["features"][0]["properties"]["verdict"] = "yes"
    found.write_text(json.dumps(layer))
    learned: list[SceneMarks] = []

    def instead(_: Path, marks: list[SceneMarks], *__: object, **___: object) -> dict[str, object]:
        learned.extend(marks)
        return {}

    monkeypatch.setattr("fsod.steps.finetune_marks.finetune_marks", instead)
    assert fsod("finetune", "--from", made.detector, "--verdicts", found, "--out", tmp_path / "D2.safetensors") == 0
    assert [(one.name, len(one.boxes_xyxy_px)) for one in learned] == [("s.png", 0), ("two.png", 1)]
    assert f"next: fsod predict {two} --bank" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "places", "side", "message"),
    [
        ("--examples", [(2000, 2000)], SIDE, "outside"),
        ("--examples", [(50, 50)], 0.2, "smaller than a pixel"),
        ("--area", [(50.1, 50.1)], 0.2, "holds no pixel"),
        ("--area", [(2000, 2000)], SIDE, "outside"),
    ],
)
def test_bad_marks_are_one_line_and_leave_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    places: list[tuple[float, float]],
    side: float,
    message: str,
) -> None:
    scene, out = write_scene(tmp_path / "s.png"), tmp_path / "D.safetensors"
    good = write_labels(tmp_path / "good.geojson", list(PLACES))
    bad = write_labels(tmp_path / "bad.geojson", places, side)
    given = {"--scene": scene, "--examples": good, "--out": out, option: bad}
    before = {path.name for path in tmp_path.iterdir()}
    assert fsod("finetune", *(word for pair in given.items() for word in pair)) == 2
    warning, error = capsys.readouterr().err.strip().splitlines()
    assert "no CRS" in warning  # of the scene, whatever comes of it
    assert message in error
    assert {path.name for path in tmp_path.iterdir()} == before


def test_going_on_from_a_bank_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, examples = write_scene(tmp_path / "s.png"), write_labels(tmp_path / "e.geojson", list(PLACES))
    bank = tmp_path / "bank.safetensors"
    assert fsod("enroll", "--scene", scene, "--examples", examples, "--out", bank) == 0
    marks = "--scene", scene, "--examples", examples
    assert fsod("finetune", "--from", bank, *marks, "--out", tmp_path / "D.safetensors") == 2
    assert "a class bank, whose weights are not its own" in capsys.readouterr().err


def test_a_damaged_scene_is_one_line_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = write_scene(tmp_path / "s.png"), tmp_path / "D.safetensors"
    scene.write_bytes(scene.read_bytes()[:20000])
    examples = write_labels(tmp_path / "e.geojson", list(PLACES))
    before = {path.name for path in tmp_path.iterdir()}
    assert fsod("finetune", "--scene", scene, "--examples", examples, "--out", out) == 2
    assert "damaged or cut short" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_folder_of_the_user_is_not_emptied(tmp_path: Path) -> None:
    scene, own = write_scene(tmp_path / "s.png"), tmp_path / "D.safetensors.unfinished"
    own.mkdir()
    (own / "notes.txt").write_text("mine")
    for restart in (False, True):
        with pytest.raises(
            UserError,
            match=r"D\.safetensors\.unfinished: is where this training keeps its state, but no training wrote it",
        ):
            finetune_marks(SHIPPED, [marks_on(scene)], tmp_path / "D.safetensors", minutes=1, restart=restart)
    assert (own / "notes.txt").read_text() == "mine"
