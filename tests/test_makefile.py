"""The front door: what make would run, and how it installs, with a Python that only writes down what it is asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = [
    "help",
    "install",
    "demo",
    "data",
    "pretrain",
    "meta-train",
    "finetune",
    "evaluate",
    "enroll",
    "predict",
    "dashboard",
    "bench-model",
    "bench-scenes",
    "docs",
    "test",
    "lint",
    "clean",
]
# one line a call, into the file `calls`; `python -m venv` makes .venv with itself as its Python
FAKE_PYTHON = """#!/bin/sh
echo "$@" >> calls
if [ "$2" = venv ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python; fi
if [ -e broken ] && [ "$2" = pip ]; then exit 1; fi
"""


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # without what a `make test` above us says to its children
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def commands(*arguments: str) -> list[str]:
    planned = make("-n", "-o", ".venv/.installed", *arguments)
    assert planned.returncode == 0, planned.stderr
    return [" ".join(line.removeprefix(".venv/bin/").split()) for line in planned.stdout.splitlines()]


def test_help_is_the_default_and_lists_every_target() -> None:
    shown = make().stdout
    assert re.findall(r"^  make ([a-z-]+) +\S", shown, re.MULTILINE) == STEPS
    assert shown == make("help").stdout
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cpu" in shown
    for variable in re.findall(r"^([A-Z]+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert f"{variable}=" in shown


def test_the_steps_of_a_study_run_in_the_order_given() -> None:
    study = ["data", "meta-train", "finetune", "evaluate", "CONFIG=configs/nwpu.yaml", "DATA=my data", "SHOTS=5"]
    assert commands("-j8", *study, "SEED=1", "SET=meta_train.steps=10 size=nano") == [
        'fsod data make --config "configs/nwpu.yaml" --source "my data" meta_train.steps=10 size=nano',
        'fsod meta-train --config "configs/nwpu.yaml" meta_train.steps=10 size=nano',
        'fsod finetune --config "configs/nwpu.yaml" --shots-k 5 --seed 1 meta_train.steps=10 size=nano',
        'fsod evaluate --config "configs/nwpu.yaml" --shots-k 5 --seed 1 meta_train.steps=10 size=nano',
    ]


def test_what_is_not_given_is_left_to_the_command() -> None:
    assert commands("demo", "data", "finetune", "dashboard") == [
        "fsod demo",
        'fsod data make --config "configs/demo.yaml"',
        'fsod finetune --config "configs/demo.yaml"',
        "fsod dashboard --port 5000",
    ]


def test_scenes() -> None:
    scene = ["SCENE=a b.tif", "BANK=b.safetensors", "EXAMPLES=e.geojson", "OUT=o.geojson"]
    assert commands("enroll", "predict", *scene) == [
        'fsod enroll --examples "e.geojson" --scene "a b.tif" --out "b.safetensors"',
        'fsod predict "a b.tif" --bank "b.safetensors" --out "o.geojson"',
    ]
    assert commands("enroll", "CONFIG=c.yaml", *scene) == [
        'fsod enroll --config "c.yaml" --examples "e.geojson" --scene "a b.tif" --out "b.safetensors"',
    ]
    refused = commands("finetune", "SHOTS=5", "SEED=2", "SET=finetune.steps=9", *scene)
    assert refused[0].endswith("--shots-k 5 --seed 2 finetune.steps=9"), "what has no effect is the command's to refuse"
    assert commands("finetune", "CONFIG=c.yaml", *scene) == [
        'fsod finetune --config "c.yaml" --scene "a b.tif" --examples "e.geojson" --out "b.safetensors"',
    ]
    assert commands("predict", "SCENE=a.tif", "CHECKPOINT=w.safetensors") == [
        'fsod predict "a.tif" --bank "runs/bank.safetensors" --checkpoint "w.safetensors" --out "runs/found.geojson"',
    ]
    without = make("-n", "-o", ".venv/.installed", "enroll", "SCENE=a.tif")
    assert without.returncode == 2
    assert "make enroll needs EXAMPLES=" in without.stderr


def test_test_lints_before_it_tests() -> None:
    assert commands("test") == [
        "ruff check",
        "ruff format --check",
        "mypy & .venv/bin/pytest -n 2 --dist worksteal; status=$?; wait $! && exit $status",
    ]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "configs/constraints.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return tmp_path


def install(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    (folder / "calls").write_text("")
    status = make("install", f"PYTHON={folder}/python", *arguments, folder=folder).returncode
    return status, [line for line in (folder / "calls").read_text().splitlines() if line.startswith("-m pip")]


def test_installs_once_and_again_when_what_is_pinned_changes(checkout: Path) -> None:
    everything = "-m pip install --no-compile -c configs/constraints.txt -e .[dev]"
    assert install(checkout) == (0, [everything])
    assert (checkout / ".venv/install_seconds").read_text().strip().isdigit()
    assert install(checkout) == (0, [])
    os.utime(checkout / "configs/constraints.txt", (2**31, 2**31))
    assert install(checkout) == (0, [everything])


def test_an_installation_that_failed_is_tried_again(checkout: Path) -> None:
    (checkout / "broken").touch()
    status, calls = install(checkout)
    assert (status, len(calls)) == (2, 1)
    (checkout / "broken").unlink()
    status, calls = install(checkout)
    assert (status, len(calls)) == (0, 1)


def test_a_torch_index_serves_torch_only_and_is_remembered(checkout: Path) -> None:
    index = "https://download.pytorch.org/whl/cpu"
    constrained = "-m pip install --no-compile -c configs/constraints.txt"
    everything = f"{constrained} -e .[dev]"
    assert install(checkout) == (0, [everything])
    replacing = f"{constrained} --no-deps --force-reinstall --index-url {index} torch torchvision"
    assert install(checkout, f"TORCH_INDEX={index}") == (0, [replacing, everything])
    assert install(checkout) == (0, [])
    assert install(checkout, f"TORCH_INDEX={index}") == (0, [])
    os.utime(checkout / "pyproject.toml", (2**31, 2**31))
    assert install(checkout) == (0, [f"{constrained} --no-deps --index-url {index} torch torchvision", everything])


def test_an_old_python_is_refused(checkout: Path) -> None:
    (checkout / "python").write_text('#!/bin/sh\necho "fsod needs Python 3.11" >&2; exit 1\n')
    assert install(checkout) == (2, [])
    assert not (checkout / ".venv").exists()
