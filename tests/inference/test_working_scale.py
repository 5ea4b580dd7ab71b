"""The size at which examples are looked for: detectors that see some sizes only are made of the test's own rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.data.coco_folder import CocoFolder, ImageRecord
from fsod.data.marked import Marked
from fsod.inference.thresholds import Detect
from fsod.inference.working_scale import NOT_FOUND, best_enlargement, best_of, log_ranks, reductions_of

SIDE = 30.0


def marked(examples: int, side: float = SIDE, view: int = 120) -> Marked:
    """Images of one example each; its pixels are white on black."""
    records, pixels = [], []
    corner = (view - side) / 2
    box = np.array([[corner, corner, corner + side, corner + side]])
    for i in range(examples):
        rgb = np.zeros((view, view, 3), np.uint8)
        rgb[int(corner) : int(corner + side), int(corner) : int(corner + side)] = 255
        pixels.append(rgb)
        records.append(ImageRecord(i + 1, Path("x"), "x", view, view, box, np.zeros(1, np.int64), np.array([i + 1])))
    folder = CocoFolder(Path(), ("it",), tuple(records), "")
    return Marked(folder, pixels, {"it": [(i, i + 1) for i in range(examples)]})


def sees_from(least_px: float, false_alarms: int = 0, close_from_px: float = 0) -> Callable[[Marked], Detect]:
    """Makes detectors that find what is white if it is large enough, and some false alarms with better scores.

    Boxes of what is smaller than ``close_from_px`` are 1.3 times as wide as they should be each way: an IoU of 0.59.
    """

    def detector_of(some: Marked) -> Detect:
        def detect(rgb: NDArray[np.uint8]) -> list[Detections]:
            rows, columns = np.nonzero(rgb[0, ..., 0] > 127)
            white = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            width = white[2] - white[0]
            large = width >= least_px
            margin = 0.15 * width if width < close_from_px else 0
            white = [white[0] - margin, white[1] - margin, white[2] + margin, white[3] + margin]
            wrong = [[0.0, 0.0, 5.0, 5.0]] * false_alarms
            boxes = np.array([*([white] if large else []), *wrong], np.float64).reshape(-1, 4)
            scores = np.array([*([0.5] if large else []), *[0.6] * false_alarms], np.float32)
            return [Detections(boxes, scores, np.zeros(len(boxes), np.int64))]

        return detect

    return detector_of


def test_a_class_that_is_seen_when_large_is_looked_at_large() -> None:
    assert best_enlargement(marked(5), ("it",), sees_from(50)) == 2.0
    assert best_enlargement(marked(5), ("it",), sees_from(40)) == 1.4


def test_what_is_seen_at_any_size_is_looked_at_as_it_is() -> None:
    assert best_enlargement(marked(5), ("it",), sees_from(1)) == 1.0


@pytest.mark.parametrize(("side", "view", "expected"), [(600, 800, 0.25), (4000, 4400, 0.25), (4, 40, 1.0)])
def test_what_is_larger_or_smaller_than_anything_tried(side: float, view: int, expected: float) -> None:
    assert best_enlargement(marked(2, side, view), ("it",), sees_from(1)) == expected


def test_small_objects_are_not_shrunk() -> None:
    tried: list[int] = []

    def detector_of(some: Marked) -> Detect:
        tried.append(some.folder.images[0].width_px)
        return sees_from(1)(some)

    best_enlargement(marked(5), ("it",), detector_of)
    assert set(tried) == {120, 168, 240}


def test_one_example_says_nothing() -> None:
    assert best_enlargement(marked(1), ("it",), sees_from(50)) == 1.0


def test_the_rank_is_that_among_all_that_is_found() -> None:
    examples = marked(5)
    assert log_ranks(examples, ("it",), sees_from(1)) == pytest.approx(np.log([5] * 5))
    with_alarms = log_ranks(examples, ("it",), sees_from(1, false_alarms=2))
    assert with_alarms == pytest.approx(np.log([15] * 5))
    assert log_ranks(examples, ("it",), sees_from(50)) == pytest.approx(np.log([NOT_FOUND] * 5))


def test_close_boxes_count_more_than_loose_ones() -> None:
    assert best_enlargement(marked(5), ("it",), sees_from(1, close_from_px=50)) == 2.0
    loose = log_ranks(marked(5), ("it",), sees_from(1, close_from_px=50))
    assert loose == pytest.approx([(np.log(5) + 2 * np.log(NOT_FOUND)) / 3] * 5)


@pytest.mark.parametrize(
    ("twice", "expected"),
    [
        ([3.9, 4.9, 5.9, 6.9], 2.0),  # a little better for each
        ([0.0, 9.0, 1.0, 11.0], 1.0),  # by 0.75 in the mean, of which the standard error is 2.2
        ([0.0, 9.0, 1.0, 3.0], 2.0),  # by 2.75, of which it is 2.3
        ([4.0, 5.0, 6.0, 7.0], 1.0),
    ],
)
def test_another_size_has_to_be_better_than_by_chance(twice: list[float], expected: float) -> None:
    own = np.array([4.0, 5.0, 6.0, 9.0] if twice[0] == 0 else [4.0, 5.0, 6.0, 7.0])
    assert best_of({1.4: own + 1, 1.0: own, 2.0: np.array(twice)}) == expected


def test_without_the_own_size_the_best_of_the_others_is_taken() -> None:
    assert best_of({0.25: np.array([2.0, 5.0]), 0.35: np.array([1.0, 5.0])}) == 0.35


def test_enlarged_examples_keep_their_places() -> None:
    large = marked(2).enlarged(1.4)
    assert large.pixels[0].shape == (168, 168, 3)
    np.testing.assert_allclose(large.box_xyxy_px(0, 1), np.array([45, 45, 75, 75]) * 1.4)
    assert large.pixels[0][84, 84, 0] == 255
    assert large.pixels[0][40, 40, 0] == 0
    assert large.pixels[0] is not large.pixels[0], "memory holds the originals alone"


@pytest.mark.parametrize(
    ("side", "expected"),
    [(30, 1.0), (160, 1.0), (170, 2.0), (243, 2**1.5), (400, 4.0), (5000, 64.0), (9000, 64.0)],
)
def test_objects_that_are_too_large_are_seen_coarser(side: float, expected: float) -> None:
    images = replace(marked(3), pixels=[])  # goes by boxes alone
    large = np.array([[0.0, 0.0, side, side]])
    records = tuple(replace(record, boxes_xyxy_px=large) for record in images.folder.images)
    images = replace(images, folder=replace(images.folder, images=records))
    assert reductions_of(images, ("it",)) == {"it": pytest.approx(expected)}
    assert side / expected <= 160
