from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from fsod.boxes import Detections, longer_side_px
from fsod.config import EvaluateSettings
from fsod.errors import UserError
from fsod.geo.journal import Finished
from fsod.geo.passes import JITTER, make_passes
from fsod.geo.resume import ResumeFrom
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import SceneResult, predict_scene
from fsod.geo.search import Searched

MakeRaster = Callable[..., Path]

UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
# longer sides of 20 to 500 px; windows of 96 px share 32, so four times reduced they share 128, and 16 times 512
BOXES = np.array([[8, 8, 28, 20], [40, 8, 80, 60], [100, 40, 220, 110], [300, 30, 560, 330], [40, 400, 560, 560]])


def scene_of(make_raster: MakeRaster) -> Path:
    pixels = np.full((3, 640, 640), 40, np.uint8)
    pixels[:, ::2, ::2] += 1
    for left, top, right, bottom in BOXES:
        pixels[:, top:bottom, left:right] = 250
    return make_raster(pixels, **UTM)


def bright(images: NDArray[np.uint8]) -> list[Detections]:
    """The bounds of each bright area, where no other area is in line with it; a window shows few of them."""
    found = []
    for image in images:
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 145).astype(np.uint8), connectivity=4)
        boxes = stats[1:, :4].astype(np.float64)
        boxes[:, 2:] += boxes[:, :2]
        found.append(Detections(boxes, np.full(len(boxes), 0.8, np.float32), np.zeros(len(boxes), np.int64)))
    return found


def fits_of(result: SceneResult) -> list[float]:
    """The largest distance between sides of each painted box and the detection next to it."""
    distance = np.abs(result.detections.boxes_xyxy_px[:, None] - BOXES[None]).max(axis=-1)
    return distance.min(axis=0).tolist()


@pytest.mark.parametrize("scales", [(4.0,), (4.0, 16.0), (3.0, 7.5)])
def test_objects_of_all_sizes_are_found_once(make_raster: MakeRaster, scales: tuple[float, ...]) -> None:
    result = predict_scene(scene_of(make_raster), bright, ScenePlan(window_px=96, overlap_px=32, scales=scales))
    assert len(result.detections) == len(BOXES)
    assert max(fits_of(result)) <= scales[-1]
    # what fits the overlap is the first pass's own, to the pixel
    assert max(fit for fit, side in zip(fits_of(result), longer_side_px(BOXES), strict=True) if side <= 32) == 0


def test_each_pass_goes_on_where_the_one_before_may_cut(make_raster: MakeRaster) -> None:
    with open_scene(scene_of(make_raster)) as scene:
        passes = make_passes(scene, 96, 32, (2.0, 4.0, 16.0, 32.0))
    assert [(p.grid.x.length_px, p.scale, p.least_px) for p in passes] == [
        (640, (1, 1), 0),
        (320, (2, 2), JITTER * 32),
        (160, (4, 4), JITTER * 64),
        # the last sees all of the scene at once: no further one would see more
        (40, (16, 16), JITTER * 128),
    ]
    assert [p.first for p in passes] == [0, *np.cumsum([len(p.grid) for p in passes])[:-1].tolist()]


@pytest.mark.parametrize("scales", [(4.0, 2.0), (2.0, 2.0), (1.0,), (0.5,), (65.0,), (float("nan"),)])
def test_scales_that_make_no_sense_are_refused(make_raster: MakeRaster, scales: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"scales .*: give rising numbers above 1, up to 64"):
        predict_scene(scene_of(make_raster), bright, ScenePlan(window_px=96, overlap_px=32, scales=scales))


def test_scales_that_see_no_more_are_named(make_raster: MakeRaster) -> None:
    """Four times reduced, a window of 192 px sees all of 640 px; of less reduction too, so the second has no effect."""
    scene = scene_of(make_raster)
    for scales, unused in (((4.0,), []), ((4.0, 8.0, 16.5), ["8,16.5"]), ((2.0, 4.0), [])):
        said = predict_scene(scene, bright, ScenePlan(window_px=192, overlap_px=32, scales=scales)).warnings
        wanted = [f"{scene}: --scales {n} has no effect, as a single window sees all of it before" for n in unused]
        assert [line for line in said if "--scales" in line] == wanted
    (alone,) = predict_scene(scene, bright, ScenePlan(window_px=640, overlap_px=32, scales=(2.0,))).warnings
    assert alone == f"{scene}: --scales 2 has no effect, as a single window sees all of it before"


def test_a_run_killed_in_any_pass_goes_on(make_raster: MakeRaster, tmp_path: Path) -> None:
    path, journal = scene_of(make_raster), tmp_path / "run.journal"

    def run(stop_after: int | None = None) -> SceneResult:
        def progress(done: int, total: int) -> None:
            if stop_after is not None and done >= stop_after:
                raise KeyboardInterrupt

        return predict_scene(
            path,
            bright,
            ScenePlan(window_px=96, overlap_px=32, scales=(4.0, 8.0), batch=3),
            resume=ResumeFrom(journal),
            on_progress=progress,
        )

    whole = run()
    for stop_after in (10, whole.windows_run - 5, whole.windows_run - 1):
        journal.unlink()
        with pytest.raises(KeyboardInterrupt):
            run(stop_after)
        resumed = run()
        assert resumed.windows_resumed >= stop_after
        np.testing.assert_array_equal(resumed.detections.boxes_xyxy_px, whole.detections.boxes_xyxy_px)
        np.testing.assert_array_equal(resumed.detections.scores, whole.detections.scores)
    with pytest.raises(UserError, match="differs in scales"):
        predict_scene(path, bright, ScenePlan(window_px=96, overlap_px=32, scales=(4.0,)), resume=ResumeFrom(journal))


