"""A search that may look at a part of the windows only: which, in what order, and how another run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

import fsod.geo.glance
from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo import read_ahead
from fsod.geo.glance import Glancer, glance
from fsod.geo.journal import Glance, Journal
from fsod.geo.read_ahead import Reading
from fsod.geo.resume import ResumeFrom
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import NO_GLANCE, SceneResult, predict_scene
from fsod.geo.search import AT_ONCE
from fsod.geo.searched_area import NOT_REACHED, SEARCHED
from fsod.geo.window_order import EVEN, Limit, in_order
from fsod.geo.windows import window_grid

MakeRaster = Callable[..., Path]

UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
SETTINGS: dict[str, Any] = {"window_px": 64, "overlap_px": 32, "batch": 4}
SIDE_PX, WINDOWS = 448, 169
SQUARES = np.array([[90, 372, 106, 388], [370, 52, 386, 68], [404, 84, 420, 100]])
"""Each lies in the core of one window of a scene of 13 x 13."""


def bright(images: NDArray[np.uint8]) -> list[Detections]:
    """Bright areas, with a score that falls as they get smaller and fainter."""
    found = []
    for image in images:
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 80).astype(np.uint8), connectivity=4)
        boxes = stats[1:, :4].astype(np.float64)
        boxes[:, 2:] += boxes[:, :2]
        scores = (0.9 * (1 - np.exp(-stats[1:, 4] / 50))).astype(np.float32)
        found.append(Detections(boxes, scores, np.zeros(len(boxes), np.int64)))
    return found


@pytest.fixture
def scene(make_raster: MakeRaster) -> Path:
    ground = np.indices((SIDE_PX, SIDE_PX)).sum(axis=0) // 16 % 2  # no look at it is of one value
    pixels = np.repeat(40 + ground[None], 3, axis=0).astype(np.uint8)
    for left, top, right, bottom in SQUARES:
        pixels[:, top:bottom, left:right] = 250
    return make_raster(pixels, **UTM)


def rows(result: SceneResult) -> list[list[float]]:
    return sorted(result.detections.boxes_xyxy_px.tolist())


def shares(result: SceneResult) -> float:
    assert result.area.share(SEARCHED) + result.area.share(NOT_REACHED) == pytest.approx(1)
    return result.area.share(SEARCHED)


@pytest.mark.parametrize(("share", "windows"), [(0.2, 33), (0.5, 84)])
def test_the_likeliest_windows_come_first_and_the_rest_is_not_reached(scene: Path, share: float, windows: int) -> None:
    assert len(window_grid(SIDE_PX, SIDE_PX, 64, 32)) == WINDOWS
    whole = predict_scene(scene, bright, ScenePlan(**SETTINGS))
    part = predict_scene(scene, bright, ScenePlan(**SETTINGS), limit=Limit(share=share))
    assert rows(part) == rows(whole) == SQUARES.tolist()
    assert part.windows_glanced > 0
    assert part.windows_run + part.windows_glanced == windows
    assert part.windows_left == WINDOWS - part.windows_run
    assert shares(part) == pytest.approx(part.windows_run / WINDOWS, rel=0.25)
    assert not part.warnings


def test_a_look_in_one_turn_of_four_costs_a_quarter_and_may_be_closer(scene: Path) -> None:
    dear = predict_scene(scene, bright, ScenePlan(**SETTINGS), limit=Limit(share=0.2))
    cheap = predict_scene(scene, bright, ScenePlan(**SETTINGS), limit=Limit(share=0.2), glancer=Glancer(bright, 0.25))
    assert cheap.windows_glanced > dear.windows_glanced
    assert cheap.windows_run == int(0.2 * WINDOWS - cheap.windows_glanced / 4)


def test_without_a_limit_no_look_is_made_and_windows_come_row_by_row(scene: Path) -> None:
    shown = []

    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        shown.append(images)
        return bright(images)

    result = predict_scene(scene, detect, ScenePlan(**SETTINGS))
    assert len(np.concatenate(shown)) == WINDOWS
    assert (result.windows_left, result.windows_glanced) == (0, 0)


def test_too_little_for_a_look_is_spread_evenly(scene: Path) -> None:
    result = predict_scene(scene, bright, ScenePlan(**SETTINGS), limit=Limit(share=0.008))
    assert (result.windows_run, result.windows_glanced) == (1, 0)
    assert result.warnings == (f"{scene}: {NO_GLANCE}",)


def test_a_scene_of_one_window_is_searched_whatever_the_share(make_raster: MakeRaster) -> None:
    pixels = np.random.default_rng(0).integers(0, 60, (3, 50, 50)).astype(np.uint8)
    result = predict_scene(make_raster(pixels, **UTM), bright, ScenePlan(**SETTINGS), limit=Limit(share=0.3))
    assert (result.windows_run, result.windows_left, result.warnings) == (1, 0, ())


def test_a_run_with_more_goes_on_where_one_with_less_stopped(scene: Path, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"
    calls = []

    def looked(images: NDArray[np.uint8]) -> list[Detections]:
        calls.append(len(images))
        return bright(images)

    def run(limit: Limit | None) -> SceneResult:
        return predict_scene(
            scene, bright, ScenePlan(**SETTINGS), resume=ResumeFrom(journal), glancer=Glancer(looked), limit=limit
        )

    first, looks = run(Limit(share=0.2)), len(calls)
    again = run(Limit(share=0.2))
    assert again.windows_resumed == again.windows_run == first.windows_run
    more = run(Limit(share=0.4))
    assert more.windows_resumed == first.windows_run
    assert more.windows_run + more.windows_glanced == int(0.4 * WINDOWS)
    assert looks == len(calls) > 0, "the look of the first run is kept"
    at_once = predict_scene(scene, bright, ScenePlan(**SETTINGS), limit=Limit(share=0.4))
    rest = run(None)
    assert (rest.windows_resumed, rest.windows_left) == (more.windows_run, 0)
    assert shares(rest) == 1
    assert rows(rest) == rows(at_once)


class Clock:
    """Of the search: every batch that a detector of it is shown takes a second."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        for module in (read_ahead, fsod.geo.glance):
            patch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now_s

    def slow(self, images: NDArray[np.uint8]) -> list[Detections]:
        self.now_s += 1
        return bright(images)


