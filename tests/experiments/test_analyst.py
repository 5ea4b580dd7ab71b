from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from experiments.real_tasks.analyst import Analyst, Rest, judge_layers
from experiments.real_tasks.tool import read_lines
from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from fsod.geo.verdicts import read_verdicts
from tests.experiments.made_task import SIDE_PX, MadeTask

LAYER = Detections(
    np.array([[10.0, 10, 30, 30], [100, 100, 120, 120], [50, 10, 70, 30], [10, 60, 30, 80]]),
    np.array([0.9, 0.8, 0.5, 0.3], np.float32),
    np.zeros(4, np.int64),
)


PICTURE = Georeference(None, Affine.identity(), None)


TRUTH = np.array([[10.0, 10, 30, 30], [52, 10, 72, 30]])


def a_layer(path: Path, name: str = "one.png") -> None:
    asked = np.array([4, 2, 1, 3])
    write_layer(path, Layer(LAYER, ("dart",), PICTURE, name, (SIDE_PX, SIDE_PX), {}, asked))


@pytest.mark.parametrize(("order", "judged"), [("ask", {2: "yes", 1: "no"}), ("score", {0: "yes", 1: "no"})])
def test_the_first_of_an_order_get_the_truth(
    task: MadeTask, tmp_path: Path, order: str, judged: dict[int, str]
) -> None:
    layer = tmp_path / "found.gpkg"
    a_layer(layer)
    said = judge_layers({"one.png": layer}, {"one.png": TRUTH}, order, 2, np.random.default_rng(0))
    frame = geopandas.read_file(layer)
    assert {i: text for i, text in enumerate(frame["verdict"].fillna("")) if text} == judged
    boxes, yes = said["one.png"]
    assert sorted(yes.tolist()) == [False, True]
    np.testing.assert_array_equal(boxes[~yes], LAYER.boxes_xyxy_px[[1]])
    with open_scene(task.folder / "images" / "one.png") as scene:
        (verdicts,) = read_verdicts(layer, [scene])
    np.testing.assert_array_equal(verdicts.no.boxes_xyxy_px, LAYER.boxes_xyxy_px[[1]])
    (place,) = (i for i, text in judged.items() if text == "yes")
    np.testing.assert_array_equal(verdicts.yes.boxes_xyxy_px, LAYER.boxes_xyxy_px[[place]])


def test_verdicts_are_shared_among_images(tmp_path: Path) -> None:
    layers = {name: tmp_path / f"{Path(name).stem}.gpkg" for name in ("one.png", "other.png")}
    for name, layer in layers.items():
        a_layer(layer, name)
    truth = {"one.png": TRUTH, "other.png": np.zeros((0, 4))}
    said = judge_layers(layers, truth, "ask", 3, np.random.default_rng(0))
    # both first of their images, then the better one of the second
    assert {name: len(boxes) for name, (boxes, _) in said.items()} == {"one.png": 2, "other.png": 1}
    assert not said["other.png"][1].any()
    said = judge_layers(layers, truth, "score", 1, np.random.default_rng(0))
    assert set(said) == {"one.png"}
    assert geopandas.read_file(layers["other.png"])["verdict"].fillna("").eq("").all()


def test_of_few_detections_all_are_judged_and_of_none_none(tmp_path: Path) -> None:
    layer = tmp_path / "found.gpkg"
    a_layer(layer)

    def judged(order: str) -> int:
        said = judge_layers({"one.png": layer}, {"one.png": TRUTH}, order, 20, np.random.default_rng(0))
        return sum(len(boxes) for boxes, _ in said.values())

    assert judged("random") == 4
    write_layer(layer, Layer(Detections.empty(), ("dart",), PICTURE, "one.png", (9, 9), {}, np.zeros(0, np.int64)))
    assert judged("ask") == 0


def test_what_is_judged_does_not_count_for_the_rest(task: MadeTask) -> None:
    task.drawn["one.png"] = np.array([[10.0, 10, 20, 20], [52, 10, 20, 20], [150, 150, 20, 20]])
    rest = Rest(task, [{"one.png": (LAYER.boxes_xyxy_px[:2], np.array([True, False]))}])
    np.testing.assert_array_equal(rest.boxes("one.png"), task.drawn["one.png"][1:])
    np.testing.assert_array_equal(rest.boxes("other.png"), task.drawn["other.png"])
    found = {"one.png": (LAYER.boxes_xyxy_px, LAYER.scores.astype(float)), "other.png": (np.zeros((0, 4)), np.zeros(0))}
    boxes, scores = rest.of(found)["one.png"]
    np.testing.assert_array_equal(boxes, LAYER.boxes_xyxy_px[2:])
    assert scores.tolist() == pytest.approx([0.5, 0.3])
    assert not len(rest.of(found)["other.png"][0])


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
            for image in map(Path, words[1 : words.index("--bank")]):
                layer = Path(str(out).format(scene=image.stem))
                assert not layer.exists(), "a judged layer is not replaced"
                a_layer(layer, image.name)
        else:
            out.write_text("weights")
        return {"wall": 1.0, "cpu": 1.0}

    def predict(self, fsod: str, task: MadeTask, bank: Path, *_: object) -> tuple[dict[str, Any], dict[str, float]]:
        assert bank.is_file()
        nothing = np.zeros((0, 4)), np.zeros(0)
        found = LAYER.boxes_xyxy_px, LAYER.scores.astype(np.float64)
        return {"one.png": found, "other.png": nothing}, {"wall": 1.0, "cpu": 1.0}

    def f1_curve(self, task: MadeTask | Rest, found: dict[str, Any], *_: object) -> tuple[NDArray[np.float64], int]:
        """Of all detections as if each were right."""
        objects = sum(len(task.boxes(name)) for name in task.test)
        hits = np.arange(1, sum(len(boxes) for boxes, _ in found.values()) + 1)
        return 2 * hits / (hits + objects), objects

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
    task.drawn["one.png"] = np.array([[10.0, 10, 20, 20], [52, 10, 20, 20]])
    records = read_lines(play(tool, task, tmp_path, ["ask", "score"], 2))
    assert [(r["order"], r["round"]) for r in records] == [
        ("start", 0),
        ("ask", 1),
        ("ask", 2),
        ("score", 1),
        ("score", 2),
    ]
    assert {(r["best_f1_0.5"], r["ap50"]) for r in records} == {(round(2 * 4 / (4 + 11), 3), 0.3)}
    # one of the two that were asked about is an object: 3 detections and 10 objects are left
    assert (records[1]["rest_best_f1"], records[1]["rest_before_shown_f1"]) == (round(2 * 3 / (3 + 10), 3),) * 2
    assert [(r["yes"], r["no"], r["told_before"]) for r in records[1:3]] == [(1, 1, 0), (1, 1, 2)]
    start, *rounds = [words for words in tool.asked if words[0] == "finetune"]
    assert "--area" in start
    assert "--minutes" not in start
    came_from = [Path(words[words.index("--from") + 1]) for words in rounds]
    assert [bank.name for bank in came_from] == ["start.safetensors", "detector.safetensors"] * 2
    assert [bank.parent.name for bank in came_from] == ["darts", "round1"] * 2
    assert [words.count("--verdicts") for words in rounds] == [2] * 4


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
