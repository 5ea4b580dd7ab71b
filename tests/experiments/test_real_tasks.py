from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.nwpu_fewshot.yolo import Yolo
from experiments.real_tasks import analyst, baselines, pictures
from experiments.real_tasks.baselines import match_templates, train_yolo
from experiments.real_tasks.template_matching import TURNS, find_templates, turned_templates
from experiments.real_tasks.tool import corners_of, load_tool, open_tasks, read_lines
from experiments.real_tasks.yolo_marks import yolo_marks_loss
from fsod.boxes import Detections, match
from fsod.data.mark_views import CropSettings, MarkCrops, make_view
from fsod.errors import UserError
from fsod.geo.scene_opening import open_scene
from fsod.marks import FALSE_ALARM, MISS
from tests.experiments.made_task import SIDE_PX, MadeTask, marks_of

TOOL = Path("../shared/tools/real_tasks.py")


def test_one_mark_finds_what_is_turned_by_an_eighth(task: MadeTask, tmp_path: Path) -> None:
    marks = marks_of(task, 1, tmp_path)
    outcome = match_templates(task, marks, 0, 0.0)
    for name in task.test:
        truth = corners_of(task.boxes(name))
        boxes, scores = outcome.found[name]
        assert (np.diff(scores) <= 0).all()
        best = Detections(boxes, scores.astype(np.float32), np.zeros(len(scores), np.int64)).select(
            np.arange(len(truth))
        )
        assert (match(truth, np.zeros(len(truth), np.int64), best) >= 0).sum() >= 8
    assert outcome.more == {"templates": TURNS}


def test_a_template_fits_its_own_place_and_none_that_is_larger_than_the_scene(task: MadeTask) -> None:
    with open_scene(task.folder / "images" / task.support) as scene:
        rgb, valid = scene.read_rectangle((0, 0, SIDE_PX, SIDE_PX))
    own = corners_of(task.boxes(task.support))[3:4]
    found = find_templates(rgb, valid, turned_templates(rgb, own))
    assert found.scores[0] == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(found.boxes_xyxy_px[0], own[0], atol=2)
    everything = turned_templates(rgb, np.array([[0.0, 0, SIDE_PX, SIDE_PX]]))
    assert not len(find_templates(rgb, valid, everything))


def test_a_scene_of_one_value_holds_nothing(task: MadeTask) -> None:
    with open_scene(task.folder / "images" / task.support) as scene:
        rgb, valid = scene.read_rectangle((0, 0, SIDE_PX, SIDE_PX))
    templates = turned_templates(rgb, corners_of(task.boxes(task.support))[:1])
    assert not len(find_templates(np.full_like(rgb, 7), valid, templates))


def test_the_yolo_learns_background_where_the_analyst_vouches_for_it() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    inside = np.zeros((96, 96), bool)
    inside[:8, :8] = True  # a place to draw a crop for
    nothing = make_view(rgb, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), inside)
    crops = MarkCrops([nothing], CropSettings(queries=2, query_px=64), 1, 0)[0]
    torch.manual_seed(0)
    network = Yolo(1, torch.float32).train()
    crops.known[:] = False
    assert yolo_marks_loss(network, crops)["cls"] == 0
    crops.known[:] = True
    assert yolo_marks_loss(network, crops)["cls"] > 0
    marked = make_view(
        rgb, np.array([[30.0, 30, 60, 60]]), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros((0, 4)), inside
    )
    terms = yolo_marks_loss(network, MarkCrops([marked], CropSettings(queries=8, query_px=64), 1, 0)[0])
    assert all(value > 0 for value in terms.values())


def test_the_yolo_learns_in_the_time_it_has_and_searches_whole_scenes(
    task: MadeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "WINDOW_PX", 320)
    outcome = train_yolo(task, marks_of(task, 3, tmp_path), 0, 0.1)
    assert outcome.more["steps"] >= 1
    assert set(outcome.found) == set(task.test)
    for boxes, scores in outcome.found.values():
        assert len(boxes) == len(scores)
        assert (scores >= baselines.FLOOR).all()


def test_a_picture_shows_what_was_found_what_was_missed_and_what_was_not_there(task: MadeTask) -> None:
    truth = corners_of(task.boxes("one.png"))
    boxes = np.vstack([truth[:4], [[0.0, 0, 12, 12]]])
    found = Detections(boxes, np.full(5, 0.5, np.float32), np.zeros(5, np.int64))
    picture = pictures.task_picture(task, corners_of(task.boxes(task.support))[:3], None, "one.png", found)
    half = picture.shape[1] // 2
    for colour, on_the_left in ((pictures.TRUE, True), (MISS, False), (FALSE_ALARM, False)):
        shown = (picture == np.array(colour)).all(axis=2)
        assert shown[:, :half].any() == on_the_left
        assert shown[:, half:].any()


def test_layers_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the tool with the same --out"):
        pictures.read_found(tmp_path / "none.json")


@pytest.mark.skipif(not TOOL.is_file(), reason=f"{TOOL} is not there")
def test_the_tool_scores_baselines_and_draws_marks(task: MadeTask, tmp_path: Path) -> None:
    options = ["--tool", str(TOOL), "--tasks", str(task.folder.parent), "--out", str(tmp_path / "out"), "-k", "3"]
    baselines.main([*options, "--methods", "template", "--marks", "scattered", "area"])
    log = tmp_path / "out" / "baselines.jsonl"
    scattered, area = read_lines(log)
    assert (scattered["marks"], scattered["marked"], area["marks"]) == ("scattered", 3, "area")
    assert scattered["best_f1_0.5"] > 0.7
    assert scattered["ap50"] > 0.7
    assert "shown_f1_0.5" not in scattered
    before = log.read_bytes()
    baselines.main([*options, "--methods", "template"])
    assert log.read_bytes() == before
    with pytest.raises(UserError, match="holds no task ships"):
        open_tasks(load_tool(TOOL), task.folder.parent, "ships")
    with pytest.raises(UserError, match="no such Python file"):
        analyst.main(["--tool", str(tmp_path / "none.py")])
    shown = tmp_path / "out" / "darts" / "scattered-k3-0" / "finetune-shown"
    shown.mkdir(parents=True)
    x, y, width, height = task.boxes("one.png")[0].tolist()
    for name in task.test:
        content = {"annotations": [{"bbox": [x, y, width, height], "score": 0.6}]}
        (shown / f"{Path(name).stem}.json").write_text(json.dumps(content))
    pictures.main(options)
    assert (tmp_path / "out" / "pictures" / "darts-finetune-scattered-k3-0.jpg").stat().st_size > 5000
