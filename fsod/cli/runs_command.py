"""``fsod runs``: what is kept of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.options import report
from fsod.cli.outputs import Json, Overwrite, may_write

runs_app = typer.Typer(help="Manage records of trainings.", no_args_is_help=True)


@runs_app.callback()
def runs() -> None:
    """Manage records of trainings."""


@runs_app.command("upload")
def upload_command(
    database: Annotated[Path, typer.Option(help="The MLflow database of this machine.")] = Path("runs/mlflow.db"),
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Bring runs that were kept here, while the server was away, to the one that MLFLOW_TRACKING_URI names."""
    from fsod.tracking.run_upload import upload_runs

    may_write(json, overwrite)
    report(upload_runs(database), json)
