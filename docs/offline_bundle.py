"""Makes a folder from which fsod can be installed without a network: wheels, weights, documentation, checksums.

    .venv/bin/python -m docs.offline_bundle --out bundle --torch-index https://download.pytorch.org/whl/cpu

Run it on a machine like the target: same operating system, processor and Python version. `sh bundle/install.sh FOLDER` installs
there, after it has checked that every file arrived whole.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "fsod/weights"
CONSTRAINTS = ROOT / "configs/constraints.txt"
INSTALL = """#!/bin/sh
# Installs fsod from this folder into a new virtual environment: sh install.sh FOLDER [PYTHON]
set -eu
target=$(realpath -m "${1:?name the folder to install into}")
python=${2:-python3}
cd "$(dirname "$0")"
sha256sum --check --quiet SHA256SUMS
"$python" -m venv "$target"
"$target/bin/python" -m pip install --no-index --find-links wheels -c constraints.txt 'REQUIREMENT'
"$target/bin/fsod" info
"""

EXTRAS = "train,report"
"""Of fsod: what the analyst's road needs."""

Run = Callable[[Sequence[str]], None]
"""Runs a command; raises where it fails."""


def make_bundle(
    out: Path, extras: str = EXTRAS, torch_index: str | None = None, weights: Sequence[Path] = (), *, run: Run
) -> None:
    """Fills the folder ``out``.

    Args:
        out: must not exist, or be empty.
        extras: of fsod, set apart by commas.
        torch_index: address of a package index that torch and torchvision come from; None: the usual one.
        weights: banks and detectors to take along.
        run: runs a command.

    Raises:
        ValueError: ``out`` holds something or is a file; a file of ``weights`` is missing or has the name of another one; a source package
            is among the wheels.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; name a folder")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out}: is not empty; choose another folder, or remove what is in it")
    taken = [*sorted(path for path in WEIGHTS.iterdir() if path.is_file()), *weights]
    if missing := [path for path in taken if not path.is_file()]:
        raise ValueError(f"{missing[0]}: no such file")
    if len({path.name for path in taken}) < len(taken):
        raise ValueError("two files of weights have one name; rename one of them")
    requirement = f"fsod[{extras}]" if extras else "fsod"
    wheels = out / "wheels"
    wheels.mkdir(parents=True)
    pip = (sys.executable, "-m", "pip")
    shutil.rmtree(ROOT / "build/lib", ignore_errors=True)  # what an earlier wheel was made of: setuptools would add it
    run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)])
    download = (*pip, "download", "--only-binary", ":all:", "-c", str(CONSTRAINTS), "--dest", str(wheels))
    if torch_index:  # --no-deps: that index carries old copies of what torch needs; the next line gets these
        run([*download, "--no-deps", "--index-url", torch_index, "torch", "torchvision"])
    own = next(wheels.glob("fsod-*.whl"))  # by its path: the name alone could be another package's on the index
    run([*download, "--find-links", str(wheels), f"{own}[{extras}]" if extras else str(own)])
    if sources := [path for path in wheels.iterdir() if path.suffix != ".whl"]:
        raise ValueError(f"{sources[0]}: is a source package, which the target would have to build; find a wheel of it")
    run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "-f",
            str(ROOT / "mkdocs.yml"),
            "-d",
            str(out.absolute() / "docs"),
        ]
    )
    (out / "weights").mkdir()
    for path in taken:
        shutil.copyfile(path, out / "weights" / path.name)
    shutil.copyfile(CONSTRAINTS, out / "constraints.txt")
    (out / "install.sh").write_text(INSTALL.replace("REQUIREMENT", requirement), encoding="utf-8")
    (out / "SHA256SUMS").write_text("".join(_sums(out)), encoding="utf-8")


def _sums(out: Path) -> list[str]:
    """A line for every file, as sha256sum writes them."""
    lines = []
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(out).as_posix()}\n")
    return lines


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


def main() -> None:
    """Makes the bundle that the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder to fill")
    parser.add_argument("--extras", default=EXTRAS, help="extras of fsod")
    parser.add_argument("--torch-index", help="package index of torch, as https://download.pytorch.org/whl/cpu")
    parser.add_argument("--weights", type=Path, action="append", default=[], help="a bank or detector to take along")
    options = parser.parse_args()
    try:
        make_bundle(options.out, options.extras, options.torch_index, options.weights, run=_run)
    except ValueError as error:
        sys.exit(f"offline_bundle: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"offline_bundle: a command failed: {' '.join(error.cmd)}")


if __name__ == "__main__":
    main()
