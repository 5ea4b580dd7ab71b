"""`fsod predict` that is killed, fails or has no room: nothing is lost, and the same command goes on."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pytest
from affine import TransformNotInvertibleError

from fsod.config import PredictSettings
from fsod.errors import UserError
from fsod.geo.journal import Journal
from fsod.geo.scene import Scene
from fsod.geo.windows import Window
from fsod.steps.scene_search import search_scene
from fsod.steps.searcher import load_searcher
from tests.command import fsod
from tests.forked import Forked
from tests.little_room import files_up_to
from tests.predicted_scenes import SMALL, interrupt_after, make_scene, predict, timeless
from tests.untrained import make_bank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bank(tmp_path_factory.mktemp("bank"))


def test_a_killed_command_goes_on_and_writes_the_same(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene(tmp_path / "s.tif")
    whole, out = tmp_path / "whole.geojson", tmp_path / "out.geojson"
    assert predict(bank, whole, scene)["windows_resumed"] == 0
    append, left = Journal.append, iter(range(2))

    def append_and_die(self: Journal, finished: Any) -> None:
        append(self, finished)
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def predict_and_die() -> None:
        monkeypatch.setattr(Journal, "append", append_and_die)
        fsod("predict", scene, "--bank", bank, "--out", out, *SMALL)

    assert Forked(predict_and_die).exit_code() == -signal.SIGKILL  # after the third batch
    assert not out.exists()
    started = json.loads((tmp_path / "out.geojson.journal").read_text().partition("\n")[0])["started"]
    resumed = predict(bank, out, scene)
    assert set(geopandas.read_file(out)["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")) == {started}
    assert (resumed["windows_resumed"], resumed["windows_run"]) == (3 * 4, 25)
    assert timeless(out) == timeless(whole)
    assert timeless(out.with_suffix(".searched.geojson")) == timeless(whole.with_suffix(".searched.geojson"))
    assert list(tmp_path.glob("*.journal")) == []


def test_other_settings_than_the_journals_need_a_word(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, out = make_scene(tmp_path / "s.tif"), tmp_path / "out.geojson"
    command = ("predict", scene, "--bank", bank, "--out", out, *SMALL)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 3)
        fsod(*command)
    assert (tmp_path / "out.geojson.journal").exists()
    assert not out.exists()
    assert fsod(*command, "--score", "0.5") == 2
    assert "belongs to an unfinished run that differs in score; repeat that run's options" in capsys.readouterr().err
    assert fsod(*command, "--turns") == 2
    assert "belongs to an unfinished run that differs in turns" in capsys.readouterr().err
    assert predict(bank, out, scene, "--batch", "3")["windows_resumed"] == 2 * 4
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 3)
        fsod(*command)
    assert predict(bank, out, scene, "--score", "0.5", "--restart")["windows_resumed"] == 0


def test_a_bad_scene_does_not_lose_the_others(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        make_scene(tmp_path / "in" / f"{number}.tif", seed=number, size=128)
    (tmp_path / "in" / "1.tif").write_text("not a raster")
    found, report = tmp_path / "found", tmp_path / "report.json"
    pattern = f"{tmp_path}/in/*.tif"
    assert fsod("predict", pattern, "gone.tif", "--bank", bank, "--out", found, *SMALL, "--json", report) == 2
    assert sorted(path.name for path in found.glob("?.geojson")) == ["0.geojson", "2.geojson"]
    errors = capsys.readouterr().err
    assert len(re.findall(r"^failed: .*1.tif: cannot be opened as a raster", errors, re.MULTILINE)) == 1
    assert len(re.findall(r"^failed: gone.tif: ", errors, re.MULTILINE)) == 1
    assert re.search(r"^fsod: 2 of 4 scenes failed: .*1.tif, gone.tif$", errors, re.MULTILINE)
    sums = json.loads(report.read_text())
    assert list(sums["failed"]) == [f"{tmp_path}/in/1.tif", "gone.tif"]
    assert list(sums["layers"].values()) == [f"{found}/0.geojson", f"{found}/2.geojson"]
    layers = [geopandas.read_file(path) for path in sums["layers"].values()]
    assert [set(layer["scene"]) for layer in layers] == [{"0.tif"}, {"2.tif"}]
    assert sum(sums["found"].values()) == sum(map(len, layers)) > 0
    make_scene(tmp_path / "in" / "1.tif", seed=1, size=128)
    assert fsod("predict", pattern, "--bank", bank, "--out", found, *SMALL, "--json", report) == 0
    again = json.loads(report.read_text())
    assert again["windows_resumed"] == sums["windows_run"] + sums["windows_blank"]
    assert again["windows_run"] + again["windows_blank"] == again["windows_resumed"] * 3 // 2
    assert list(found.glob("*.journal")) == []


UNKNOWN = (
    RuntimeError("first line\nsecond line"),
    TransformNotInvertibleError("no way back"),
    ZeroDivisionError(),
    MemoryError("18 TiB"),
    KeyError("\x1b[2Jband"),
    AssertionError(),
)
"""What nobody foresaw, of a library or of fsod's own."""


