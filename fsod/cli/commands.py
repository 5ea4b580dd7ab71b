"""The command ``fsod``: a table of its commands, each in a file that is imported when the command is typed."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from fsod.errors import UserError, escaped

COMMANDS = {
    "pretrain": (
        "run_commands:pretrain_command",
        "Teach a network to compare, on invented classes. Goes on after an interruption.",
    ),
    "meta-train": (
        "run_commands:meta_train_command",
        "Train on the base classes in episodes. Goes on after an interruption.",
    ),
    "finetune": (
        "finetune_command:finetune_command",
        "Train on new classes: your own marks on scenes (--out), or a run's novel classes (--config).",
    ),
    "evaluate": (
        "run_commands:evaluate_command",
        "Measure average precision of a run (--config), or of any checkpoint or bank on any folder (--data).",
    ),
    "enroll": (
        "enroll_command:enroll_command",
        "Add classes in seconds, without training, from boxes on scenes or in a prepared folder (--data).",
    ),
    "predict": (
        "predict_command:predict_command",
        "Find the classes of a bank in scenes of any size. Goes on after an interruption.",
    ),
    "count": (
        "ground_commands:count_command",
        "Count detections by districts: how many, how much was searched, and between which numbers the true count lies.",
    ),
    "compare": (
        "ground_commands:compare_command",
        "Compare two dates: what appeared, what is gone, what is still there. Only where both were searched.",
    ),
    "review": (
        "review_command:review_command",
        "Judge detections in a browser by keyboard, draw what was missed, and learn from both.",
    ),
    "report": (
        "show_commands:report_command",
        "Write one HTML file about a run or a layer. It needs no network.",
    ),
    "export": (
        "weights_commands:export_command",
        "Write a bank and its weights as one ONNX network, or as an item of a STAC catalogue.",
    ),
    "register": (
        "serve_command:register_command",
        "Put a bank and its weights into MLflow's model registry.",
    ),
    "serve": (
        "serve_command:serve_command",
        "Answer HTTP requests with a registered model (MLflow's scoring server on 127.0.0.1).",
    ),
    "demo": ("run_commands:demo_command", "Run everything once on synthetic scenes, in minutes, without a download."),
    "dashboard": ("show_commands:dashboard_command", "Show all runs in a browser (MLflow on 127.0.0.1)."),
    "info": ("show_commands:info_command", "Print device, versions, weights, and which extras lack which package."),
    "data": ("data_commands:data_app", "Prepare data sets."),
    "bank": ("bank_commands:bank_app", "List, merge and change class banks."),
    "runs": ("runs_command:runs_app", "Manage records of trainings."),
    "qgis": ("qgis_command:qgis_app", "Use fsod inside QGIS."),
    "weights": ("weights_commands:weights_app", "Import weights."),
}
"""Name -> where it is, and the first line of its help, which `fsod --help` shows without importing it."""


class Commands(TyperGroup):
    """The commands of the table. Until one is typed it is no more than its name and a line."""

    def __init__(self, **how: Any) -> None:  # noqa: ANN401, they are typer's
        stubs = {name: TyperCommand(name, help=line) for name, (_, line) in COMMANDS.items()}
        super().__init__(**{**how, "commands": stubs})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:  # noqa: ANN401
        """As typer's, with the command itself in place of the line."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, stub if name is None else command_called(name), rest


def command_called(name: str) -> Any:  # noqa: ANN401, typer has no name for it
    """A command or a group of them, imported."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"fsod.cli.{module}"), attribute)
    around = typer.Typer(add_completion=False)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    return typer.main.get_group(around).commands[name]


app = typer.Typer(
    cls=Commands,
    help="Few-shot object detection in aerial and satellite imagery.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _fsod() -> None:
    """Makes a group of it."""


def main() -> None:
    """Entry point: a user's mistake becomes one line and exit status 2, a full disk or the like one line and 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no umlauts
    # what libraries say to programmers; what a user should know fsod says itself, with the file and what to do
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:  # python -W
                warnings.simplefilter("ignore")
            app(prog_name="fsod")  # the one that is completed, also for ``python -m fsod``
    except ModuleNotFoundError as error:
        from fsod.packages import extra_with

        extra = extra_with(error.name or "")
        if extra is None:
            raise
        print(f"fsod: this needs the package {error.name}, not installed: pip install 'fsod[{extra}]'", file=sys.stderr)
        sys.exit(2)
    except (UserError, OSError) as error:
        print(f"fsod: {escaped(' '.join(str(error).splitlines()))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)
