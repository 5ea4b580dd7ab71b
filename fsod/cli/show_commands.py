"""The commands that show what there is: report, dashboard, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.options import refuse, report
from fsod.cli.outputs import Json, Overwrite, may_write, report_page, write_result
from fsod.progress import say


def report_command(
    what: Annotated[
        Path, typer.Argument(metavar="RUN_OR_LAYER", help="The folder of a run, or a layer of `fsod predict`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The HTML file to write. By default report.html in the folder of the run, or the layer's name with .html."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", help="The layer of the file. By default the one that `fsod predict` writes."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Write one HTML file about a run or a layer. It needs no network."""
    from fsod.report.run_report import run_report
    from fsod.report.scene_report import overview_path, scene_report

    if what.is_dir():
        refuse({"--layer": layer}, "is a layer of a file, and this is a run's folder")
    page = out or (what / "report.html" if what.is_dir() else what.with_suffix(".html"))
    picture = () if what.is_dir() else (overview_path(what),)
    may_write(json, overwrite, report_page(page), inputs=picture)
    report(run_report(what, page) if what.is_dir() else scene_report(what, page, layer), json)


def dashboard_command(
    database: Annotated[Path, typer.Option(help="The MLflow database.")] = Path("runs/mlflow.db"),
    port: Annotated[int, typer.Option(min=1024, max=65535)] = 5000,
) -> None:
    """Show all runs in a browser (MLflow on 127.0.0.1)."""
    from fsod.tracking.dashboard import serve_dashboard

    serve_dashboard(database, port)


def info_command(overwrite: Overwrite = False, json: Json = None) -> None:
    """Print device, versions, weights, and which extras lack which package."""
    from fsod.cli.info_command import info, lines

    may_write(json, overwrite)
    found = info()
    say("\n".join(lines(found)))
    write_result(json, found)
