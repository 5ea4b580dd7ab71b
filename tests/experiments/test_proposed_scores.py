from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.proposed_scores.measure import f1_at, f1_by_score, table
from fsod.boxes import Detections
from tests.made_folder import make_folder


def test_f1_falls_where_other_things_are_shown(tmp_path: Path) -> None:
    images = list(make_folder(tmp_path / "folder").images)[:2]
    truth = [image.boxes_xyxy_px[image.class_ids == 0] for image in images]
    objects = sum(map(len, truth))
    assert objects >= 2
    places = iter(truth)

    def detect(pixels: np.ndarray) -> list[Detections]:
        """Every object of the class at 0.8, and something else at 0.4."""
        boxes = np.concatenate([next(places), [[0.0, 0, 1, 1]]])
        scores = np.array([0.8] * (len(boxes) - 1) + [0.4], np.float32)
        return [Detections(boxes, scores, np.zeros(len(boxes), np.int64))]

    crowd, of_class = np.array([[0.0, 0, 2, 2]]), np.array([0])
    crowded = [replace(image, crowd_boxes_xyxy_px=crowd, crowd_class_ids=of_class) for image in images]
    passed = f1_by_score(detect, crowded, 0)
    assert passed[-1].tolist() == pytest.approx([0.8, 1.0]), "what lies in a crowd is not wrong"
    places = iter(truth)
    hard = [replace(image, difficult=np.arange(len(image.class_ids)) == 0) for image in images]
    hardest = f1_by_score(detect, hard, 0)
    assert hardest[:, 0] == pytest.approx([0.8] * (objects - 2) + [0.4] * 2), "the first square is difficult"
    places = iter(truth)
    f1 = f1_by_score(detect, images, 0)
    assert f1[:, 0] == pytest.approx([0.8] * objects + [0.4] * 2)
    assert f1[-1, 1] == pytest.approx(2 * objects / (2 * objects + 2))
    found = f1_at(f1, 0.8)
    assert found["best"] == found["0.6"] == found["1.0"] == 1
    assert found["0.4"] == f1[-1, 1]
    assert found["1.2"] == 0
    assert "| enrolled |" in table([{"rows": "enrolled", **found}])
