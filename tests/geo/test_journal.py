"""A run that is killed goes on, and gives what an undisturbed one gives."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.journal import Finished, Journal, _line, _parse, lock_path
from fsod.geo.resume import ResumeFrom
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import SceneResult, predict_scene

MakeRaster = Callable[..., Path]

UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
SETTINGS: dict[str, Any] = {"window_px": 64, "overlap_px": 32, "batch": 3}
WEIGHTS: dict[str, Any] = {"weights": "a1", "score": 0.25}


def odd_boxes(images: NDArray[np.uint8]) -> list[Detections]:
    """Boxes with fractions that hang on the pixels of the window and on its place in the batch."""
    found = []
    for place, image in enumerate(images):
        random_ = np.random.default_rng([place, int(image.sum(dtype=np.int64))])
        starts = random_.uniform(0, 50, (9, 2))
        boxes = np.concatenate([starts, starts + random_.uniform(4, 30, (9, 2))], axis=1)
        found.append(Detections(boxes, random_.random(9, np.float32), random_.integers(0, 3, 9)))
    return found


def slow(images: NDArray[np.uint8]) -> list[Detections]:
    time.sleep(0.03)
    return odd_boxes(images)


def content(result: SceneResult) -> str:
    detections = result.detections
    arrays = (detections.boxes_xyxy_px, detections.scores, detections.class_ids)
    counts = (result.windows_run, result.windows_blank, result.damaged)
    parts = {status: part.wkt for status, part in result.area.parts_px.items()}
    return json.dumps([*(a.tolist() for a in arrays), *counts, parts])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 500, 700)).astype(np.uint8)
    pixels[:, 100:300, 50:400] = 0  # windows without pixels, in the middle, and others with some
    pixels[:, 350:450, 50:200] = 7  # windows that show nothing
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    shape = {"width": 700, "height": 500, "count": 3, "dtype": "uint8", "tiled": True, "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", blockxsize=128, blockysize=128, **shape, **UTM) as file:
        file.write(pixels)
    return path


@pytest.fixture(scope="module")
def whole(scene: Path) -> SceneResult:
    """What an undisturbed run gives."""
    return predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS))


def run_and_write(scene: Path, journal: Path, out: Path) -> None:
    out.write_text(content(predict_scene(scene, slow, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))))


def test_a_run_killed_at_random_moments_gives_the_same(scene: Path, whole: SceneResult, tmp_path: Path) -> None:
    assert len(whole.detections) > 300
    journal, out = tmp_path / "out.journal", tmp_path / "out.json"
    moments = random.Random(int(os.environ.get("FSOD_KILL_SEED", "3")))
    sizes = [0]
    for _ in range(4):
        process = multiprocessing.get_context("fork").Process(target=run_and_write, args=(scene, journal, out))
        process.start()
        while process.is_alive() and (not journal.exists() or journal.stat().st_size <= sizes[-1]):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.12))
        assert process.is_alive(), "it ended before it could be killed"
        process.kill()
        process.join()
        assert not out.exists()
        sizes.append(journal.stat().st_size)
    assert sizes == sorted(set(sizes))
    resumed = predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))
    assert 0 < resumed.windows_resumed < resumed.windows_run
    assert content(resumed) == content(whole)


def test_a_run_that_goes_on_began_when_it_began(scene: Path, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"
    interrupt(scene, journal, 2)
    head, _, rest = journal.read_bytes().partition(b"\n")
    started = json.loads(head)["started"]
    assert datetime.now(UTC) - datetime.fromisoformat(started) < timedelta(minutes=10)
    header = {key: value for key, value in json.loads(head).items() if key != "crc32"}
    journal.write_bytes(_line({**header, "started": "2026-01-02T03:04:05Z"}) + rest)
    assert (
        predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS)).started
        == "2026-01-02T03:04:05Z"
    )
    assert predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS)).started >= started


def interrupt_after(calls: int) -> Callable[[NDArray[np.uint8]], list[Detections]]:
    left = calls

    def detect(images: NDArray[np.uint8]) -> list[Detections]:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return odd_boxes(images)

    return detect


def interrupt(scene: Path, journal: Path, calls: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict_scene(scene, interrupt_after(calls), ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_torn_end_is_run_again(scene: Path, whole: SceneResult, tmp_path: Path, cut: int) -> None:
    journal = tmp_path / "out.journal"
    interrupt(scene, journal, 5)
    with journal.open("rb+") as file:
        file.truncate(journal.stat().st_size - cut)
    interrupt(scene, journal, 2)  # what it appends must stand on a line of its own
    resumed = predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))
    assert resumed.windows_resumed >= 6 * 3
    assert content(resumed) == content(whole)


def test_a_torn_header_is_a_new_beginning(scene: Path, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"
    interrupt(scene, journal, 1)
    for torn in (b"", journal.read_bytes()[:20]):
        journal.write_bytes(torn)
        resumed = predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))
        assert resumed.windows_resumed == 0
    assert (
        predict_scene(
            scene, interrupt_after(0), ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS)
        ).windows_resumed
        > 200
    )


def test_a_journal_of_another_run_is_refused(scene: Path, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"
    interrupt(scene, journal, 2)
    before = journal.read_bytes()

    def refused(match: str, detector: dict[str, Any] = WEIGHTS, **other: Any) -> None:
        with pytest.raises(UserError, match=match):
            predict_scene(scene, odd_boxes, ScenePlan(**{**SETTINGS, **other}), resume=ResumeFrom(journal, detector))

    refused("out.journal: belongs to an unfinished run that differs in window_px; .*--restart", window_px=96)
    refused("differs in gsd_m", gsd_m=1.0)
    refused("differs in pixels", bands=(3, 2, 1))
    refused("differs in weights, score", {"weights": "b2", "score": 0.5})
    os.utime(scene, (1, 1))
    refused("differs in scene")
    assert journal.read_bytes() == before
    journal.write_bytes(before.replace(b"fsod-journal-5", b"fsod-journal-4", 1))
    refused("another format, or is damaged; start over with --restart")
    journal.write_text('{"type": "FeatureCollection"}\n')
    refused("is not a journal; move it elsewhere")
    journal.write_text("my notes\nof the flight")
    refused("is not a journal; move it elsewhere")
    assert journal.read_text() == "my notes\nof the flight"


def test_batch_and_skipping_may_change(make_raster: MakeRaster, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 256, 256)).astype(np.uint8)
    path = make_raster(pixels, tiled=True, blockxsize=128, blockysize=128, **UTM)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 128 * 128 * 3)
    journal = tmp_path / "out.journal"
    with pytest.raises(UserError, match=r"damaged or cut short: pixels of columns \d+"):
        predict_scene(path, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal))
    result = predict_scene(
        path, odd_boxes, ScenePlan(skip_damaged=True, **{**SETTINGS, "batch": 1}), resume=ResumeFrom(journal)
    )
    assert result.windows_resumed == 8 * 3  # every whole batch before the damage
    assert (len(result.damaged), result.windows_run) == (16, 49 - 16)
    # damaged windows are not finished: without the permission it stops there again
    with pytest.raises(UserError, match="damaged or cut short"):
        predict_scene(path, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal))


def test_nothing_is_written_before_something_is_finished(tmp_path: Path, make_raster: MakeRaster) -> None:
    journal = tmp_path / "out.journal"
    with pytest.raises(UserError):
        predict_scene(tmp_path / "missing.tif", odd_boxes, resume=ResumeFrom(journal))
    interrupt(make_raster(np.random.default_rng(0).integers(0, 9, (3, 90, 90)).astype(np.uint8)), journal, 0)
    assert not journal.exists()


def test_numbers_come_back_bit_by_bit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a" / "out.journal", {"scene": "x"}, "2026-01-01T00:00:00Z")
    found = odd_boxes(np.ones((2, 64, 64, 3), np.uint8))
    journal.append(Finished({7: found[0], 5: Detections.empty()}, []))
    journal.append(Finished({1: found[1]}, [2, 3], missed=(0.1 + 0.2, 1)))
    first, second = journal.read()
    assert (first.missed, second.missed) == (None, (0.1 + 0.2, 1))
    assert list(first.found) == [7, 5]
    assert second.blank == [2, 3]
    assert len(first.found[5]) == 0
    for read, written in ((first.found[7], found[0]), (second.found[1], found[1])):
        for kind in ("boxes_xyxy_px", "scores", "class_ids"):
            np.testing.assert_array_equal(getattr(read, kind), getattr(written, kind))
            assert getattr(read, kind).dtype == getattr(written, kind).dtype


def test_starting_over_drops_no_journal_that_a_run_is_writing(scene: Path, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"
    interrupt(scene, journal, 2)
    before = journal.read_bytes()
    over = ResumeFrom(journal, restart=True)
    with (
        Journal(journal, {}, "").held(),
        pytest.raises(UserError, match="another run is writing it"),
    ):
        predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=over)
    assert journal.read_bytes() == before
    assert predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=over).windows_resumed == 0


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"out\.journal: cannot be written"),
        Journal(tmp_path / "file" / "out.journal", {}, "").held(),
    ):
        pass


@pytest.mark.parametrize(
    "entry",
    [
        {"found": None},
        {"found": [[True, [[0, 0, 1, 1]], [0.5], [0]]]},
        {"found": [], "blank": [True]},
        {"found": [[0, [[0, 0, 1, 1]], [0.5, 0.5], [0]]], "blank": []},
        {"found": [[0, [[0, 0, 1]], [0.5], [0]]], "blank": []},
        {"found": [[999, [], [], []]], "blank": []},
        {"found": [], "blank": [-1]},
        {"found": [], "blank": ["0"]},
        {"found": [[0, [[0, 0, 1, 1]], [0.5], [-1]]], "blank": []},
        {"found": [[0, [[0, 0, 1, 1]], [7], [0]]], "blank": []},
        {"found": [[0, [[0, 0, 1, 1]], [-0.5], [0]]], "blank": []},
        {"found": [[0, [[0, 0, 1, 1]], ["high"], [0]]], "blank": []},
        {"found": [[0, [[0, 0, 1, 1]], [float("nan")], [0]]], "blank": []},
        {"found": [[0, [[0, 0, float("inf"), 1]], [0.5], [0]]], "blank": []},
        {"found": [[0, [[0, 0, 1, 1]], [0.5], [10**30]]], "blank": []},
        {"found": 7, "blank": []},
    ],
)
def test_a_line_that_no_run_writes_is_refused(scene: Path, tmp_path: Path, entry: dict[str, Any]) -> None:
    journal = tmp_path / "out.journal"
    interrupt(scene, journal, 2)
    head, _, _ = journal.read_bytes().partition(b"\n")
    journal.write_bytes(head + b"\n" + _line({"blank": [], "nodata": [], "gaps": [], **entry}))
    with pytest.raises(UserError, match=r"out\.journal: damaged .*--restart"):
        predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))


@pytest.mark.parametrize("started", [7, None, ["x"], "x" * 10**5])
def test_a_beginning_that_is_no_time_is_a_short_text(scene: Path, tmp_path: Path, started: object) -> None:
    journal = tmp_path / "out.journal"
    interrupt(scene, journal, 2)
    head, _, rest = journal.read_bytes().partition(b"\n")
    header = _parse(head + b"\n")
    assert header is not None
    journal.write_bytes(_line({**header, "started": started}) + rest)
    result = predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))
    assert result.windows_resumed
    assert result.started == str(started)[:40]


def test_a_line_that_was_changed_is_run_again(scene: Path, whole: SceneResult, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"
    interrupt(scene, journal, 3)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) > 2
    changed = lines[-1].replace(b"0.", b"1.", 1)
    assert changed != lines[-1]
    journal.write_bytes(b"".join([*lines[:-1], changed]))
    resumed = predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))
    assert content(resumed) == content(whole)


def test_two_runs_do_not_share_a_journal(scene: Path, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"

    def second(images: NDArray[np.uint8]) -> list[Detections]:
        with pytest.raises(UserError, match="another run is writing it"):
            predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))
        return odd_boxes(images)

    predict_scene(scene, second, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))
    assert not lock_path(journal).exists()


def test_what_a_user_wrote_without_an_end_of_line_stays(scene: Path, tmp_path: Path) -> None:
    journal = tmp_path / "out.journal"
    journal.write_text("my notes of the flight")
    with pytest.raises(UserError, match="is where this run's journal goes, but is not a journal"):
        predict_scene(scene, odd_boxes, ScenePlan(**SETTINGS), resume=ResumeFrom(journal, WEIGHTS))
    assert journal.read_text() == "my notes of the flight"
