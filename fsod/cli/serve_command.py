"""The commands ``fsod register`` and ``fsod serve``: a detector as a service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fsod.cli.options import report
from fsod.cli.outputs import Json, Overwrite, may_write
from fsod.config import Precision, PredictSettings

Alias = Annotated[str, typer.Option(help="Alias of the version.")]
Database = Annotated[Path, typer.Option(help="The MLflow database. MLFLOW_TRACKING_URI takes precedence.")]


def register_command(
    bank: Annotated[Path, typer.Option(help="A class bank, a finetuned detector, or an .onnx file of `fsod export`.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    alias: Alias = "champion",
    checkpoint: Annotated[Path | None, typer.Option(help="The weights, if they are not where the bank says.")] = None,
    score: Annotated[
        float | None,
        typer.Option(min=0.005, max=1, help="Leave out detections below this score. By default as `fsod predict`."),
    ] = None,
    window_px: Annotated[int | None, typer.Option(min=64, help="Side of a window, a multiple of 32 [640].")] = None,
    overlap_px: Annotated[int, typer.Option(help="Overlap of neighbouring windows.")] = 160,
    batch: Annotated[int, typer.Option(min=1, help="Windows per call of the network.")] = 4,
    precision: Annotated[Precision, typer.Option(help="auto: bfloat16 where the hardware has it.")] = "auto",
    database: Database = Path("runs/mlflow.db"),
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Put a bank and its weights into MLflow's model registry."""
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
        Path | None, typer.Option(help="Folder whose GeoTIFFs requests may name. By default none.")
    ] = None,
    port: Annotated[int, typer.Option(min=1024, max=65535)] = 5001,
    timeout_s: Annotated[int, typer.Option(min=1, help="Seconds after which a request is given up.")] = 600,
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help="Also answer requests to this host name, such as that of a proxy. Repeat it for several.",
        ),
    ] = None,
    database: Database = Path("runs/mlflow.db"),
) -> None:
    """Answer HTTP requests with a registered model (MLflow's scoring server on 127.0.0.1)."""
    from fsod.steps.register import serve_model

    serve_model(name, alias, scenes, port, timeout_s, database, hosts or ())
