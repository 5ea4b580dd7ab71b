"""The commands ``fsod register`` and ``fsod serve``: a detector as a service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fsod.cli.options import report
from fsod.cli.outputs import Json, Overwrite, may_write
from fsod.config import Precision, PredictSettings

Alias = Annotated[str, typer.Option(help="Name of the version, as champion.")]
Database = Annotated[Path, typer.Option(help="The MLflow database; MLFLOW_TRACKING_URI goes before it.")]


def register_command(
    bank: Annotated[Path, typer.Option(help="The class bank, or the .onnx file that `fsod export` made of one.")],
    name: Annotated[str, typer.Option(help="What the model is called.")],
    alias: Alias = "champion",
    checkpoint: Annotated[Path | None, typer.Option(help="The weights, if not where the bank says.")] = None,
    score: Annotated[
        float | None,
        typer.Option(min=0.005, max=1, help="Leave out detections below this; as predict does if not given."),
    ] = None,
    window_px: Annotated[int | None, typer.Option(min=64, help="Side of a window, a multiple of 32 [640].")] = None,
    overlap_px: Annotated[int, typer.Option(help="What windows share.")] = 160,
    batch: Annotated[int, typer.Option(min=1, help="Windows that the network sees at once.")] = 4,
    precision: Annotated[Precision, typer.Option(help="auto takes bfloat16 where the hardware has it.")] = "auto",
    database: Database = Path("runs/mlflow.db"),
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Put a bank and its weights into MLflow's registry, to be searched with as `fsod predict` does."""
    from fsod.steps.register import register_model

    may_write(json, overwrite)
    asked: dict[str, Any] = {} if score is None else {"score": score}
    plan = PredictSettings.model_construct(
        window_px=window_px, overlap_px=overlap_px, batch=batch, precision=precision, **asked
    )
    report(register_model(bank, checkpoint, name, alias, plan, database), json)


def serve_command(
    name: Annotated[str, typer.Argument(help="A registered model.")],
    alias: Alias = "champion",
    scenes: Annotated[
        Path | None, typer.Option(help="The folder that requests may name GeoTIFFs of; none if not given.")
    ] = None,
    port: Annotated[int, typer.Option(min=1024, max=65535)] = 5001,
    timeout_s: Annotated[int, typer.Option(min=1, help="The longest that a request may take.")] = 600,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="Also answer requests to this name, as of a proxy before it; repeat it."),
    ] = None,
    database: Database = Path("runs/mlflow.db"),
) -> None:
    """Answer requests with a registered model (MLflow's scoring server on 127.0.0.1)."""
    from fsod.steps.register import serve_model

    serve_model(name, alias, scenes, port, timeout_s, database, hosts or ())