SIDE_BY_SIDE = EvaluateSettings(rival_iou=1)  # no class takes the place of another


def in_two_classes(images: NDArray[np.uint8]) -> list[Detections]:
    """Each bright area as an object of either class."""
    return [
        Detections(np.tile(own.boxes_xyxy_px, (2, 1)), np.tile(own.scores, 2), np.repeat(np.array([0, 1]), len(own)))
        for own in bright(images)
    ]


@pytest.mark.parametrize("window_px", [96, 640])
def test_a_class_of_large_objects_is_found_in_the_pass_that_is_reduced_for_it(
    make_raster: MakeRaster, window_px: int
) -> None:
    """Also where a single window sees the whole scene: there objects are too large for the network, not for the window."""
    plan = ScenePlan(window_px=window_px, overlap_px=32, reductions=(1.0, 4.0), suppression=SIDE_BY_SIDE)
    found = predict_scene(scene_of(make_raster), in_two_classes, plan).detections
    as_it_is, reduced = (found.boxes_xyxy_px[found.class_ids == c] for c in (0, 1))
    assert len(reduced) == len(BOXES)
    off = np.abs(reduced[:, None] - BOXES[None]).max(axis=-1).min(axis=0)
    assert 0 < off.max() <= 4
    assert (reduced % 4 == 0).all()
    assert (np.abs(as_it_is[:, None] - BOXES[None]).max(axis=-1).min(axis=0) == 0).sum() >= 2


@dataclass(frozen=True)
class OneForAll:
    """Of each bright area one box, of the first class that it is asked for: the other has lost against it."""

    class_ids: tuple[int, ...] = (0, 1)

    def asked_for(self, class_ids: tuple[int, ...]) -> OneForAll:
        return OneForAll(class_ids)

    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        return [replace(own, class_ids=np.full_like(own.class_ids, self.class_ids[0])) for own in bright(images)]


def test_each_pass_asks_a_detector_for_its_classes_alone(make_raster: MakeRaster) -> None:
    plan = ScenePlan(window_px=640, overlap_px=32, reductions=(1.0, 4.0), suppression=SIDE_BY_SIDE)
    found = predict_scene(scene_of(make_raster), OneForAll(), plan).detections
    assert np.bincount(found.class_ids).tolist() == [len(BOXES), len(BOXES)]


def test_where_all_classes_are_seen_coarser_the_scene_as_it_is_shows_what_is_valid_alone(
    make_raster: MakeRaster,
) -> None:
    shapes = []

    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        shapes.append(images.shape)
        return in_two_classes(images)

    plan = ScenePlan(window_px=96, overlap_px=32, batch=1, reductions=(4.0, 4.0), suppression=SIDE_BY_SIDE)
    result = predict_scene(scene_of(make_raster), detect, plan)
    assert len(shapes) == 2 * 2, "of 160 x 160 px"
    assert result.windows_run + result.windows_blank == 10 * 10 + len(shapes)
    assert np.bincount(result.detections.class_ids).tolist() == [len(BOXES), len(BOXES)]


def test_passes_for_some_classes_come_after_those_for_all(make_raster: MakeRaster) -> None:
    with open_scene(scene_of(make_raster)) as scene:
        passes = make_passes(scene, 96, 32, (2.0,), (1.0, 8.0, 1.0, 2.0))
        assert [(p.scale[0], p.class_ids, p.least_px) for p in passes] == [
            (1, (0, 2), 0),
            (2, (0, 2), JITTER * 32),
            (2, (3,), 0),
            (8, (1,), 0),
        ]
        assert [p.first for p in passes] == [0, *np.cumsum([len(p.grid) for p in passes])[:-1].tolist()]
        assert [p.class_ids for p in make_passes(scene, 96, 32, (2.0,), (1.0, 1.0))] == [None, None]
        # what is nearly found of a class tells of the pass that answers for it
        nearly = Searched(Finished({0: Detections.empty()}, [], missed=(0.2, 1)))
        assert [one.numbered(nearly).finished.missed for one in passes] == [None, None, None, (0.2, 1)]


def test_a_search_goes_on_with_the_same_reductions_alone(make_raster: MakeRaster, tmp_path: Path) -> None:
    path, resume = scene_of(make_raster), ResumeFrom(tmp_path / "run.journal")
    plan = ScenePlan(window_px=96, overlap_px=32, reductions=(1.0, 4.0))
    whole = predict_scene(path, in_two_classes, plan, resume=resume)
    again = predict_scene(path, in_two_classes, plan, resume=resume)
    assert again.windows_resumed == whole.windows_run + whole.windows_blank
    np.testing.assert_array_equal(again.detections.boxes_xyxy_px, whole.detections.boxes_xyxy_px)
    with pytest.raises(UserError, match="differs in reductions"):
        predict_scene(path, in_two_classes, ScenePlan(window_px=96, overlap_px=32), resume=resume)
