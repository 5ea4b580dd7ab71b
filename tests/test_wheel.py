"""The wheel alone, outside the checkout: what `pip install fsod` gives, and what it says of what it does not give.

Packages come from this environment through a path file, so nothing is downloaded; those of the extras are hidden.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.labelled_scene import make_scene, save_labels

ROOT = Path(__file__).parents[1]
PARTS = ("fsod", "data_prep", "configs", "pyproject.toml", "README.md", "LICENSE")

HIDDEN = """
import os, sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in os.environ["HIDDEN"].split()
        return None if hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""
EXTRAS = (
    "albumentations",
    "mlflow",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pyarrow",
    "ray",
    "starlette",
    "uvicorn",
)

WITHOUT_EXTRAS = """
import sys
import fsod

detector = fsod.load()
detector = detector.enroll("port.tif", "examples.geojson", native=True)
found = detector.predict("port.tif", score=0.05)
assert len(found) and found.crs.to_epsg() == 32633, found
found.to_file("found.gpkg")
detector.save("ships.safetensors")
assert fsod.load("ships.safetensors").class_names == ("tank", "ship")
assert "site-packages" in fsod.__file__, fsod.__file__
assert not set(sys.modules) & {names!r}

from fsod.cli import main

for status, *arguments in (
    (0, "enroll", "--scene", "port.tif", "--examples", "examples.geojson", "--out", "typed.safetensors", "--native"),
    (0, "predict", "port.tif", "--bank", "typed.safetensors", "--out", "p.gpkg", "--score", "0.05"),
    (2, "dashboard"),
    (2, "finetune", "--scene", "port.tif", "--examples", "examples.geojson", "--out", "t.safetensors"),
    (2, "predict", "port.tif", "--bank", "ships.safetensors", "--out", "p.parquet"),
):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as done:
        assert (done.code or 0) == status, (done.code, arguments)
    else:
        assert status == 0, arguments
"""

DEMO_INFO_AND_EXPORT = """
import sys
import fsod
from fsod.cli import main
from fsod.config_file import load_settings
from fsod.steps.demo import CONFIG, scenes_outside_a_checkout
from fsod.training import finetune

finetune.REFINING = finetune.REFINING.model_copy(update={"steps": 3, "warmup_steps": 1})

scenes = load_settings(CONFIG, scenes_outside_a_checkout()).data.scenes
assert scenes.is_file() and scenes.is_absolute(), scenes
for arguments in (["demo", *sys.argv[1:]], ["info"]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as done:
        assert not done.code, done.code

detector = fsod.load("runs/demo/meta-train.safetensors")  # a finetuned one is four networks in a file
detector.export("found.onnx", window_px=64)
assert fsod.load("found.onnx").class_names == detector.class_names
"""

FEW_SCENES = """{seed: 1, train_images: 24, test_images: 2, image_px: 192, scene_px: 256, gsd_m: 1.0, crs: EPSG:32633,
origin_m: [500000.0, 5400000.0], classes: [ship, vehicle, wind_turbine], novel: [wind_turbine], novel_image_share: 0.6,
distractors: [helipad], objects_per_image: [5, 8], clutter_per_image: [1, 2]}"""

TINY_DEMO = (
    *("data.scenes=few.yaml", "data.novel=[wind_turbine]", "data.tile_px=192", "data.tile_overlap_px=32"),
    *("episodes.ways=2", "episodes.query_px=64", "episodes.support_px=64", "episodes.queries=1"),
    *("meta_train.steps=2", "meta_train.workers=0", "finetune.steps=2", "finetune.workers=0"),
    *("predict.window_px=256", "predict.overlap_px=96"),
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Python and folder of an environment with the wheel, and a folder to work in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True, capture_output=True
    )
    (wheel,) = folder.glob("fsod-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    (own,) = (folder / "env" / "lib").glob("python*/site-packages")
    subprocess.run(
        [*pip, "--python", python, "install", "--no-deps", "--no-index", "--ignore-installed", wheel], check=True
    )
    # a path alone: path files of this environment, such as that of an editable fsod, are not read
    (own / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (own / "hidden_extras.py").write_text(HIDDEN)
    (own / "hidden.pth").write_text("import hidden_extras\n")
    work = folder / "work"
    scene = make_scene(work / "port.tif")
    save_labels(work / "examples.geojson", scene)
    (work / "few.yaml").write_text(FEW_SCENES)
    return SimpleNamespace(python=python, work=work)


def run(installed: SimpleNamespace, hidden: Sequence[str], program: str, *arguments: str) -> str:
    """What a program says there, without some packages."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["HIDDEN"] = " ".join(hidden)
    command = [installed.python, "-c", program, *arguments]
    done = subprocess.run(command, cwd=installed.work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_without_extras_the_code_block_runs_and_what_is_missing_is_one_line(installed: SimpleNamespace) -> None:
    said = run(installed, EXTRAS, WITHOUT_EXTRAS.format(names=set(EXTRAS)))
    assert (installed.work / "p.gpkg").is_file()
    missing = [line for line in said.splitlines() if "pip install" in line]
    assert [line.partition("pip install ")[2] for line in missing] == [
        "'fsod[track]'",
        "'fsod[train]'",
        "'fsod[parquet]'",
    ]
    assert all(line.startswith("fsod: ") for line in missing)


def test_demo_info_and_export_run_outside_the_checkout_and_untracked_without_mlflow(installed: SimpleNamespace) -> None:
    told = run(installed, ["mlflow"], DEMO_INFO_AND_EXPORT, *TINY_DEMO)
    summary = json.loads((installed.work / "runs/demo/summary.json").read_text())
    assert (installed.work / summary["geojson"]).is_file()
    marks = json.loads((installed.work / summary["marks"]).read_text())["features"]
    assert {tuple(mark["properties"].items()) for mark in marks} == {(("class", "wind_turbine"),)}
    assert "not tracked, as MLflow is not installed: pip install 'fsod[track]'" in told
    assert "needed: complete" in told
    assert "extra track: complete" in told
