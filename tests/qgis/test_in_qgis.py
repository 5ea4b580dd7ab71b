"""The plugin inside QGIS: its algorithms with layers of every kind, and its dock. Skipped where QGIS is not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.transform import from_origin
from safetensors.numpy import save_file

from experiments.qgis_pictures.fresh_profile import fresh_profile
from fsod.geo.qgis_style import write_style
from fsod.qgis.find_fsod import VARIABLE
from fsod.qgis.plugin_archive import write_archive
from tests.command import fsod

HERE = Path(__file__).parent
PYTHON = "/usr/bin/python3"
"""Of Debian, which its QGIS is made for."""

PROCESS = "qgis_process.bin"
"""Debian's qgis_process itself; the script around it passes an option that it does not know."""

WALL_S = 200


def has_qgis() -> bool:
    return subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False).returncode == 0


def environment(**more: str) -> dict[str, str]:
    """Nothing of the Python that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**kept, "QT_QPA_PLATFORM": "offscreen", **more}


@pytest.fixture(scope="module")
def did(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened in one session of QGIS, see ``session``; fsod is a stand-in that notes what it is given."""
    if not Path(PYTHON).exists() or not has_qgis():
        pytest.skip("QGIS is not installed (apt-get install qgis python3-qgis)")
    folder = tmp_path_factory.mktemp("qgis")
    rgb = np.random.default_rng(0).integers(70, 110, (3, 128, 128)).astype(np.uint8)
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", width=128, height=128, count=3, dtype="uint8", **place
    ) as file:
        file.write(rgb)
    Image.fromarray(rgb.transpose(1, 2, 0)).save(folder / "picture.png")
    with ZipFile(folder / "scene.zip", "w") as packed:
        packed.write(folder / "scene.tif", "scene.tif")
    boxes = [shapely.box(500_010 + x, 4_999_960, 500_015 + x, 4_999_965) for x in (0, 15, 30)]
    table = {"class": ["ship"] * 3, "score": [0.9, 0.5, 0.4], "verdict": [""] * 3, "ask": [3, 1, 2]}
    geopandas.GeoDataFrame(table, geometry=boxes, crs="EPSG:32633").to_file(folder / "detections.gpkg")
    checkbox = {**table, "verdict": pd.array([None] * 3, dtype="boolean")}
    geopandas.GeoDataFrame(checkbox, geometry=boxes, crs="EPSG:32633").to_file(folder / "checkbox.gpkg")
    for name in ("detections", "ships 2026"):
        geopandas.read_file(folder / "detections.gpkg").to_file(folder / "several.gpkg", layer=name)
    write_style(folder / "found.qml", {"ship": (255, 0, 0)})
    marks = {"learned_from": {"marks": [{"scene": "scene.tif"}]}}
    save_file({"a": np.zeros(1)}, folder / "old.safetensors", {"fsod": json.dumps(marks)})
    executable = folder / "fsod"
    executable.write_text(f"#!{sys.executable} -S\n{(HERE / 'fake_fsod.py').read_text()}")
    executable.chmod(0o755)
    write_archive(folder / "plugin.zip", executable)
    fresh_profile(folder / "plugin.zip", folder / "profiles")
    command: list[str | Path] = [PYTHON, HERE / "session.py", folder]
    told = environment(QGIS_CUSTOM_CONFIG_PATH=str(folder / "profiles"))
    done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=WALL_S, check=False)
    assert (folder / "did.json").is_file(), done.stderr
    return dict(json.loads((folder / "did.json").read_text()))


def test_the_provider_has_its_algorithms(did: dict[str, Any]) -> None:
    assert did["provider"] == ["fsod:enroll", "fsod:find", "fsod:findmany", "fsod:finetune", "fsod:report"]


def test_a_layer_in_memory_with_unsaved_edits_in_another_crs(did: dict[str, Any]) -> None:
    memory = did["memory"]
    assert (memory["crs"], memory["rows"]) == ("EPSG:3035", [["ship"], ["ship"]])
    arguments = memory["arguments"]
    assert arguments[0] == "enroll"
    assert arguments[arguments.index("--attribute") + 1] == "kind"


def test_a_layer_that_qgis_holds_open_and_a_raster_in_an_archive(did: dict[str, Any]) -> None:
    held = did["write_ahead"]
    assert held["held"], "the rows are not in the file itself"
    assert [row[1] for row in held["rows"]] == ["yes"] * 3
    scene = held["arguments"][held["arguments"].index("--scene") + 1]
    assert scene.startswith("/vsizip/")
    assert "--minutes=0.5" in held["arguments"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("table", "layer 'prices': is a table without geometry; choose a layer of polygons"),
        ("attribute", "layer 'parcels': has no attribute 'class'; it has name"),
        ("nothing", "nothing to learn from: choose a layer of examples"),
        ("scene", "/gone/scene.tif is not there"),
        ("fsod", "fsod was not found: the setting of the plugin says '/gone/fsod'"),
    ],
)
def test_nonsense_says_what_to_do(did: dict[str, Any], what: str, said: str) -> None:
    assert said in did["nonsense"][what]
    assert did["nonsense"]["able"] is False


