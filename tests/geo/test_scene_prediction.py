from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene

MakeRaster = Callable[..., Path]

UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}


def bright_squares(images: NDArray[np.uint8]) -> list[Detections]:
    """A detector of bright connected areas: class 0 if they are red only, else class 1."""
    found = []
    for image in images:
        _, labels, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8), connectivity=4)
        boxes = stats[1:, :4].astype(np.float64)
        boxes[:, 2:] += boxes[:, :2]
        green = [int(image[..., 1][labels == i].max() > 128) for i in range(1, len(stats))]
        found.append(Detections(boxes, np.full(len(boxes), 0.8, np.float32), np.array(green, np.int64)))
    return found


def paint(width: int, height: int, boxes: NDArray[np.int64], ground: int = 40) -> NDArray[np.uint8]:
    # ground of two values, as real ground is never of one
    pixels = np.full((3, height, width), ground, np.uint8)
    pixels[:, ::2, ::2] += 1
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        pixels[: 1 + i % 2, y1:y2, x1:x2] = 250
    return pixels


def rows(detections: Detections) -> list[list[float]]:
    return sorted(np.column_stack([detections.boxes_xyxy_px, detections.class_ids]).tolist())


def lattice(width: int, height: int, step: int, side: int) -> NDArray[np.int64]:
    """Squares all over, on seams and corners of any grid too."""
    x, y = np.meshgrid(np.arange(3, width - side, step), np.arange(5, height - side, step))
    starts = np.stack([x.ravel(), y.ravel()], axis=1)
    return np.concatenate([starts, starts + side], axis=1)


@pytest.mark.parametrize("sizes", [(64, 32), (96, 32), (128, 64), (256, 64), (640, 128)])
@pytest.mark.parametrize(("step", "side"), [(13, 7), (45, 30), (170, 110)])
def test_every_square_is_found_once_as_in_one_pass(
    make_raster: MakeRaster, sizes: tuple[int, int], step: int, side: int
) -> None:
    boxes = lattice(437, 391, step, side)
    pixels = paint(437, 391, boxes)
    in_one_pass = bright_squares(pixels.transpose(1, 2, 0)[None])[0]
    result = predict_scene(
        make_raster(pixels, **UTM), bright_squares, ScenePlan(window_px=sizes[0], overlap_px=sizes[1], batch=3)
    )
    assert rows(result.detections) == rows(in_one_pass)
    assert len(result.detections) == len(boxes)
    assert result.windows_blank == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.lists(st.tuples(st.integers(0, 290), st.integers(0, 290), st.integers(1, 90), st.integers(1, 90)), max_size=12),
    st.sampled_from([(64, 32), (96, 32), (128, 64)]),
)
def test_rectangles_anywhere_in_scenes_of_any_size(
    make_raster: MakeRaster, width: int, height: int, drawn: list[tuple[int, int, int, int]], sizes: tuple[int, int]
) -> None:
    mask = np.zeros((height, width), np.uint8)
    for x, y, w, h in drawn:
        # no touching: components of a window would otherwise not be components of the scene
        if not mask[max(0, y - 1) : y + h + 1, max(0, x - 1) : x + w + 1].any():
            mask[y : y + h, x : x + w] = 1
    pixels = paint(width, height, np.zeros((0, 4), np.int64))
    pixels[:, mask > 0] = 250
    expected = bright_squares(pixels.transpose(1, 2, 0)[None])[0]
    result = predict_scene(
        make_raster(pixels, **UTM), bright_squares, ScenePlan(window_px=sizes[0], overlap_px=sizes[1])
    )
    flat = pixels.min(axis=(1, 2)).tolist() == pixels.max(axis=(1, 2)).tolist()
    assert rows(result.detections) == ([] if flat else rows(expected))


def test_windows_come_in_batches_and_progress_reaches_the_end(make_raster: MakeRaster) -> None:
    shapes, threads, progress = set(), set(), []

    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        shapes.add((images.shape, images.dtype))
        threads.add(threading.current_thread().name)
        return bright_squares(images)

    path = make_raster(paint(300, 200, lattice(300, 200, 40, 20)), **UTM)
    result = predict_scene(
        path,
        detect,
        ScenePlan(window_px=128, overlap_px=32, batch=4),
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert shapes == {((count, 128, 128, 3), np.dtype(np.uint8)) for count in (4, 2)}
    assert threads <= {"fsod-detect_0", "fsod-detect_1"}
    assert result.windows_run == 3 * 2
    assert progress == [(4, 6), (6, 6)]
    assert 0 < result.seconds_detecting < result.seconds


def test_a_small_scene_is_seen_no_larger_than_it_takes(make_raster: MakeRaster) -> None:
    shown = []

    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        shown.append((images, threading.current_thread()))
        return bright_squares(images)

    pixels = paint(100, 50, np.array([[10, 10, 18, 18]]))
    result = predict_scene(make_raster(pixels, **UTM), detect, ScenePlan(window_px=128, overlap_px=32, batch=4))
    ((windows, thread),) = shown
    assert thread is threading.current_thread(), "a new one costs as much as a small picture"
    assert windows.shape == (1, 64, 128, 3)
    np.testing.assert_array_equal(windows[0, :50, :100], np.moveaxis(pixels, 0, 2))
    assert not windows[0, 50:].any()
    assert not windows[0, :, 100:].any()
    assert result.detections.boxes_xyxy_px.tolist() == [[10, 10, 18, 18]]


def test_the_next_batch_is_with_the_detector_before_one_is_done_and_order_stays(make_raster: MakeRaster) -> None:
    both_there = threading.Barrier(2)
    turns = iter([0.0, 0.2])  # seconds: who asks first is answered last, or first

    def together(images: NDArray[np.uint8]) -> list[Detections]:
        both_there.wait(10)
        time.sleep(next(turns))
        return bright_squares(images)

    path = make_raster(paint(300, 200, lattice(300, 200, 40, 20)), **UTM)
    found, expected = (
        predict_scene(path, detect, ScenePlan(window_px=128, overlap_px=32, batch=3))
        for detect in (together, bright_squares)
    )
    assert rows(found.detections) == rows(expected.detections) != []


def test_a_scene_smaller_than_a_window_is_padded(make_raster: MakeRaster) -> None:
    seen = []

    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        seen.append(images.copy())
        # a box in the padding, and one that reaches into it
        boxes = np.array([[60, 40, 80, 60], [40, 20, 90, 90.0]])
        return [Detections(boxes, np.ones(2, np.float32), np.zeros(2, np.int64)) for _ in images]

    pixels = paint(50, 30, np.zeros((0, 4), np.int64))
    result = predict_scene(make_raster(pixels, **UTM), detect, ScenePlan(window_px=96, overlap_px=32, batch=1))
    np.testing.assert_array_equal(seen[0][0, :30, :50], pixels.transpose(1, 2, 0))
    assert not seen[0][0, 30:].any()
    assert not seen[0][0, :, 50:].any()
    assert result.detections.boxes_xyxy_px.tolist() == [[40, 20, 50, 30]]


def everywhere(images: NDArray[np.uint8]) -> list[Detections]:
    """A detector that sees 16 px things on a lattice, whatever is there."""
    boxes = lattice(images.shape[2], images.shape[1], 16, 16).astype(np.float64)
    one = Detections(boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int64))
    return [one for _ in images]