def test_time_that_is_up_ends_the_search_between_batches(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def run(ends_s: float) -> SceneResult:
        limit = Limit(ends=ends_s)
        journal = tmp_path / "out.journal"
        return predict_scene(
            scene, clock.slow, ScenePlan(**SETTINGS), resume=ResumeFrom(journal), glancer=Glancer(bright), limit=limit
        )

    none = run(-1)
    assert (none.windows_run, none.windows_left) == (0, WINDOWS)
    assert shares(none) == 0
    some = run(20)
    # what is under way or read when time is up is kept
    assert 20 <= some.windows_run // 4 <= 20 + read_ahead.AHEAD + AT_ONCE + 1
    assert some.windows_run % 4 == 0, "whole batches"
    assert some.windows_left == WINDOWS - some.windows_run
    rest = run(1000)
    assert rest.windows_resumed == some.windows_run
    assert rest.windows_left == 0
    assert rows(rest) == SQUARES.tolist()


def test_a_look_that_takes_too_long_is_given_up_for_a_coarser_one(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with open_scene(scene) as opened:
        grid = window_grid(SIDE_PX, SIDE_PX, 64, 32)
        reading = Reading(opened, grid, (), 4, 64, skip_damaged=False)
        whole = glance(reading, Glancer(bright), None, Limit(), WINDOWS)
        assert whole is not None
        coarser = glance(reading, Glancer(clock.slow), None, Limit(ends=14), WINDOWS)
    assert coarser is not None
    assert 0 < coarser.windows < whole.windows
    expected = np.zeros(WINDOWS)
    xs = grid.x.seams_px
    for left, top, right, bottom in SQUARES:
        row, column = (np.searchsorted(xs, middle, "right") - 1 for middle in ((top + bottom) / 2, (left + right) / 2))
        expected[row * 13 + column] += 1
    assert whole.chances[expected > 0].min() > whole.chances[expected == 0].max()
    assert whole.chances.sum() == pytest.approx(3 * 0.9 * (1 - np.exp(-((16 / 1.5) ** 2) / 50)), rel=0.05), (
        "each object counts once"
    )


def test_any_beginning_of_the_order_holds_the_likeliest_and_an_even_share() -> None:
    grid = window_grid(3200, 3200, 64, 32)
    side = len(grid.x.starts_px)
    chances = np.random.default_rng(0).random(len(grid))
    order = in_order(grid, np.arange(len(grid)), chances)
    assert sorted(order.tolist()) == list(range(len(grid)))
    first = order[:2000]
    likeliest = set(np.argsort(-chances)[: int((1 - EVEN) * 2000)].tolist())
    assert likeliest <= set(first.tolist())
    assert order[:9].tolist() == np.argsort(-chances)[:9].tolist(), "few windows are the likeliest, none of them blind"
    assert int(np.argmin(order)) < 11, "the first of the spread comes soon all the same"
    # what is spread leaves no wide gap: in each block of 14 x 14 windows at least one
    even = in_order(grid, np.arange(len(grid)), None)[:200]
    blocks = {(number // side // 14, number % side // 14) for number in even.tolist()}
    assert {(y, x) for y in range(side // 14) for x in range(side // 14)} <= blocks
    # of a part of the windows, the same share is spread
    part = np.arange(len(grid)).reshape(side, side)[20:40, 20:40].ravel()
    assert sorted(in_order(grid, part, chances).tolist()) == list(range(len(part)))
    lowest = set(np.argsort(chances[part])[:100].tolist())
    assert lowest & set(in_order(grid, part, chances)[:200].tolist())


def test_coarse_passes_come_first(scene: Path) -> None:
    result = predict_scene(scene, bright, ScenePlan(scales=(4.0,), **SETTINGS), limit=Limit(share=0.2))
    total = WINDOWS + 9
    assert result.windows_run + result.windows_glanced == int(0.2 * total)
    assert rows(result) == SQUARES.tolist()


@pytest.mark.parametrize("chances", [[0.5], [0.5] * 168 + [-1], "high", [None] * 169])
def test_a_look_that_no_run_notes_is_refused(scene: Path, tmp_path: Path, chances: Any) -> None:
    journal = tmp_path / "out.journal"
    predict_scene(scene, bright, ScenePlan(**SETTINGS), resume=ResumeFrom(journal), limit=Limit(share=0.1))
    head = journal.read_bytes().splitlines(keepends=True)[0]
    journal.write_bytes(head)
    Journal(journal, {}, "")._append({"chances": chances, "windows": 4, "cost": 4})
    with pytest.raises(UserError, match=r"out\.journal: damaged .*--restart"):
        predict_scene(scene, bright, ScenePlan(**SETTINGS), resume=ResumeFrom(journal), limit=Limit(share=0.1))


def test_a_look_is_read_back_as_it_was_noted(tmp_path: Path) -> None:
    written = Journal(tmp_path / "j", {"a": 1}, "now")
    written.append_glance(Glance(np.array([0.123456, 0.0]), 7, 1.75))
    again = Journal(tmp_path / "j", {"a": 1}, "later")
    assert list(again.read()) == []
    assert again.glance is not None
    assert (again.glance.chances.tolist(), again.glance.windows, again.glance.cost) == ([0.123456, 0.0], 7, 1.75)
