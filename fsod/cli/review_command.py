"""``fsod review``: judge detections in a browser, and learn from the verdicts."""

from __future__ import annotations

import signal
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.options import Bands, Nodata, bands_in
from fsod.progress import say, warn


def review_command(
    layer: Annotated[
        Path,
        typer.Argument(
            metavar="LAYER", help="A layer of `fsod predict`, .gpkg or .geojson. Verdicts are written into it."
        ),
    ],
    scene: Annotated[
        str | None, typer.Option(help="The raster of the layer. By default it is looked for beside the layer.")
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option(help="The bank of the layer, to learn from. By default it is looked for beside the layer."),
    ] = None,
    name: Annotated[str | None, typer.Option("--layer", help="The layer of the file, where it has several.")] = None,
    bands: Bands = None,
    nodata: Nodata = None,
    port: Annotated[
        int | None, typer.Option(min=1024, max=65535, help="Port on 127.0.0.1. By default any free one.")
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Judge detections in a browser by keyboard, draw what was missed, and learn from both.

    Only this machine can open the page, at an address that only you are told. Verdicts are saved in the layer at once.
    """
    from fsod.review.server import serve
    from fsod.review.session import Session

    session = Session(layer, scene, bank, name, bands_in(bands), nodata)
    warn(session.warnings())

    def ready(address: str) -> None:
        say(f"review: {address}   (Ctrl-C ends it)")
        if browse:
            webbrowser.open(address)

    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        serve(session, port, ready)
    warn(session.not_learned())
    say(f"next: fsod review {session.layer.path}")
