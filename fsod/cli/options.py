"""Options that several commands share, and how a command reports."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping
from itertools import islice
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

FEW = 3
"""Of how many scenes a command says everything on the screen."""
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


def report(
    result: dict[str, Any], json: Path | None, *next_command: str | Path | int, by_scene: Collection[str] = ()
) -> None:
    """Prints a result, one line per key, writes it to a file if asked for, and ends with the next command to type.

    Args:
        result: of the command.
        json: the file that is asked for.
        next_command: its words.
        by_scene: keys that say something of every scene: of many scenes a few are printed, or no one would find the rest.
    """
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process speaks for all
    for key, value in result.items():
        say(f"{key}: {_in_words(value, cut=key in by_scene)}")
    write_result(json, result)
    if next_command:
        say(f"next: {shlex.join(['fsod', *map(str, next_command)])}")


def _in_words(value: object, *, cut: bool) -> str:
    """A value as it is printed; of much that it holds the first few where it is to be ``cut``."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if cut and isinstance(value, dict | list) and len(value) > FEW:
        few = dict(islice(value.items(), FEW)) if isinstance(value, dict) else value[:FEW]
        return f"{few} and {len(value) - FEW} more (--json FILE writes all)"
    if isinstance(value, dict):
        return str({name: round(one, 4) if isinstance(one, float) else one for name, one in value.items()})
    return str(value)
