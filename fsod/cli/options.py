"""Options that several commands share, and how a command reports."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from fsod.cli.outputs import write_result
from fsod.errors import UserError
from fsod.progress import say

Config = Annotated[Path, typer.Option("--config", "-c", help="Configuration of the run, a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings to override: section.key=value.")]
ShotsK = Annotated[int, typer.Option("--shots-k", "-k", min=1, help="Boxes per class.")]
Bands = Annotated[
    str | None,
    typer.Option(
        "--bands", help="Bands to read as red, green, blue, such as 4,3,2. By default the raster's own names decide."
    ),
]
Nodata = Annotated[
    float | None,
    typer.Option(
        "--nodata",
        help="Value of pixels without data, where the file does not declare one. nan: only the declared one.",
    ),
]
SIZE_M = "Take each point as a box with sides of this many metres on the ground."
SizeM = Annotated[float | None, typer.Option("--size-m", help=SIZE_M)]
SizePx = Annotated[
    float | None,
    typer.Option(
        "--size-px", help="Take each point as a box with sides of this many scene pixels. Works without a CRS."
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Seed of the shot list. By default that of the configuration, else 0."),
]

Number = TypeVar("Number", int, float)


def refuse(given: Mapping[str, object], reason: str) -> None:
    """UserError for the first option that was given; what would have no effect must not look as if it had."""
    for option, value in given.items():
        if value:
            raise UserError(f"{option} {reason}")


def numbers_in(text: str, kind: type[Number], problem: str) -> tuple[Number, ...]:
    """Numbers that are set apart by commas; UserError of the problem, with the text put in, where they are none."""
    try:
        return tuple(kind(number) for number in text.split(","))
    except ValueError:
        raise UserError(problem.format(text)) from None


def bands_in(text: str | None) -> tuple[int, ...] | None:
    """What --bands says."""
    return None if text is None else numbers_in(text, int, "--bands {}: give one or three numbers, as 4,3,2")


def report(result: dict[str, Any], json: Path | None, *next_command: str | Path | int) -> None:
    """Prints a result, one line per key, writes it to a file if asked for, and ends with the next command to type."""
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process speaks for all
    for key, value in result.items():
        say(f"{key}: {value:.3f}" if isinstance(value, float) else f"{key}: {value}")
    write_result(json, result)
    if next_command:
        say(f"next: {shlex.join(['fsod', *map(str, next_command)])}")
