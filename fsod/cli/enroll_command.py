"""``fsod enroll``: takes up classes without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.example_options import ExampleOptions
from fsod.cli.option_groups import with_groups
from fsod.cli.options import report
from fsod.cli.outputs import Json, Overwrite, bank_files, may_write

NO_EXAMPLES = ExampleOptions()


@with_groups
def enroll_command(
    out: Annotated[Path, typer.Option(help="The class bank to write. A PNG of the examples is written beside it.")],
    given: ExampleOptions = NO_EXAMPLES,
    learned: Annotated[bool, typer.Option(help="Also include the classes that the weights have learned.")] = False,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Search scenes at the pixel size of the examples, not at the best one for the classes. Banks can only be "
            "merged if they share one size.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Add classes in seconds, without training, from boxes on scenes or in a prepared folder (--data)."""
    from fsod.store.checkpoint import shown_to

    may_write(json, overwrite, *bank_files(out))
    # the classes that the weights have learned were seen as these say; they are searched for together
    files = given.read(shown_to(given.weights), toned=None) if learned else given.read()
    from fsod.steps.enroll_classes import enroll

    result = enroll(given.weights, files, out, learned=learned, native=native)
    report(result, json, "predict", given.next_scene(), "--bank", out, "--out", "found.geojson")
