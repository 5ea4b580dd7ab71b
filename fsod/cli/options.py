"""Options that several commands share, and how a command reports."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fsod.cli.outputs import write_result
from fsod.errors import UserError
from fsod.progress import say

Config = Annotated[Path, typer.Option("--config", "-c", help="YAML file of the run.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings to change, section.key=value.")]
ShotsK = Annotated[int, typer.Option("--shots-k", "-k", min=1, help="Boxes a class.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the shot list.")]


def refuse(given: Mapping[str, object], reason: str) -> None:
    """UserError for the first option that was given; what would have no effect must not look as if it had."""
    for option, value in given.items():
        if value:
            raise UserError(f"{option} {reason}")


def report(result: dict[str, Any], json: Path | None, *next_command: str | Path | int) -> None:
    """Prints a result, a line a key, and writes it to a file if one was asked for; ends with the next command to type."""
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process speaks for all
    for key, value in result.items():
        say(f"{key}: {value:.3f}" if isinstance(value, float) else f"{key}: {value}")
    write_result(json, result)
    if next_command:
        say(f"next: {shlex.join(['fsod', *map(str, next_command)])}")
