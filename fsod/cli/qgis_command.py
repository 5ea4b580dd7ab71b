"""The command ``fsod qgis``: Use fsod inside QGIS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.options import report
from fsod.cli.outputs import Json, Overwrite, may_write, plugin_archive

qgis_app = typer.Typer(help="Use fsod inside QGIS.", no_args_is_help=True)


@qgis_app.callback()
def _group() -> None:
    """Keeps ``zip`` a command of its own."""


@qgis_app.command("zip")
def qgis_zip(
    out: Annotated[Path, typer.Option(help="The archive to write.")] = Path("fsod_qgis.zip"),
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Write the plugin for QGIS 3.22 and later; QGIS installs it with Plugins > Install from ZIP.

    The archive names this installation of fsod, so that the plugin finds it on this machine by itself.
    """
    from fsod.qgis.plugin_archive import executable_here, write_archive

    may_write(json, overwrite, plugin_archive(out))
    executable = executable_here()
    write_archive(out, executable)
    report({"archive": str(out), "executable": str(executable or "none; the plugin asks for one")}, json)
