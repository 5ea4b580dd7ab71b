"""What several looks at an image agree on, and where they say it lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.config import EvaluateSettings
from fsod.inference import several_looks
from fsod.inference.several_looks import LOOKS, agreed, look_around

SETTINGS = EvaluateSettings()


def found(*boxes: tuple[list[float], float, int]) -> Detections:
    return Detections(
        np.array([box for box, _, _ in boxes], float).reshape(-1, 4),
        np.array([score for _, score, _ in boxes], np.float32),
        np.array([class_id for _, _, class_id in boxes], np.int64),
    )


def test_a_box_has_the_mean_of_both_scores_and_lies_where_the_surer_look_saw_it() -> None:
    first = found(([0, 0, 10, 10], 0.9, 0), ([50, 50, 60, 60], 0.8, 0))
    second = found(([2, 0, 12, 10], 0.3, 0), ([50, 50, 60, 60], 0.6, 1), ([80, 80, 90, 90], 0.4, 0))
    both = agreed([first, second], SETTINGS)
    # the same place with two classes is two objects, of which the better supported stays
    assert both.scores == pytest.approx([0.6, 0.4, 0.2])
    assert both.class_ids.tolist() == [0, 0, 0]
    assert both.boxes_xyxy_px == pytest.approx(np.array([[0.5, 0, 10.5, 10], [50, 50, 60, 60], [80, 80, 90, 90]]))


def test_no_more_boxes_than_the_settings_allow() -> None:
    many = found(*[([20.0 * i, 0, 20.0 * i + 10, 10], 0.5, 0) for i in range(120)])
    assert len(agreed([many, many], EvaluateSettings(max_detections=100))) == 100


def test_where_nothing_is_shown_the_best_that_was_missed_is_told() -> None:
    seen = found(([0, 0, 10, 10], 0.4, 1), ([30, 0, 40, 10], 0.2, 0))

    def look(images: NDArray[np.uint8], least: float) -> list[Detections]:
        return [seen if images.shape[1] < 100 else Detections.empty()]

    image = np.zeros((1, 100, 100, 3), np.uint8)
    (missed,) = look_around(look, image, (0.5, 0.3), SETTINGS)
    assert len(missed) == 0
    assert missed.missed == pytest.approx((0.1, 1)), "one look of four saw it"
    (shown,) = look_around(look, image, (0.5, 0.1), SETTINGS)
    assert shown.class_ids.tolist() == [1]  # 0.05 is less than the first class asks for


def test_what_no_look_finds_is_missed_by_all() -> None:
    nothing = replace(Detections.empty(), missed=(0.004, 0))
    (missed,) = look_around(lambda images, least: [nothing], np.zeros((1, 64, 64, 3), np.uint8), 0.5, SETTINGS)
    assert missed.missed == (0.004, 0)


def bright_spots(images: NDArray[np.uint8], least: float) -> list[Detections]:
    """The bright spot of each image."""
    spots = []
    for rgb in images:
        rows, columns = np.nonzero(rgb[..., 0] > 100)
        spots.append(found(([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], 0.5, 0)))
    return spots


@pytest.mark.parametrize("looks", [*((one,) for one in LOOKS), LOOKS])
def test_boxes_of_every_look_come_back_to_the_image(
    monkeypatch: pytest.MonkeyPatch, looks: tuple[tuple[int, float], ...]
) -> None:
    monkeypatch.setattr(several_looks, "LOOKS", looks)
    image = np.zeros((2, 90, 130, 3), np.uint8)
    image[:, 20:50, 60:100] = 255
    for both in look_around(bright_spots, image, 0.01, SETTINGS):
        assert both.scores == pytest.approx([0.5])
        assert both.boxes_xyxy_px == pytest.approx(np.array([[60.0, 20, 100, 50]]), abs=1)
