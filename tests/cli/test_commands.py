"""The road through the front door, on miniatures: every command as a user types it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from fsod.training import stage
from tests.command import fsod
from tests.forked import Forked


@pytest.fixture(scope="module")
def scene(place: Path) -> Path:
    """A GeoTIFF in UTM with one marked square in each of two classes, and a GeoJSON of them."""
    rgb = np.full((3, 200, 300), 90, np.uint8)
    rgb[:, 40:60, 50:70] = np.array([230, 40, 40])[:, None, None]
    rgb[:, 140:160, 200:220] = np.array([40, 230, 40])[:, None, None]
    rgb += np.random.default_rng(0).integers(0, 9, rgb.shape).astype(np.uint8)
    path = place / "scene.tif"
    transform = from_origin(500000, 5000000, 0.5, 0.5)
    with rasterio.open(path, "w", driver="GTiff", width=300, height=200, count=3, dtype="uint8",
                       crs="EPSG:32633", transform=transform) as file:  # fmt: skip
        file.write(rgb)
    features = []
    for name, (x, y) in {"red roof": (50, 40), "green roof": (200, 140)}.items():
        corners = [(x, y), (x + 20, y), (x + 20, y + 20), (x, y + 20), (x, y)]
        ring = [[500000 + 0.5 * cx, 5000000 - 0.5 * cy] for cx, cy in corners]
        features.append(
            {"type": "Feature", "properties": {"class": name}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        )
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    (place / "examples.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def test_help_is_quick_and_lists_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert fsod("--help") == 0
    shown = capsys.readouterr().out
    for step in ("data", "meta-train", "finetune", "evaluate", "enroll", "predict", "demo", "dashboard"):
        assert step in shown


def test_meta_train_again_does_nothing_and_other_settings_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fsod("meta-train", "--config", trained / "run.yaml") == 0
    said = capsys.readouterr()
    assert "already trained" in said.err
    assert said.out.endswith(f"\nnext: fsod finetune --config {trained / 'run.yaml'} --shots-k 10\n")
    assert fsod("meta-train", "--config", trained / "run.yaml", "meta_train.steps=9") == 2
    assert "meta-train.safetensors: was trained with other settings (meta_train.steps); give" in capsys.readouterr().err


def test_enroll_and_predict(trained: Path, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank, layer = trained / "bank.safetensors", trained / "found.geojson"
    status = fsod(
        "enroll", "--checkpoint", trained / "runs" / "mini" / "meta-train.safetensors", "--scene", scene,
        "--examples", trained / "examples.geojson", "--out", bank, "--json", trained / "enroll.json",
    )  # fmt: skip
    assert status == 0
    enrolled = json.loads((trained / "enroll.json").read_text())
    assert enrolled["examples"] == {"red roof": 1, "green roof": 1}
    assert enrolled["gsd_m"] == pytest.approx(0.5, rel=0.01)
    assert Path(enrolled["contact_sheet"]).is_file()
    status = fsod(
        "predict", scene, "--bank", bank, "--out", layer, "--score", "0.005", "--window-px", "128",
        "--overlap-px", "32", "--precision", "float32",
    )  # fmt: skip
    assert status == 0
    assert " float32, " in capsys.readouterr().err
    assert layer.with_suffix(".png").is_file()
    content = json.loads(layer.read_text())
    assert content["type"] == "FeatureCollection"
    assert layer.with_suffix(".qml").is_file()
    run = content["run"]
    assert (run["scene"], run["gsd_m"]) == (scene.name, enrolled["gsd_m"])
    assert run["bank"] == hashlib.sha256(bank.read_bytes()).hexdigest()[:12]
    assert datetime.now(UTC) - datetime.fromisoformat(run["time"]) < timedelta(minutes=10)
    if content["features"]:
        west, south, east, north = geopandas.read_file(layer).total_bounds
        assert 14.99 < west < east < 15.01
        assert 45.1 < south < north < 45.2


BAD = [
    (("meta-train", "--config", "nowhere.yaml"), "nowhere.yaml"),
    (("meta-train", "--config", "{place}/run.yaml", "meta_train.stepz=1"), "meta_train.steps"),
    (("data", "make", "--config", "{place}/run.yaml"), "--source"),
    (("data", "make", "--config", "{place}/run.yaml", "--source", "{place}/empty"), "empty"),
    (("data", "make", "--config", "{place}/run.yaml", "--source", "{place}/nwpu", "data.novel=[airplain]"), "airplane"),
    (("data", "prepare", "tfrecord", "a", "b"), "tfrecord"),
    (("finetune", "--config", "{place}/run.yaml", "--shots-k", "99"), "99 shots"),
    (("finetune", "--config", "{place}/run.yaml", "size=yolov7-tiny"), "size 'nano'"),
    (("finetune",), "--config of a run"),
    (("finetune", "--out", "a", "finetune.lr=1"), "only a run (--config) takes settings"),
    (("finetune", "--config", "{place}/run.yaml", "--scene", "a.tif", "--examples", "b"), "--scene goes with --out"),
    (("finetune", "--config", "{place}/run.yaml", "--steps", "5"), "--steps goes with --out"),
    (("evaluate",), "--checkpoint or --bank"),
    (("evaluate", "--config", "{place}/run.yaml", "--bank", "b"), "--bank goes with --data"),
    (("evaluate", "--config", "a", "--checkpoint", "b", "--data", "c"), "or --data and what is scored"),
    (("runs", "upload", "--database", "nowhere.db"), "MLFLOW_TRACKING_URI=http"),
    (("evaluate", "--checkpoint", "{place}/run.yaml", "--data", "{place}"), "run.yaml"),
    (("predict", "nowhere.tif", "--bank", "nowhere.bank", "--out", "a.geojson"), "nowhere.bank"),
    (
        ("predict", "nowhere.tif", "--bank", "nowhere.bank", "--out", "a.shp"),
        "known: .geojson, .gpkg, .fgb, .parquet, .json, .csv",
    ),
    (
        ("predict", "a.tif", "--bank", "b.onnx", "--out", "a.geojson", "--precision", "bfloat16"),
        "leave out --precision",
    ),
    (("enroll", "--checkpoint", "a", "--data", "b", "--scene", "c", "--out", "d"), "either --scene and --examples"),
    (
        ("enroll", "--checkpoint", "a", "--data", "b", "--shots", "c", "-k", "3", "--out", "d"),
        "--class (and -k, --seed)",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_a_mistake_is_one_clear_line(
    trained: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert fsod(*(argument.format(place=trained) for argument in arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.splitlines()[-1].startswith("fsod: ")
    assert "Traceback" not in error


def test_wrong_usage_is_status_2() -> None:
    assert fsod("meta-train") == 2
    assert fsod("fly") == 2


def test_a_killed_meta_training_goes_on(
    place: Path, trained: Path, migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after the first checkpoint; the second call starts from it and finishes."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(migrated, tmp_path / "mlflow.db")
    for name in ("data", "tiles"):
        (run / name).symlink_to(place / "runs" / "mini" / name)
    command = ["meta-train", "--config", str(place / "run.yaml"), f"run_dir={run}", "meta_train.steps=6"]
    save = stage._save

    def save_and_die(*arguments: Any) -> None:
        save(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    def meta_train_and_die() -> None:
        monkeypatch.setattr(stage, "_save", save_and_die)
        fsod(*command)

    assert Forked(meta_train_and_die).exit_code() == -signal.SIGKILL
    state = run / "meta-train.state.pt"
    assert not (run / "meta-train.safetensors").exists()
    assert torch.load(state, weights_only=True)["done"] == 2
    assert fsod(*command, "meta_train.steps=4") == 2  # these are other settings than the state's
    steps: list[int] = []
    update_ema = stage.update_ema

    def note(average: object, detector: object, decay: float, step: int) -> None:
        steps.append(step)
        update_ema(average, detector, decay, step)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "update_ema", note)
        assert fsod(*command) == 0
    assert steps == [2, 3, 4, 5]
    assert (run / "meta-train.safetensors").is_file()
    assert not state.exists()


def test_pretraining_takes_a_folder_of_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a folder: #1").mkdir()
    run = ["pretrain", "--config", "configs/photographs.yaml", f"run_dir={tmp_path}/run"]
    assert fsod(*run, "--grounds", tmp_path / "a folder: #1") == 2
    assert f"{tmp_path}/a folder: #1: has no photograph" in " ".join(capsys.readouterr().err.split())
    assert fsod(*run, f"grounds={tmp_path}/nowhere") == 2
    assert "nowhere: no such folder of photographs" in capsys.readouterr().err


LIBRARIES_TALK = """
import logging, sys, warnings
from fsod.cli import commands

def app(**_):
    warnings.warn("raw")
    logging.getLogger("rasterio._env").warning("raw")
    print("said")

commands.app = app
commands.main()
"""


def test_warnings_of_libraries_stay_off_the_screen() -> None:
    """Unless Python is told to show them."""
    quiet, told = (
        subprocess.run([sys.executable, *options, "-c", LIBRARIES_TALK], check=True, capture_output=True, text=True)
        for options in ((), ("-W", "always"))
    )
    assert (quiet.stdout, quiet.stderr) == ("said\n", "")
    assert "UserWarning: raw" in told.stderr