def fail_at(patch: pytest.MonkeyPatch, what: Exception, scene: str, window: int) -> None:
    """Has the reading of one scene's pixels fail at a window, of three in a row."""
    read = Scene.read_window

    def read_or_fail(self: Scene, at: Window) -> Any:
        if self.name.endswith(scene) and at.xyxy_px[:2] == (64 * (window % 3), 64 * (window // 3)):
            raise what
        return read(self, at)

    patch.setattr(Scene, "read_window", read_or_fail)


@pytest.fixture(scope="module")
def undisturbed(bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer of scene 1 alone."""
    out = tmp_path_factory.mktemp("undisturbed") / "whole.geojson"
    assert predict(bank, out, make_scene(out.with_name("1.tif"), seed=1, size=224))["found"]
    return out


@pytest.mark.parametrize("what", UNKNOWN, ids=lambda error: type(error).__name__)
def test_whatever_ends_one_scene_ends_that_scene_only(
    bank: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: Exception
) -> None:
    """One line and the status of any bad scene; what was seen of it before is not looked at again."""
    scenes = [
        make_scene(tmp_path / f"{n}.tif", seed=n, size=224 if n == 1 else 96) for n in range(3)
    ]  # 1, 9, 1 windows
    out, report = tmp_path / "found" / "{scene}.geojson", tmp_path / "report.json"
    out.parent.mkdir()
    command = ("predict", *scenes, "--bank", bank, "--out", out, *SMALL, "--json", report)
    with pytest.MonkeyPatch.context() as patch:
        fail_at(patch, what, "1.tif", 8)
        assert fsod(*command) == 2
        said = capsys.readouterr().err
        expected = "failed: .*1.tif: cannot be searched, because of an unexpected error: " + type(what).__name__
        assert len(re.findall(rf"^{expected}.*$", said, re.MULTILINE)) == 1
        assert re.search(r"^fsod: 1 of 3 scenes failed: .*1.tif$", said, re.MULTILINE)
        assert "Traceback" not in said
        assert "second line" not in [line.strip() for line in said.splitlines()]
        assert "\x1b[2J" not in said
        assert sorted(path.name for path in out.parent.glob("?.geojson")) == ["0.geojson", "2.geojson"]
        alone = ("predict", scenes[1], "--bank", bank, "--out", tmp_path / "alone.geojson", *SMALL)
        assert fsod(*alone) == 2
        assert re.match(f"fsod: .*1.tif: .*: {type(what).__name__}", capsys.readouterr().err.splitlines()[-1])
    assert fsod(*command) == 0
    sums = json.loads(report.read_text())
    assert 2 * 1 < sums["windows_resumed"] < 2 * 1 + 9, "the journal of the bad scene counts as well"
    assert timeless(out.with_name("1.geojson")) == timeless(undisturbed)


def test_an_interrupted_command_does_no_scene_twice(bank: Path, tmp_path: Path) -> None:
    scenes = [make_scene(tmp_path / f"{number}.tif", seed=number) for number in range(2)]
    (tmp_path / "list.txt").write_text("".join(f"{scene}\n" for scene in scenes))
    whole = predict(bank, tmp_path / "whole" / "{scene}.geojson", *scenes)
    pattern = tmp_path / "found" / "{scene}.geojson"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 9)  # warm-up, the 7 batches of the first scene's 25 windows, one of the second's
        fsod("predict", *scenes, "--bank", bank, "--out", pattern, *SMALL)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 7)  # warm-up and the rest
        again = predict(bank, pattern, tmp_path / "list.txt")
    assert again["windows_resumed"] == 25 + 4
    assert again["found"] == whole["found"]
    for number in range(2):
        first, second = (tmp_path / folder / f"{number}.geojson" for folder in ("whole", "found"))
        assert timeless(first) == timeless(second)
    assert list(tmp_path.rglob("*.journal")) == []


def test_a_full_disk_leaves_no_half_file_and_loses_nothing(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, whole, out = make_scene(tmp_path / "s.tif"), tmp_path / "whole.geojson", tmp_path / "out.geojson"
    predict(bank, whole, scene)
    size = whole.stat().st_size
    journal = "out.geojson.journal"
    for room, full, left in ((size // 10, journal, {journal}), (size - 1, "out.geojson", {journal})):
        with files_up_to(room):
            assert fsod("predict", scene, "--bank", bank, "--out", out, *SMALL) == 2
        assert f"{full}: cannot be written (File too large)" in capsys.readouterr().err.splitlines()[-1]
        assert {path.name for path in tmp_path.glob("out*")} == left
    assert predict(bank, out, scene)["windows_resumed"] == 25
    assert timeless(out) == timeless(whole)
    assert list(tmp_path.glob("*.journal")) == []


def test_a_class_that_the_bank_does_not_have_is_one_line(bank: Path, tmp_path: Path) -> None:
    """As a journal may hold it that was written by hand; before any window is searched."""
    plan = PredictSettings(window_px=96, overlap_px=32, score=0.0)
    searcher = load_searcher(bank, None, plan)
    scene, journal = make_scene(tmp_path / "s.tif"), tmp_path / "s.journal"
    assert set(search_scene(str(scene), searcher, plan, journal=journal).detections.class_ids.tolist()) == {0, 1}
    *lines, _ = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines))
    searched: list[int] = []

    with pytest.raises(UserError, match=r"s\.journal: damaged \(it holds class 1, and there are 1\); .* --restart"):
        search_scene(
            str(scene),
            replace(searcher, class_names=searcher.class_names[:1]),
            plan,
            journal=journal,
            on_progress=lambda done, _: searched.append(done),
        )
    assert not searched
