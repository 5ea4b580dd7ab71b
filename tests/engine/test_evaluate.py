from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fsod.boxes import Detections, nms
from fsod.config import EvaluateSettings
from fsod.data.coco import CocoFolder
from fsod.engine.device import Machine
from fsod.engine.evaluate import average_precision, detect_folder
from fsod.engine.infer import BatchDetector
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


def test_detect_folder_shows_whole_images(folder: CocoFolder, tmp_path: Path) -> None:
    shapes = []

    def detect(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[Detections]:
        shapes.append(images.shape)
        return [Detections.empty()]

    assert set(detect_folder(folder, detect)) == {1, 2, 3, 4}
    assert shapes == [(1, 128, 128, 3)] * 4