def test_what_is_found_is_loaded_with_its_style(did: dict[str, Any]) -> None:
    finding = did["finding"]
    assert (finding["found"], finding["name"], finding["style"]) == (3, "found", "categorizedSymbol")
    assert finding["remembered"]["SCORE"] == 0.25
    assert {"--aoi", "--score=0.25"} <= set(finding["arguments"])
    assert (finding["crs"], len(finding["rows"])) == ("EPSG:32633", 1)


def test_what_is_drawn_into_a_layer_is_seen_whatever_its_class(did: dict[str, Any]) -> None:
    """QGIS shows nothing of a value that the style does not have."""
    drawn = did["finding"]["drawn"]
    assert drawn == [["#ff0000", "ship 0.50"], ["#ffffff", "boat"], ["#ffffff", ""]], drawn


def test_layers_of_pictures_have_no_coordinate_system_from_the_start(did: dict[str, Any]) -> None:
    assert did["finding_on_a_picture"] == {"placed": ["", ""], "names": ["picture: detections"] * 2}


def test_cancelling_stops_the_program(did: dict[str, Any]) -> None:
    assert did["cancelling"] == {"result": {}, "state": "stopped"}


def test_keys_judge_in_the_order_of_ask_and_the_map_goes_along(did: dict[str, Any]) -> None:
    judging = did["judging"]
    assert judging["shown"] == [[1, True], [2, True], [3, True], [3, True], [2, True]], judging
    assert judging["verdicts"] == {"1": "yes", "2": "no", "3": ""}
    assert judging["counts"] == [1, 1, 3]
    assert judging["text"] == "2 of 3 judged: 1 yes, 1 no"


def test_verdicts_in_a_checkbox_are_what_was_said(did: dict[str, Any]) -> None:
    assert did["judging_in_a_checkbox"] == {"1": "True", "2": "False", "3": "NULL"}


def test_an_object_that_somebody_draws_meanwhile_has_no_score(did: dict[str, Any]) -> None:
    drawing = did["drawing"]
    said = ["No. 3: ship, score 0.90, not judged", "No. 4: no class, drawn, not judged"]
    assert drawing["shown"] == [*said, said[0]], drawing
    assert (drawing["counts"], drawing["after"]) == ([2, 1, 4], 3)


def test_learning_finds_anew_and_judges_that(did: dict[str, Any]) -> None:
    learning = did["learning"]
    assert learning["layer"] == "judged_2", learning
    assert learning["files"] == ["judged_2.gpkg", "old_2.safetensors"]
    assert "3 detections" in learning["status"]
    bank = learning["arguments"][learning["arguments"].index("--bank") + 1]
    assert Path(bank).name == "old_2.safetensors"


def test_a_report_is_of_the_layer_that_was_chosen(did: dict[str, Any]) -> None:
    reporting = did["reporting"]
    assert reporting["several.gpkg"] == ["--layer", "ships 2026"], reporting
    assert reporting["detections.gpkg"][0] == "--out"


TANKS_XYXY_PX = ((70, 40, 131, 109), (225, 46, 286, 117), (361, 99, 420, 168), (640, 195, 698, 265))


def test_qgis_process_finds_what_the_command_line_finds(tmp_path: Path, shared: Path) -> None:
    if shutil.which(PROCESS) is None:
        pytest.skip(f"QGIS is not installed ({PROCESS})")
    scene = (shared / "data" / "geotiff" / "oil_tanks_3857_rgba.tif").absolute()
    with rasterio.open(scene) as file:
        corners = [(file.xy(y2, x1, offset="ul"), file.xy(y1, x2, offset="ul")) for x1, y1, x2, y2 in TANKS_XYXY_PX]
        boxes = [shapely.box(*low, *high) for low, high in corners]
        examples = geopandas.GeoDataFrame({"class": ["tank"] * 4}, geometry=boxes, crs=file.crs)
    examples.to_file(tmp_path / "examples.gpkg")
    executable = tmp_path / "fsod"
    repository = HERE.parent.parent
    executable.write_text(f'#!/bin/sh\nPYTHONPATH="{repository}" exec "{sys.executable}" -m fsod "$@"\n')
    executable.chmod(0o755)
    write_archive(tmp_path / "plugin.zip", None)
    profiles = fresh_profile(tmp_path / "plugin.zip", tmp_path / "profiles")
    told = environment(QGIS_CUSTOM_CONFIG_PATH=str(profiles), **{VARIABLE: str(executable)})

    def process(algorithm: str, **parameters: object) -> None:
        given = [f"{name}={value}" for name, value in parameters.items()]
        command = [PROCESS, "run", algorithm, "--", *given]
        done = subprocess.run(
            command, env=told, cwd=tmp_path, capture_output=True, text=True, timeout=WALL_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    bank, found = tmp_path / "bank.safetensors", tmp_path / "found.gpkg"
    process("fsod:enroll", SCENES=scene, EXAMPLES=tmp_path / "examples.gpkg", OUTPUT=bank)
    process("fsod:find", INPUT=scene, BANK=bank, OUTPUT=found)
    assert fsod("predict", scene, "--bank", bank, "--out", tmp_path / "typed.gpkg") == 0
    ours, typed = (geopandas.read_file(path).drop(columns="time") for path in (found, tmp_path / "typed.gpkg"))
    assert len(ours) > 5
    assert ours.equals(typed)
    assert found.with_suffix(".qml").is_file()
