"""Rounds of learning: which commands they are, and what is left of one that fails or is stopped."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from fsod.errors import UserError
from fsod.files import sha256_of
from fsod.review.learning import Learning, Round, next_files, start_from
from fsod.review.session import Session, find_bank, find_scene
from fsod.store.checkpoint import SHIPPED, Checkpoint, KeptMarks, LearnedFrom, load_checkpoint, save_checkpoint
from fsod.store.class_bank import learned_bank, save_bank
from tests.review.made_review import LAYER, make_layer
from tests.untrained import make_bank


def a_round(folder: Path, bank: Path, scene: str, minutes: float = 10.0) -> Round:
    examples = folder / "found.gpkg"
    detector, found = next_files(examples)
    return Round(scene, bank, [examples], "detections", [], minutes, [], detector, found)


def wait(learning: Learning, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while learning.state == "running":
        assert time.monotonic() < end
        time.sleep(0.05)


def never(this: Round) -> None:
    raise AssertionError(this)


def test_training_goes_on_from_what_a_bank_has_kept(tmp_path: Path) -> None:
    shipped = load_checkpoint(SHIPPED)
    nothing = {"boxes_xyxy_px": [], "class_names": [], "refused_xyxy_px": [], "refused_names": [], "areas": ""}
    marks = KeptMarks(scene="s.tif", size_px=(9, 9), gsd_m=None, **nothing)
    known = LearnedFrom(origins={}, marks=[marks.model_dump()])
    made = Checkpoint(shipped.detector, shipped.size, shipped.class_names, "finetune", shipped.settings, known)
    save_checkpoint(tmp_path / "marked.safetensors", made, torch.float16)
    assert start_from(tmp_path / "marked.safetensors") == ["--from", str(tmp_path / "marked.safetensors")]
    bank = make_bank(tmp_path)
    assert start_from(bank) == ["--checkpoint", str(tmp_path / "weights.safetensors")]
    assert start_from(tmp_path / "weights.safetensors") == ["--checkpoint", str(tmp_path / "weights.safetensors")]
    save_bank(tmp_path / "own.safetensors", learned_bank(shipped), SHIPPED)
    assert start_from(tmp_path / "own.safetensors") == []
    with pytest.raises(UserError, match="cannot learn; name the bank that it was made of"):
        start_from(tmp_path / "bank.onnx")
    with pytest.raises(UserError, match="no such file"):
        start_from(tmp_path / "gone.safetensors")
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"its weights, .*weights.safetensors, are not there; put them back"):
        start_from(bank)


def test_names_of_a_round_are_nobody_elses(tmp_path: Path) -> None:
    layer = tmp_path / "found.v1.gpkg"
    layer.touch()
    assert [path.name for path in next_files(layer)] == ["found.v1-2.detector.safetensors", "found.v1-2.gpkg"]
    (tmp_path / "found.v1-2.png").touch()
    (tmp_path / ".found.v1-3.gpkg.fsod-lock").touch()
    detector, found = next_files(layer)
    assert (detector.name, found.name) == ("found.v1-4.detector.safetensors", "found.v1-4.gpkg")
    found.touch()
    assert next_files(found)[1].name == "found.v1-5.gpkg"
    date = tmp_path / "port-2024-05-01.gpkg"  # no round but a date: there is no port-2024-05.gpkg
    date.touch()
    assert next_files(date)[1].name == "port-2024-05-01-2.gpkg"


def test_commands_name_all_that_was_said(tmp_path: Path) -> None:
    bank = make_bank(tmp_path)
    area, layers = tmp_path / "a.geojson", [tmp_path / "one.gpkg", tmp_path / "two.gpkg"]
    this = Round(
        "s.tif", bank, layers, "d", [area], 0.5, ["--bands", "3,2,1"], tmp_path / "D.safetensors", tmp_path / "o.gpkg"
    )
    finetune, predict = this.commands().values()
    for option, value in {"--verdicts": layers[1], "--layer": "d", "--area": area, "--bands": "3,2,1"}.items():
        assert str(value) in finetune[finetune.index(option) :]
    assert predict[:4] == ["predict", "s.tif", "--bank", str(tmp_path / "D.safetensors")]
    assert predict[4:6] == ["--bands", "3,2,1"]


def test_a_round_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    make_layer(tmp_path / "found.gpkg", 2)
    bank, learning = make_bank(tmp_path), Learning()
    before = sorted(tmp_path.iterdir())
    learning.start(a_round(tmp_path, bank, str(tmp_path / "gone.tif")), never)
    wait(learning)
    assert learning.state == "failed"
    assert "gone.tif: cannot be opened as a raster" in learning.error
    assert not learning.error.startswith("fsod:")
    assert sorted(tmp_path.iterdir()) == before


def test_a_bank_beside_other_weights_learns_nothing(tmp_path: Path) -> None:
    make_layer(tmp_path / "found.gpkg", 2)
    (tmp_path / "other").mkdir()
    bank, learning = make_bank(tmp_path), Learning()
    make_bank(tmp_path / "other", seed=1).with_name("weights.safetensors").replace(tmp_path / "weights.safetensors")
    learning.start(a_round(tmp_path, bank, str(tmp_path / "scene.tif")), never)
    wait(learning)
    assert learning.state == "failed"
    assert "was made for other weights than weights.safetensors now holds" in learning.error


def test_a_round_that_is_stopped_ends_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    path = make_layer(tmp_path / "found.gpkg", 6)
    session = Session(path, None, make_bank(tmp_path))
    for feature in (1, 2, 3):
        session.layer.judge(feature, "yes")
    before = sorted(tmp_path.iterdir())
    session.learn(60, LAYER)
    with pytest.raises(UserError, match="running already"):
        session.learn(60, LAYER)
    end = time.monotonic() + 240
    while not list(tmp_path.glob("*.unfinished")):
        assert session.learning.state == "running", session.learning.error
        assert time.monotonic() < end
        time.sleep(0.1)
    process = session.learning._process
    assert process is not None
    session.learning.stop()
    wait(session.learning, 60)
    assert session.learning.state == "stopped"
    assert process.poll() is not None
    assert sorted(tmp_path.iterdir()) == before
    session.close()


def test_who_stops_a_round_that_is_being_taken_over_comes_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_layer(tmp_path / "found.gpkg", 2)
    this, learning = a_round(tmp_path, make_bank(tmp_path), str(tmp_path / "scene.tif")), Learning()
    monkeypatch.setattr(Round, "commands", lambda _: {"predict": ["--help"]})

    def taken_over(done: Round) -> None:
        done.found.touch()
        stopper.start()
        while not learning._stopping:
            time.sleep(0.01)

    stopper = threading.Thread(target=learning.stop)
    learning.start(this, taken_over)
    wait(learning)
    stopper.join()
    assert learning.state == "done"
    assert this.found.exists()


def test_what_is_drawn_while_a_round_runs_is_learned_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[tuple[Round, Callable[[Round], None]]] = []
    monkeypatch.setattr(Learning, "start", lambda _, this, then: rounds.append((this, then)))
    session = Session(make_layer(tmp_path / "found.gpkg", 3), None, bank := make_bank(tmp_path))
    session.layer.draw_area(np.array([[10.0, 10], [200, 10], [200, 100]]))
    session.learn(1, LAYER)
    first, then = rounds[0]
    areas = tmp_path / "found.areas.geojson"
    assert (list(first.verdicts), list(first.areas)) == ([], [areas])
    session.layer.draw_area(np.array([[300.0, 200], [500, 200], [500, 400]]))
    make_layer(first.found, 3)
    session.layer.judge(2, "no")
    assert session.not_learned() == []
    then(first)
    session.bank = tmp_path / "a bank.safetensors"
    (line,) = session.not_learned()
    command = shlex.split(line.rpartition("; ")[2])
    assert command[:4] == ["fsod", "finetune", "--from", str(session.bank)]
    told = dict(zip(command[4::2], command[5::2], strict=True))
    layer, scene = tmp_path / "found.gpkg", session.layer.scene.name
    out = str(tmp_path / "found-3.detector.safetensors")
    assert told == {"--verdicts": str(layer), "--area": str(areas), "--scene": scene, "--out": out}
    session.bank = bank  # instead of the detector that was not made
    session.layer.judge(1, "yes")
    session.learn(1, first.found.name)
    assert (list(rounds[1][0].verdicts), list(rounds[1][0].areas)) == ([layer, first.found], [areas])
    session.close()


def test_what_is_not_judged_cannot_be_learned(tmp_path: Path) -> None:
    session = Session(make_layer(tmp_path / "found.gpkg", 3), None, make_bank(tmp_path))
    with pytest.raises(UserError, match="nothing is judged yet"):
        session.learn(1, LAYER)
    (warning,) = session.warnings()
    assert "was not found with" in warning
    assert "a bank ba9876543210" in warning
    session.close()


def test_scene_and_bank_are_found_where_they_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = make_bank(tmp_path)
    folder = tmp_path / "layers"
    folder.mkdir()
    layer = make_layer(folder / "found.geojson", 2, bank_sha256=sha256_of(bank)[:12])
    monkeypatch.chdir(tmp_path)
    session = Session(layer, None, None)
    assert session.bank == Path("bank.safetensors")
    assert session.layer.scene.name == str(folder / "scene.tif")
    session.close()
    away = tmp_path / "away"
    away.mkdir()
    (folder / "scene.tif").rename(away / "scene.tif")
    header = {"learned_from": {"marks": [{"scene": str(away / "scene.tif")}]}}
    assert find_scene(layer, "scene.tif", header) == str(away / "scene.tif")
    with pytest.raises(UserError, match="name the raster with --scene"):
        find_scene(layer, "scene.tif", {})
    # what a layer says is a name, and leads into no other folder
    with pytest.raises(UserError, match="is neither beside it"):
        find_scene(layer, "../away/scene.tif", {})
    assert find_bank(layer, "") is None


SERVER = """
import sys
from fsod.review import learning
learning.FSOD = (sys.executable, "-P", "at_work.py")
learning.Learning()._say(["finetune"])
"""
AT_WORK = """
import os, time
from pathlib import Path
from fsod.cli.end_of_input import stop_at_end_of_input
stop_at_end_of_input()
Path("pid.part").write_text(str(os.getpid()))
Path("pid.part").rename("pid")
time.sleep(600)
"""


def test_a_server_that_is_killed_leaves_no_learning_behind(tmp_path: Path) -> None:
    (tmp_path / "at_work.py").write_text(AT_WORK)
    with subprocess.Popen([sys.executable, "-c", SERVER], cwd=tmp_path) as server:
        end = time.monotonic() + 120
        while not (tmp_path / "pid").exists():
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        learning = psutil.Process(int((tmp_path / "pid").read_text()))
        server.kill()
    learning.wait(60)