@pytest.mark.parametrize("declared", [True, False])
def test_nothing_is_found_in_the_empty_part(make_raster: MakeRaster, declared: bool) -> None:
    # the picture fills a corner; the rest is nodata, declared or not
    pixels = np.zeros((3, 400, 500), np.uint8)
    pixels[:, :170, :210] = np.random.default_rng(0).integers(1, 255, (3, 170, 210))
    path = make_raster(pixels, nodata=0 if declared else None, **UTM)
    result = predict_scene(path, everywhere, ScenePlan(window_px=128, overlap_px=32, batch=2))
    boxes = result.detections.boxes_xyxy_px
    assert len(boxes) > 50
    assert result.windows_run == 6
    assert result.windows_blank == 20 - 6
    if declared:
        # half of each box at least is picture
        assert (boxes[:, 0] + 8 <= 210).all()
        assert (boxes[:, 1] + 8 <= 170).all()
    # two pixels around a box count as it
    assert (boxes[:, 0] < 212).all()
    assert (boxes[:, 1] < 172).all()


def test_a_scene_of_nodata_never_runs(make_raster: MakeRaster) -> None:
    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        raise AssertionError("nothing to see")

    path = make_raster(np.full((1, 200, 200), np.nan, np.float32), nodata=np.nan, **UTM)
    result = predict_scene(path, detect, ScenePlan(window_px=64, overlap_px=32))
    assert len(result.detections) == 0
    assert (result.windows_run, result.windows_blank) == (0, 36)


def test_a_target_gsd_finds_things_at_their_place_in_the_scene(make_raster: MakeRaster) -> None:
    boxes = lattice(300, 260, 60, 40)
    path = make_raster(paint(300, 260, boxes), **UTM)
    for gsd_m in (0.4, 1.0, 1.3):
        result = predict_scene(path, bright_squares, ScenePlan(window_px=128, overlap_px=64, gsd_m=gsd_m))
        assert result.gsd_m == pytest.approx(gsd_m, rel=0.01)
        found = result.detections.boxes_xyxy_px
        assert len(found) == len(boxes)
        distance = np.abs(found[:, None] - boxes[None]).max(axis=-1).min(axis=1)
        assert distance.max() <= gsd_m / 0.5


def test_a_detector_that_breaks_its_contract_or_fails_is_not_hidden(make_raster: MakeRaster) -> None:
    path = make_raster(paint(200, 200, lattice(200, 200, 40, 20)), **UTM)
    with pytest.raises(ValueError, match="0 results for 4 windows"):
        predict_scene(path, lambda images: [], ScenePlan(window_px=64, overlap_px=32))

    def fails(images: NDArray[np.uint8]) -> list[Detections]:
        raise RuntimeError("out of memory")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        predict_scene(path, fails, ScenePlan(window_px=64, overlap_px=32))
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])  # the latter is scaled, by a look at the whole scene
def test_damage_stops_the_run_unless_it_may_be_skipped(make_raster: MakeRaster, kind: type) -> None:
    boxes = lattice(256, 256, 64, 20)
    path = make_raster(paint(256, 256, boxes).astype(kind), tiled=True, blockxsize=128, blockysize=128, **UTM)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 128 * 128 * 3 * np.dtype(kind).itemsize)  # the last block is gone
    with pytest.raises(
        UserError, match=r"scene.tif: damaged or cut short: pixels of columns \d+ to \d+, rows \d+ to \d+"
    ):
        predict_scene(path, bright_squares, ScenePlan(window_px=64, overlap_px=32))
    result = predict_scene(path, bright_squares, ScenePlan(window_px=64, overlap_px=32, skip_damaged=True))
    assert len(result.damaged) == 4 * 4
    assert "scene.tif: damaged" in result.damaged[0]
    assert result.windows_run == 7 * 7 - 4 * 4
    assert len(result.warnings) == (kind == np.uint16)
    # what lies clear of the damage is all there
    clear = boxes[(boxes[:, :2] < 60).any(axis=1)]
    found = result.detections.boxes_xyxy_px.tolist()
    assert all(box.astype(float).tolist() in found for box in clear)
