"""`fsod predict --engine ray` on a cluster of two workers on this machine, against the plain engine."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.scene_prediction import predict_scene
from fsod.geo.search import Detect
from fsod.inference import ray_cluster
from fsod.steps.searcher import to_take_along
from tests.command import fsod
from tests.predicted_scenes import SMALL, interrupt_after, make_scene, predict, timeless
from tests.untrained import make_bank

if find_spec("ray") is None:  # not imported here: fsod sets what Ray shall read first
    pytest.skip("the tests of --engine ray need ray: pip install 'fsod[ray]'", allow_module_level=True)


def no_detector(images: np.ndarray) -> list[Detections]:
    raise AssertionError("nobody is to look at windows here")


def nothing() -> Detect:
    return no_detector


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Started once, by fsod's own hand; every command of this process joins it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr(ray_cluster, "WORKERS_HERE", 2)
        with ray_cluster.ray_cluster(nothing):
            yield


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As workers have: sums in another order differ in their last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def deadly(patch: pytest.MonkeyPatch, is_time: Callable[[], bool]) -> None:
    """Has workers die at a batch of windows, as if they were out of memory, whenever it is time."""
    take_along = to_take_along

    def take_death_along(*arguments: Any) -> Callable[[], Detect]:
        make = take_along(*arguments)

        def make_deadly() -> Detect:
            detect = make()

            def detect_or_die(images: np.ndarray) -> list[Detections]:
                if is_time():
                    os.kill(os.getpid(), signal.SIGKILL)
                return detect(images)

            return detect_or_die

        return make_deadly

    patch.setattr("fsod.steps.predict_scenes.to_take_along", take_death_along)


def test_many_scenes_are_as_without_ray_though_a_worker_is_killed(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "RANGE_BATCHES", 4)
    scenes = [make_scene(tmp_path / "in" / f"{n}.tif", seed=n, size=128) for n in range(9)]
    scenes.append(make_scene(tmp_path / "in" / "large.tif", seed=9, size=416))  # 36 windows, three tasks
    plain = predict(bank, tmp_path / "plain" / "{scene}.geojson", *scenes)
    batches, killed = tmp_path / "batches", tmp_path / "killed"

    def at_the_ninth_batch() -> bool:
        with batches.open("a") as file:
            file.write(".")
        if batches.stat().st_size < 9 or killed.exists():
            return False
        killed.touch()
        return True

    deadly(monkeypatch, at_the_ninth_batch)
    (tmp_path / "ray").mkdir()
    spread = predict(bank, tmp_path / "ray" / "{scene}.geojson", *scenes, "--engine", "ray")
    assert killed.exists()
    assert spread["machine"] == "Ray, 2 workers, float32"
    assert (spread["failed"], spread["found"]) == ({}, plain["found"])
    assert sum(plain["found"].values()) > 1000
    for scene in scenes:
        first, second = (tmp_path / folder / f"{scene.stem}.geojson" for folder in ("plain", "ray"))
        assert timeless(first) == timeless(second)
        assert first.with_suffix(".png").read_bytes() == second.with_suffix(".png").read_bytes()
    assert list(tmp_path.rglob("*.journal")) == []


def test_a_scene_that_kills_every_worker_is_given_up_and_named(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_cluster, "RETRIES", 0)
    deadly(monkeypatch, lambda: True)
    scene, out = make_scene(tmp_path / "s.tif", size=128), tmp_path / "o.geojson"
    assert fsod("predict", scene, "--bank", bank, "--out", out, *SMALL, "--engine", "ray") == 2
    assert re.search(
        r"^fsod: .*s.tif: windows 0 to 3 were given up after 1 attempts, as the worker was lost each time",
        capsys.readouterr().err,
        re.MULTILINE,
    )
    assert not out.exists()


def test_whatever_ends_one_scene_on_a_worker_ends_that_scene_only(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = [make_scene(tmp_path / "in" / f"{number}.tif", seed=number, size=128) for number in range(3)]
    take_along, out = to_take_along, tmp_path / "found"

    def take_error_along(*arguments: Any) -> Callable[[], Detect]:
        make = take_along(*arguments)

        def make_failing() -> Detect:
            detect = make()

            def detect_or_fail(images: np.ndarray) -> list[Detections]:
                if images[0].min() > 250:
                    raise ZeroDivisionError("of the worker")
                return detect(images)

            return detect_or_fail

        return make_failing

    with rasterio.open(scenes[1], "r+") as file:
        file.write(np.full((3, 128, 128), 255, np.uint8) - np.eye(128, dtype=np.uint8))
    command = ("predict", f"{tmp_path}/in/*.tif", "--bank", bank, "--out", out, *SMALL, "--engine", "ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fsod.steps.predict_scenes.to_take_along", take_error_along)
        assert fsod(*command) == 2
    said = capsys.readouterr().err
    told = [line for line in said.splitlines() if line.startswith("failed: ")]
    assert len(told) == 1
    assert re.match(
        r"failed: .*1.tif: cannot be searched, because of an unexpected error: .*ZeroDivisionError", told[0]
    )
    assert re.search(r"^fsod: 1 of 3 scenes failed: .*1.tif$", said, re.MULTILINE)
    assert "Traceback" not in said
    assert sorted(path.name for path in out.glob("?.geojson")) == ["0.geojson", "2.geojson"]
    assert fsod(*command) == 0
    assert len(list(out.glob("?.geojson"))) == 3


def test_what_another_engine_has_begun_is_finished(bank: Path, tmp_path: Path) -> None:
    scene, whole, out = make_scene(tmp_path / "s.tif"), tmp_path / "whole.geojson", tmp_path / "out.geojson"
    predict(bank, whole, scene)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 4)
        fsod("predict", scene, "--bank", bank, "--out", out, *SMALL)
    assert predict(bank, out, scene, "--engine", "ray")["windows_resumed"] == 3 * 4
    assert timeless(out) == timeless(whole)
    assert timeless(out.with_suffix(".searched.geojson")) == timeless(whole.with_suffix(".searched.geojson"))


def test_a_part_of_the_windows_is_the_same_part(bank: Path, tmp_path: Path) -> None:
    scene, here, out = make_scene(tmp_path / "s.tif"), tmp_path / "here.geojson", tmp_path / "out.geojson"
    plain = predict(bank, here, scene, "--budget", "0.5")
    part = predict(bank, out, scene, "--budget", "0.5", "--engine", "ray")
    assert part["windows_left"] == plain["windows_left"] > 0
    assert timeless(out) == timeless(here)
    assert timeless(out.with_suffix(".searched.geojson")) == timeless(here.with_suffix(".searched.geojson"))
    assert predict(bank, out, scene, "--minutes", "10", "--engine", "ray")["windows_left"] == 0


def test_damage_is_named_and_may_be_skipped(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, plain, out = make_scene(tmp_path / "s.tif"), tmp_path / "plain.geojson", tmp_path / "out.geojson"
    with scene.open("r+b") as file:
        file.truncate(scene.stat().st_size - 3 * 64 * 64)
    command = ("predict", scene, "--bank", bank, "--out", out, *SMALL, "--engine", "ray")
    assert fsod(*command) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"fsod: .*s.tif: damaged or cut short: pixels of columns \d+ to \d+, rows \d+ to \d+", last)
    assert (
        predict(bank, plain, scene, "--skip-damaged")["damaged"]
        == (predict(bank, out, scene, "--skip-damaged", "--engine", "ray")["damaged"])
    )
    assert timeless(out) == timeless(plain)
    assert timeless(out.with_suffix(".searched.geojson")) == timeless(plain.with_suffix(".searched.geojson"))
    assert len(geopandas.read_file(out)) > 0


def test_a_worker_that_cannot_see_the_scene_says_what_it_takes(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "s.tif", size=128)
    with (
        ray_cluster.ray_cluster(nothing) as joined,
        pytest.raises(UserError, match=r"on the worker .*shared folder") as told,
    ):
        predict_scene(scene, no_detector, on_open=lambda *_: scene.unlink(), search=joined.search)
    assert "\n" not in str(told.value)


def test_nobody_else_can_reach_the_cluster() -> None:
    import ray

    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]


def test_without_ray_the_command_says_what_to_install(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    scene = make_scene(tmp_path / "s.tif", size=96)
    assert fsod("predict", scene, "--bank", bank, "--out", tmp_path / "o.csv", *SMALL, "--engine", "ray") == 2
    assert "pip install 'fsod[ray]'" in capsys.readouterr().err
