"""``fsod count`` and ``fsod compare``: layers of detections by districts, and of two dates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fsod.cli.options import report
from fsod.cli.outputs import Json, Overwrite, may_write
from fsod.errors import UserError
from fsod.progress import say

SHOWN_ROWS = 40
"""Lines of a table that are printed; the file has all."""


def count_command(
    layer: Annotated[Path, typer.Argument(metavar="LAYER", help="Detections, as predict writes them.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The layer to write: .gpkg, .geojson, .fgb or .parquet; beside it a style and a table (.csv)."
        ),
    ],
    by: Annotated[
        Path | None, typer.Option(help="Count in these polygons (any vector file and coordinate system).")
    ] = None,
    grid_m: Annotated[
        float | None, typer.Option(min=0.1, max=1e7, help="Count in squares of so many metres on the ground.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The attribute of --by that names the polygons; `name`, else their numbers.")
    ] = None,
    by_layer: Annotated[
        str | None, typer.Option("--by-layer", help="Which layer of --by, where it has several.")
    ] = None,
    found_layer: Annotated[
        str | None, typer.Option("--layer", help="Which layer of LAYER, if not the one that predict writes.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Count detections by districts: how many, how much was searched, and between which numbers the true count lies.

    An interval holds the number of objects in what was searched with 95 % confidence: it takes in how many left-out examples
    were found, and how many judged detections were right. It supposes that the examples are like the objects there.
    """
    from fsod.geo.searched_layer import searched_path
    from fsod.steps.count_found import count_files, count_outcome

    if (by is None) == (grid_m is None):
        raise UserError("give either --by FILE with districts, or --grid-m METRES")
    if by is None and (name or by_layer):
        raise UserError(f"{'--name' if name else '--by-layer'}: needs --by, which is not given")
    may_write(json, overwrite, *count_outcome(out).outputs, inputs=(searched_path(layer),))
    result = count_files(layer, out, by, grid_m, found_layer=found_layer, by_layer=by_layer, name=name)
    _report(result, json, result["rows"], ("district", "class", "count", "low", "high", "searched_share"))


def compare_command(
    before: Annotated[
        Path, typer.Argument(metavar="BEFORE", help="Detections of the earlier date, as predict writes them.")
    ],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Detections of the later date.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The layer to write: .gpkg, .geojson, .fgb or .parquet; beside it a style and a table (.csv)."
        ),
    ],
    tolerance_m: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="How far apart an object may lie at both dates; half the median box's side if not given."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", help="Which layer of files that have several, if not the one that predict writes."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Compare two dates: what appeared, what is gone, what is still there. Only where both were searched."""
    from fsod.geo.searched_layer import searched_path
    from fsod.steps.compare_found import COLOURS, compare_files, compare_outcome

    may_write(json, overwrite, *compare_outcome(out).outputs, inputs=(searched_path(before), searched_path(after)))
    result = compare_files(before, after, out, tolerance_m, layer)
    rows = [{"class": one, **own} for one, own in result["changes"].items()]
    _report(result, json, rows, ("class", *COLOURS))


def _report(result: dict[str, Any], json: Path | None, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """The result without its rows, then these as a table."""
    from fsod.cli.outputs import write_result

    report({key: value for key, value in result.items() if key not in ("rows", "changes")}, None)
    cells = [columns, *(tuple(_cell(row[column]) for column in columns) for row in rows[:SHOWN_ROWS])]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if len(rows) > SHOWN_ROWS:
        say(f"and {len(rows) - SHOWN_ROWS} more in {result['table']}")
    write_result(json, result)


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
