from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fsod.boxes import Detections
from fsod.data.coco_folder import CocoFolder
from fsod.data.marked import Marked, marked_shots
from fsod.data.shots import draw_shots
from fsod.inference.thresholds import (
    FOLDS,
    LEFT_OUT,
    TRAINED,
    Detect,
    folds_of,
    found_scores,
    left_out_scores,
    propose_trained_scores,
    proposed_of,
)
from tests.made_folder import make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    return make_folder(tmp_path_factory.mktemp("made") / "folder")


def marked(folder: CocoFolder, k: int, *names: str) -> Marked:
    return marked_shots(folder, draw_shots(folder, names, k, 0), names)


def test_an_example_is_found_by_its_own_class_where_it_is(folder: CocoFolder) -> None:
    known = marked(folder, 1, "square", "disc")
    image, box_id = known.places["square"][0]
    box = known.box_xyxy_px(image, box_id)
    side = float((box[2:] - box[:2]).max())

    def scores(*found: tuple[float, float, int]) -> list[float]:
        """With detections moved along by so many sides, of a score and a class."""
        boxes = np.array([box + np.array([moved, 0, moved, 0]) * side for moved, _, _ in found])
        values, ids = np.array([s for _, s, _ in found], np.float32), np.array([c for *_, c in found])
        detections = Detections(boxes, values, ids)
        of_classes = found_scores(known, ("square", "disc"), lambda images: [detections], {"square": [(image, box_id)]})
        assert of_classes["disc"] == []
        return of_classes["square"]

    assert scores((0.05, 0.4, 0), (0.7, 0.9, 0), (0, 0.2, 1)) == pytest.approx([0.4])
    assert scores((0, 0.3, 0), (0.05, 0.4, 0)) == pytest.approx([0.4])
    assert scores((0.7, 0.9, 0), (0, 0.2, 1)) == []


def test_every_example_is_looked_for_by_rows_that_have_not_seen_it(folder: CocoFolder) -> None:
    known = marked(folder, 7, "square", "disc")
    seen: list[Marked] = []

    def detector_of(part: Marked) -> Detect:
        seen.append(part)
        return lambda images: [found_by(part, images)]

    def found_by(part: Marked, images: np.ndarray) -> Detections:
        """Finds in an image every square that ``part`` does not hold, and discs that are none."""
        image = next(i for i, pixels in enumerate(known.pixels) if np.array_equal(pixels, images[0]))
        own = {box_id for _, box_id in part.places["square"]}
        missing = [b for i, b in known.places["square"] if i == image and b not in own]
        boxes = np.array([known.box_xyxy_px(image, b) for b in missing]).reshape(-1, 4)
        scores = np.array([0.1 * (1 + b % 5) for b in missing], np.float32)
        return Detections(boxes, scores, np.zeros(len(boxes), np.int64))

    proposed = proposed_of(left_out_scores(known, ("square", "disc"), detector_of))
    assert len(seen) == folds_of(known) == FOLDS
    assert all(len(part.places["square"]) in (5, 6) for part in seen)
    for part in seen:
        left = {box_id for places in part.places.values() for _, box_id in places}
        assert {b for image in part.folder.images for b in image.box_ids.tolist()} == left
    every = [0.1 * (1 + b % 5) for _, b in known.places["square"]]
    assert proposed == {"square": pytest.approx(LEFT_OUT * np.mean(every))}  # no disc is ever found: nothing to propose


def test_of_what_was_trained_on_a_part_counts(folder: CocoFolder) -> None:
    known = marked(folder, 2, "square")

    def detect(images: np.ndarray) -> list[Detections]:
        image = next(i for i, pixels in enumerate(known.pixels) if np.array_equal(pixels, images[0]))
        boxes = known.folder.images[image].boxes_xyxy_px
        return [Detections(boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int64))]

    assert propose_trained_scores(known, ("square", "disc"), detect) == {"square": pytest.approx(TRAINED * 0.5)}


def test_an_image_is_searched_once_for_all_that_is_marked_in_it(folder: CocoFolder) -> None:
    known = marked(folder, 7, "square", "disc")
    searched = []

    def detect(images: np.ndarray) -> list[Detections]:
        image = next(i for i, pixels in enumerate(known.pixels) if np.array_equal(pixels, images[0]))
        searched.append(image)
        record = known.folder.images[image]
        scores = np.array(record.box_ids / 100, np.float32)
        return [Detections(record.boxes_xyxy_px, scores, np.array(record.class_ids, np.int64))]

    found = found_scores(known, ("square", "disc"), detect, known.places)
    assert len(searched) == len(set(searched)) < 14
    for name, places in known.places.items():
        assert sorted(found[name]) == pytest.approx(sorted(box_id / 100 for _, box_id in places))


def test_a_single_example_cannot_be_left_out(folder: CocoFolder) -> None:
    known = marked(folder, 1, "square")
    assert folds_of(known) == 0

    def never(part: Marked) -> Detect:
        raise AssertionError

    assert proposed_of(left_out_scores(known, ("square",), never)) == {}


def test_without_an_example_its_box_is_gone_and_its_image_stays(folder: CocoFolder) -> None:
    known = marked(folder, 3, "square")
    gone = known.places["square"][0][1]
    left = known.without({gone})
    assert left.places["square"] == known.places["square"][1:]
    assert len(left.folder.images) == len(known.folder.images)
    assert gone not in [b for image in left.folder.images for b in image.box_ids.tolist()]
    assert replace(left, folder=known.folder, places=known.places) == known
