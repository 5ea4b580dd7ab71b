from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fsod.boxes import Detections, nms
from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from fsod.data.coco_folder import CocoFolder
from fsod.evaluation.average_precision import average_precision
from fsod.evaluation.diagnose import class_curve
from fsod.evaluation.judge import answer_of, judge
from fsod.inference.infer import BatchDetector
from fsod.model.baked import bake
from fsod.model.detector import Detector
from tests.made_folder import NAMES, make_folder

CPU = Machine(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    return make_folder(tmp_path_factory.mktemp("made") / "folder", images=4)


def truth(folder: CocoFolder, shift_px: float = 0.0, score: float = 0.9) -> dict[int, Detections]:
    return {
        image.id: Detections(
            image.boxes_xyxy_px + shift_px, np.full(len(image.class_ids), score, np.float32), image.class_ids
        )
        for image in folder.images
    }


def test_the_truth_scores_one(folder: CocoFolder) -> None:
    scores = average_precision(folder, truth(folder), list(NAMES), ("cross",))
    assert scores.base_map50 == scores.novel_map50 == scores.all_map == scores.harmonic_map50 == 1
    assert (scores.images, scores.objects) == (4, 24)


def test_shifted_boxes_lose_the_strict_thresholds_only(folder: CocoFolder) -> None:
    scores = average_precision(folder, truth(folder, shift_px=2), list(NAMES), ())
    assert scores.all_map50 == 1
    assert scores.all_map is not None
    assert 0.2 < scores.all_map < 0.9
    assert scores.novel_map50 is None
    assert scores.harmonic_map50 is None


def test_class_ids_follow_the_enrolled_order(folder: CocoFolder) -> None:
    """A detection's class id counts among the enrolled names, not among the folder's."""
    found = {
        i: Detections(d.boxes_xyxy_px, d.scores, np.array([2, 1, 0])[d.class_ids]) for i, d in truth(folder).items()
    }
    assert average_precision(folder, found, ["cross", "disc", "square"], ()).all_map50 == 1
    one = {i: d.select(d.class_ids == 1) for i, d in truth(folder).items()}
    only = {i: Detections(d.boxes_xyxy_px, d.scores, np.zeros_like(d.class_ids)) for i, d in one.items()}
    scores = average_precision(folder, only, ["disc"], ())
    assert scores.per_class_ap50 == {"disc": 1}
    assert scores.objects == 8


def test_false_alarms_above_the_truth_cost_and_below_do_not(folder: CocoFolder) -> None:
    for score, expected in ((0.95, False), (0.1, True)):
        found = {
            i: Detections.concatenate(
                [d, Detections(np.array([[0.0, 0, 5, 5]]), np.array([score], np.float32), np.array([0]))]
            )
            for i, d in truth(folder).items()
        }
        ap = average_precision(folder, found, list(NAMES), ()).per_class_ap50["square"]
        assert (ap == 1) is expected


def test_nothing_found_scores_zero(folder: CocoFolder) -> None:
    found = {image.id: Detections.empty() for image in folder.images}
    assert average_precision(folder, found, list(NAMES), ()).all_map50 == 0


def one_image(folder: CocoFolder, **told: object) -> CocoFolder:
    """An image with two squares, and what else is told of it."""
    boxes = np.array([[10.0, 10, 30, 30], [60, 60, 80, 80]])
    image = replace(
        folder.images[0],
        boxes_xyxy_px=boxes,
        class_ids=np.array([0, 0]),
        box_ids=np.array([1, 2]),
        source_box_ids=np.array([1, 2]),
        difficult=np.array([False, False]),
    )
    return replace(folder, images=(replace(image, **told),))  # type: ignore[arg-type]


def squares(*boxes: tuple[float, float, float, float]) -> Detections:
    """The first is the surest."""
    scores = np.linspace(0.9, 0.1, len(boxes)).astype(np.float32)
    return Detections(np.array(boxes, np.float64), scores, np.zeros(len(boxes), np.int64))


EASY, HARD = (10, 10, 30, 30), (60, 60, 80, 80)


@pytest.mark.parametrize(
    ("found", "ap"),
    [
        ([EASY], 1.0),  # a difficult object that is not found is no miss
        ([HARD, EASY], 1.0),  # nor is finding it an error
        ([HARD, (61, 60, 81, 80), (60, 61, 80, 81), EASY], 1.0),  # however often, as in VOC's own script
        ([HARD], 0.0),
        ([(75, 75, 95, 95), EASY], 0.5),  # what only touches it is wrong
        ([EASY, (11, 10, 31, 30)], 1.0),
        ([EASY, EASY, HARD], 1.0),
    ],
)
def test_difficult_objects_are_neither_hits_nor_misses(
    folder: CocoFolder, found: list[tuple[float, float, float, float]], ap: float
) -> None:
    """Of two squares the second is difficult; AP by hand."""
    known = one_image(folder, difficult=np.array([False, True]))
    scores = average_precision(known, {1: squares(*found)}, list(NAMES), ())
    assert scores.per_class_ap50["square"] == pytest.approx(ap)
    assert (scores.per_class_ap50["disc"], scores.objects) == (None, 1)
    judged = judge([answer_of(known, known.images[0], squares(*found), NAMES)])
    assert class_curve(judged, 0).ap50 == pytest.approx(ap)


def test_a_class_that_has_nothing_else_is_not_measured(folder: CocoFolder) -> None:
    known = one_image(folder, difficult=np.array([True, True]))
    assert average_precision(known, {1: squares(EASY)}, list(NAMES), ()).all_map50 is None


@pytest.mark.parametrize(
    ("crowd_class", "found", "ap"),
    [
        (0, [(90, 0, 100, 10), (95, 5, 105, 15), (100, 80, 120, 100), EASY, HARD], 1.0),  # inside, many times over
        (0, [(70, 0, 110, 10), EASY, HARD], 1.0),  # by half of its area
        (0, [(60, 0, 110, 10), EASY, HARD], 2 / 3),  # by less: an error
        (1, [(90, 0, 100, 10), EASY, HARD], 2 / 3),  # a crowd of another class
    ],
)
def test_what_lies_in_a_crowd_is_not_wrong(
    folder: CocoFolder, crowd_class: int, found: list[tuple[float, float, float, float]], ap: float
) -> None:
    crowd = np.array([[90.0, 0, 128, 128]])
    known = one_image(folder, crowd_boxes_xyxy_px=crowd, crowd_class_ids=np.array([crowd_class]))
    scores = average_precision(known, {1: squares(*found)}, list(NAMES), ())
    assert scores.per_class_ap50["square"] == pytest.approx(ap)
    assert (scores.per_class_ap50["disc"], scores.objects) == (None, 2), "a crowd is no object to find"


def test_a_batch_detector_gives_tidy_detections(folder: CocoFolder) -> None:
    torch.manual_seed(0)
    detector = Detector("nano", 3).eval()
    settings = EvaluateSettings(max_detections=100)
    detect = BatchDetector(bake(detector, detector.learned_rows()), CPU, 1e-6, settings)
    found = detect(np.random.default_rng(0).integers(0, 255, (2, 100, 70, 3)).astype(np.uint8))
    assert len(found) == 2
    for d in found:
        assert 0 < len(d) <= 100
        assert (np.diff(d.scores) <= 0).all()
        assert d.boxes_xyxy_px.min() >= 0
        assert (d.boxes_xyxy_px <= [70, 100, 70, 100]).all()
        assert set(d.class_ids) <= {0, 1, 2}
        assert len(nms(d, settings.nms_iou)) == len(d)
