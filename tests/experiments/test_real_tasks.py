from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import geopandas
import numpy as np
import pytest
import torch
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

from experiments.nwpu_fewshot.yolo import Yolo
from experiments.real_tasks import analyst, baselines, pictures
from experiments.real_tasks.analyst import Analyst, judge_layer
from experiments.real_tasks.baselines import match_templates, train_yolo
from experiments.real_tasks.template_matching import TURNS, find_templates, turned_templates
from experiments.real_tasks.tool import Marks, corners_of, load_tool, open_tasks, read_lines
from experiments.real_tasks.yolo_marks import yolo_marks_loss
from fsod.boxes import Detections, match
from fsod.data.mark_views import CropSettings, MarkCrops, make_view
from fsod.errors import UserError
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from fsod.geo.verdicts import read_verdicts
from fsod.marks import FALSE_ALARM, MISS

TOOL = Path("../shared/tools/real_tasks.py")


SIDE_PX = 192


@dataclass
class MadeTask:
    """Darts on noise, each turned its own way; a third of them is marked."""

    folder: Path
    name: str = "darts"
    meta: dict[str, Any] = field(
        default_factory=lambda: {"class_name": "dart", "repository": "made", "commit": "0" * 10}
    )
    support: str = "support.png"
    test: list[str] = field(default_factory=lambda: ["one.png", "other.png"])

    def __post_init__(self) -> None:
        self.meta |= {"name": self.name, "support": [self.support], "test": self.test, "licence": "none"}
        self.drawn = {name: _draw_darts(self.folder / "images" / name) for name in [self.support, *self.test]}
        images = [
            {"id": i, "file_name": name, "width": SIDE_PX, "height": SIDE_PX} for i, name in enumerate(self.drawn)
        ]
        boxes = [(i, box.tolist()) for i, own in enumerate(self.drawn.values()) for box in own]
        labels = {
            "images": images,
            "categories": [{"id": 1, "name": "dart"}],
            "annotations": [
                {"id": n, "image_id": i, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                for n, (i, box) in enumerate(boxes, 1)
            ],
        }
        (self.folder / "task.json").write_text(json.dumps(self.meta))
        (self.folder / "labels.json").write_text(json.dumps(labels))

    def boxes(self, file: str) -> NDArray[np.float64]:
        return self.drawn[file]

    def marked(self, marks: str, k: int, draw: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        area = None if marks == "scattered" else np.array([0.0, 0.0, SIDE_PX, SIDE_PX])
        return self.boxes(self.support)[:k], area


def _draw_darts(path: Path) -> NDArray[np.float64]:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.stem))
    rgb = rng.integers(90, 110, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    boxes = []
    for i, (row, column) in enumerate(np.ndindex(3, 3)):
        at = np.array([32 + 64 * column, 32 + 64 * row])
        turn = np.radians(45 * i)
        corners = np.array([[14, 0], [-12, 9], [-12, -9]]) @ np.array(
            [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
        )
        cv2.fillPoly(rgb, [np.round(corners + at).astype(np.int32)], (210, 60, 40))
        low, high = corners.min(axis=0) + at, corners.max(axis=0) + at
        boxes.append([*low, *(high - low)])
    Image.fromarray(rgb).save(path)
    return np.array(boxes)


@pytest.fixture
def task(tmp_path: Path) -> MadeTask:
    return MadeTask(tmp_path / "tasks" / "darts")


def marks_of(task: MadeTask, k: int, tmp_path: Path) -> Marks:
    scene, boxes = task.folder / "images" / task.support, corners_of(task.marked("scattered", k, 0)[0])
    rings = [[[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]] for x1, y1, x2, y2 in boxes.tolist()]
    features = [
        {"type": "Feature", "properties": {"class": "dart"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for ring in rings
    ]
    examples = tmp_path / "examples.geojson"
    examples.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return Marks(scene, examples, None, boxes, None)


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
    nothing = make_view(rgb, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros((0, 4)), inside)
    crops = MarkCrops([nothing], CropSettings(queries=2, query_px=64), 1, 0)[0]
    torch.manual_seed(0)
    network = Yolo(1, torch.float32).train()
    crops.known[:] = False
    assert yolo_marks_loss(network, crops)["cls"] == 0
    crops.known[:] = True
    assert yolo_marks_loss(network, crops)["cls"] > 0
    marked = make_view(rgb, np.array([[30.0, 30, 60, 60]]), np.zeros(1, np.int64), np.zeros((0, 4)), inside)
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


LAYER = Detections(
    np.array([[10.0, 10, 30, 30], [100, 100, 120, 120], [50, 10, 70, 30], [10, 60, 30, 80]]),
    np.array([0.9, 0.8, 0.5, 0.3], np.float32),
    np.zeros(4, np.int64),
)


PICTURE = Georeference(None, Affine.identity(), None)


TRUTH = np.array([[10.0, 10, 30, 30], [52, 10, 72, 30]])


def a_layer(path: Path) -> None:
    asked = np.array([4, 2, 1, 3])
    write_layer(path, Layer(LAYER, ("dart",), PICTURE, "support.png", (SIDE_PX, SIDE_PX), {}, asked))


@pytest.mark.parametrize(("order", "judged"), [("ask", {2: "yes", 1: "no"}), ("score", {0: "yes", 1: "no"})])
def test_the_first_of_an_order_get_the_truth(
    task: MadeTask, tmp_path: Path, order: str, judged: dict[int, str]
) -> None:
    layer = tmp_path / "found.gpkg"
    a_layer(layer)
    said = judge_layer(layer, TRUTH, order, 2, np.random.default_rng(0))
    frame = geopandas.read_file(layer)
    assert {i: text for i, text in enumerate(frame["verdict"].fillna("")) if text} == judged
    assert said.yes.tolist() == [text == "yes" for text in judged.values()]
    assert said.told_before(TRUTH[:1]) == (1 if order == "score" else 0)
    with open_scene(task.folder / "images" / task.support) as scene:
        (verdicts,) = read_verdicts(layer, [scene])
    np.testing.assert_array_equal(verdicts.no.boxes_xyxy_px, LAYER.boxes_xyxy_px[[1]])
    (place,) = (i for i, text in judged.items() if text == "yes")
    np.testing.assert_array_equal(verdicts.yes.boxes_xyxy_px, LAYER.boxes_xyxy_px[[place]])


def test_of_few_detections_all_are_judged_and_of_none_none(tmp_path: Path) -> None:
    layer = tmp_path / "found.gpkg"
    a_layer(layer)
    assert len(judge_layer(layer, TRUTH, "random", 20, np.random.default_rng(0)).yes) == 4
    write_layer(layer, Layer(Detections.empty(), ("dart",), PICTURE, "s.png", (9, 9), {}, np.zeros(0, np.int64)))
    assert not len(judge_layer(layer, TRUTH, "ask", 20, np.random.default_rng(0)).yes)


class StandIn(ModuleType):
    """The tool with an fsod that is not run: its commands are written down."""

    def __init__(self) -> None:
        super().__init__("tool")
        self.asked: list[tuple[str, ...]] = []

    def polygons(self, path: Path, *_: object) -> Path:
        path.write_text("{}")
        return path

    def run(self, fsod: str, *arguments: object) -> dict[str, float]:
        words = tuple(map(str, arguments))
        self.asked.append(words)
        out = Path(words[words.index("--out") + 1])
        if words[0] == "predict":
            a_layer(out)
        else:
            out.write_text("weights")
        return {"wall": 1.0, "cpu": 1.0}

    def predict(self, fsod: str, task: MadeTask, bank: Path, *_: object) -> tuple[dict[str, Any], dict[str, float]]:
        assert bank.is_file()
        return {}, {"wall": 1.0, "cpu": 1.0}

    def f1_curve(self, *_: object) -> tuple[NDArray[np.float64], int]:
        return np.array([0.25, 0.5, 0.4]), 9

    def average_precision(self, *_: object) -> float:
        return 0.3


def play(
    tool: StandIn, task: MadeTask, work: Path, orders: list[str], rounds: int, minutes: float | None = None
) -> Path:
    key = {"task": task.name, "marks": "area", "k": 3, "draw": 0}
    log, same = work / "analyst.jsonl", {"verdicts": 2, "minutes": minutes}
    Analyst(tool, task, key, same, "fsod", work / "darts", log).play(orders, rounds)
    return log


def test_an_analyst_goes_on_from_round_to_round(task: MadeTask, tmp_path: Path) -> None:
    tool = StandIn()
    task.drawn[task.support] = np.array([[10.0, 10, 20, 20], [52, 10, 20, 20]])
    records = read_lines(play(tool, task, tmp_path, ["ask", "score"], 2))
    assert [(r["order"], r["round"]) for r in records] == [
        ("start", 0),
        ("ask", 1),
        ("ask", 2),
        ("score", 1),
        ("score", 2),
    ]
    assert all((r["best_f1_0.5"], r["shown_f1_0.5"], r["ap50"]) == (0.5, 0.4, 0.3) for r in records)
    assert [(r["yes"], r["no"], r["told_before"]) for r in records[1:3]] == [(1, 1, 1), (1, 1, 2)]
    start, *rounds = [words for words in tool.asked if words[0] == "finetune"]
    assert "--area" in start
    assert "--minutes" not in start
    came_from = [Path(words[words.index("--from") + 1]).name for words in rounds]
    assert came_from == ["start.safetensors", "round1.safetensors"] * 2


def test_an_analyst_measures_only_what_is_missing(task: MadeTask, tmp_path: Path) -> None:
    log = play(StandIn(), task, tmp_path, ["ask"], 1)
    before, again = log.read_bytes(), StandIn()
    play(again, task, tmp_path, ["ask"], 1)
    assert not again.asked
    assert log.read_bytes() == before
    play(again, task, tmp_path, ["ask"], 2)
    assert sum(words[0] == "finetune" for words in again.asked) == 1
    assert [r["round"] for r in read_lines(log)] == [0, 1, 2]
    (tmp_path / "darts" / "start.safetensors").unlink()
    play(again, task, tmp_path, ["random"], 1)
    assert [r["order"] for r in read_lines(log)].count("start") == 1
    with pytest.raises(UserError, match=r"darts was measured with minutes None, now it is 0\.5"):
        play(again, task, tmp_path, ["ask"], 2, minutes=0.5)


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
