"""Images are shown whole as far as they are small, larger ones by windows, and nothing found hangs on which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fsod.boxes import Detections
from fsod.config import EvaluateSettings
from fsod.data.coco_folder import CocoFolder
from fsod.errors import UserError
from fsod.evaluation import shown_images
from fsod.evaluation.shown_images import detect_folder, read_small
from fsod.geo.scene_plan import ScenePlan
from tests.made_folder import make_folder

SMALL = ScenePlan(window_px=96, overlap_px=32, batch=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    return make_folder(tmp_path_factory.mktemp("made") / "folder", images=2, size_px=300)


class RedOnes:
    """Finds what is red, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        self.shapes.append(images.shape)
        return [self._find(image) for image in images]

    def _find(self, image: NDArray[np.uint8]) -> Detections:
        red = ((image[..., 0] > 200) & (image[..., 1] < 100)).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(red)
        x, y, width, height = stats[1:, :4].T.astype(np.float64)
        boxes = np.stack([x, y, x + width, y + height], 1)
        return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64))


def test_windows_find_what_whole_images_show(folder: CocoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, by_windows = RedOnes(), RedOnes()
    expected = detect_folder(folder, whole)
    assert whole.shapes == [(1, 300, 300, 3)] * 2
    monkeypatch.setattr(shown_images, "WHOLE_PX", 299)
    found = detect_folder(folder, by_windows, windows=SMALL)
    assert {shape[1:] for shape in by_windows.shapes} == {(96, 96, 3)}
    assert set(found) == {1, 2}
    for i, own in expected.items():
        assert len(own) == 2
        assert sorted(found[i].boxes_xyxy_px.tolist()) == sorted(own.boxes_xyxy_px.tolist())


def test_a_large_image_is_made_small_to_be_looked_at(folder: CocoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    image = folder.images[0]
    own, smaller = read_small(image)
    assert smaller == 1
    monkeypatch.setattr(shown_images, "WHOLE_PX", 150)
    rgb, smaller = read_small(image)
    assert (rgb.shape, smaller) == ((150, 150, 3), 2)
    np.testing.assert_allclose(rgb, own.reshape(150, 2, 150, 2, 3).mean(axis=(1, 3)), atol=1)


def test_what_a_whole_image_is_refused_for_a_large_one_is_too(
    folder: CocoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown_images, "WHOLE_PX", 150)
    deep = tmp_path / "deep.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 60_000, (300, 300)).astype(np.uint16)).save(deep)
    for image, reason in (
        (replace(folder.images[0], path=deep), "deep.png: is not an 8-bit image"),
        (replace(folder.images[0], width_px=301), "is 300x300 px, but annotations.json says 301x300"),
        (replace(folder.images[0], path=tmp_path / "gone.png"), "gone.png: cannot be opened"),
    ):
        with pytest.raises(UserError, match=reason):
            detect_folder(replace(folder, images=(image,)), RedOnes(), windows=SMALL)


class InTwoClasses(RedOnes):
    """Finds what is red as an object of either class."""

    def _find(self, image: NDArray[np.uint8]) -> Detections:
        own = super()._find(image)
        return Detections(
            np.tile(own.boxes_xyxy_px, (2, 1)), np.tile(own.scores, 2), np.repeat(np.array([0, 1]), len(own))
        )


def test_a_class_of_large_objects_is_found_in_a_smaller_copy(folder: CocoFolder) -> None:
    detect = InTwoClasses()
    plan = ScenePlan(reductions=(1.0, 2.0), suppression=EvaluateSettings(rival_iou=1))
    own, both = RedOnes(), detect_folder(folder, detect, windows=plan)
    assert detect.shapes == [(1, 300, 300, 3), (1, 150, 150, 3)] * 2
    for i, expected in detect_folder(folder, own).items():
        as_it_is, smaller = (both[i].select(both[i].class_ids == c) for c in (0, 1))
        assert sorted(as_it_is.boxes_xyxy_px.tolist()) == sorted(expected.boxes_xyxy_px.tolist())
        assert len(smaller) == len(expected)
        off = np.abs(smaller.boxes_xyxy_px[:, None] - expected.boxes_xyxy_px[None]).max(axis=-1)
        assert 0 < off.min(axis=0).max() <= 4


def test_of_two_classes_in_one_place_the_better_stays_whatever_size_it_was_seen_at(folder: CocoFolder) -> None:
    class Sure(InTwoClasses):
        def _find(self, image: NDArray[np.uint8]) -> Detections:
            own = super()._find(image)
            return replace(own, scores=np.where(own.class_ids == 1, 0.95, 0.9).astype(np.float32))

    plan = ScenePlan(reductions=(1.0, 2.0), suppression=EvaluateSettings(rival_iou=0.5))
    for found in detect_folder(folder, Sure(), windows=plan).values():
        assert len(found)
        assert set(found.class_ids.tolist()) == {1}


def test_images_are_toned_whole_or_not_as_what_is_evaluated_was(
    folder: CocoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tone of a whole image and that of its windows are one."""
    means: list[float] = []

    def remember(images: NDArray[np.uint8]) -> list[Detections]:
        means.extend(float(image[image.any(axis=2)].mean()) for image in images if image.any())
        return [Detections(np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(images)

    of_image = []
    for toned in (None, True):
        means.clear()
        detect_folder(folder, remember, windows=replace(SMALL, toned=toned))
        of_image.append(np.mean(means))
    assert abs(of_image[1] - 127) < abs(of_image[0] - 127)
    assert abs(of_image[1] - 127) < 5
    monkeypatch.setattr(shown_images, "WHOLE_PX", 299)
    means.clear()
    detect_folder(folder, remember, windows=replace(SMALL, toned=True))
    assert np.mean(means) == pytest.approx(of_image[1], abs=5)


def test_images_are_shown_as_large_as_the_classes_were_learned(
    folder: CocoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, twice = detect_folder(folder, RedOnes()), RedOnes()
    found = detect_folder(folder, twice, windows=replace(SMALL, enlargement=2.0))
    assert twice.shapes == [(1, 600, 600, 3)] * 2
    for i, own in expected.items():
        gap = np.abs(np.sort(found[i].boxes_xyxy_px, axis=0) - np.sort(own.boxes_xyxy_px, axis=0))
        assert gap.max() <= 1
    monkeypatch.setattr(shown_images, "WHOLE_PX", 300)
    by_windows = RedOnes()
    detect_folder(folder, by_windows, windows=replace(SMALL, enlargement=2.0))
    assert {shape[1:] for shape in by_windows.shapes} == {(96, 96, 3)}, (
        "twice as large it is too large to be shown whole"
    )
