"""The command ``fsod``: every step of a run as a subcommand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fsod.cli_bank import bank_app
from fsod.cli_data import data_app
from fsod.cli_options import Config, Json, Overrides, Seed, ShotsK, report
from fsod.config import Precision, PredictSettings, load_settings
from fsod.errors import UserError

app = typer.Typer(
    help="Few-shot object detection in aerial and satellite imagery.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(bank_app, name="bank")
weights_app = typer.Typer(help="Bring in weights.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")


def main() -> None:
    """Entry point: a user's mistake becomes one line and exit status 2, a full disk or the like one line and 1."""
    try:
        app()
    except (UserError, OSError) as error:
        print(f"fsod: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)


@weights_app.command("import")
def weights_import(
    file: Annotated[Path, typer.Argument(help="yolov7.pt, yolov7-tiny.pt, a state dict, or safetensors.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write; name it as init= of a run.")],
    json: Json = None,
) -> None:
    """Take backbone and neck out of an official YOLOv7 checkpoint, without executing what its pickle says."""
    from fsod.store.official import import_official

    report(import_official(file, out), json)


@app.command("meta-train")
def meta_train_command(config: Config, overrides: Overrides = None, json: Json = None) -> None:
    """Train on the base classes in episodes; goes on from the last checkpoint after an interruption."""
    from fsod.steps import run_meta_train

    report(run_meta_train(load_settings(config, overrides)), json)


@app.command("finetune")
def finetune_command(
    config: Config, shots_k: ShotsK = 10, seed: Seed = 0, overrides: Overrides = None, json: Json = None
) -> None:
    """Take up the novel classes from K boxes each."""
    from fsod.steps import run_finetune

    report(run_finetune(load_settings(config, overrides), shots_k, seed), json)


@app.command("evaluate")
def evaluate_command(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Evaluate a run's finetuned detector.")] = None,
    shots_k: ShotsK = 10,
    seed: Seed = 0,
    checkpoint: Annotated[Path | None, typer.Option(help="Any checkpoint, instead of the run's.")] = None,
    data: Annotated[Path | None, typer.Option(help="Any prepared folder, instead of the run's.")] = None,
    ids: Annotated[Path | None, typer.Option(help="Any list of image ids, instead of the run's test list.")] = None,
    shots: Annotated[
        Path | None, typer.Option(help="Shot list for classes that the checkpoint has not learned.")
    ] = None,
    overrides: Overrides = None,
    json: Json = None,
) -> None:
    """Measure average precision: of a run (--config), or of any checkpoint on any folder (--checkpoint --data)."""
    from fsod.steps import evaluate_files, evaluate_run

    if checkpoint is not None and data is not None:
        report(evaluate_files(checkpoint, data, ids, shots, overrides or []), json)
    elif config is not None and checkpoint is None and data is None:
        report(evaluate_run(load_settings(config, overrides), shots_k, seed, ids), json)
    else:
        raise UserError("evaluate needs either --config, or --checkpoint and --data")


@app.command("enroll")
def enroll_command(
    scene: Annotated[Path, typer.Option(help="The GeoTIFF that the examples lie on.")],
    examples: Annotated[Path, typer.Option(help="Vector file of example boxes: GeoJSON, GeoPackage, Shapefile.")],
    out: Annotated[Path, typer.Option(help="The class bank to write.")],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take a run's meta-trained weights.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Any weights, instead of a run's.")] = None,
    attribute: Annotated[str, typer.Option(help="Attribute that holds the class.")] = "class",
    learned: Annotated[bool, typer.Option(help="Also put in the classes that the checkpoint has learned.")] = False,
    json: Json = None,
) -> None:
    """Take up classes from example boxes on a GeoTIFF, without training."""
    from fsod.engine.run_paths import RunPaths
    from fsod.scene_steps import enroll_scene

    if checkpoint is None:
        if config is None:
            raise UserError("enroll needs weights: --config of a trained run, or --checkpoint")
        checkpoint = RunPaths(load_settings(config).run_dir).meta_checkpoint
    report(enroll_scene(checkpoint, scene, examples, attribute, out, learned), json)


@app.command("predict")
def predict_command(
    scene: Annotated[Path, typer.Argument(help="A GeoTIFF.")],
    bank: Annotated[Path, typer.Option(help="The class bank, or the .onnx file that `fsod export` made of one.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The layer to write: .geojson (WGS84), .gpkg, .fgb, .parquet (the scene's CRS), .json (COCO) or .csv; "
            "beside it a picture and a style for QGIS."
        ),
    ],
    checkpoint: Annotated[Path | None, typer.Option(help="The weights, if not where the bank says.")] = None,
    score: Annotated[float, typer.Option(min=0.005, max=1, help="Leave out detections below this.")] = 0.25,
    window_px: Annotated[
        int | None, typer.Option(min=64, help="Side of a window, a multiple of 32; 640, or what an .onnx is meant for.")
    ] = None,
    overlap_px: Annotated[
        int, typer.Option(help="What windows share: the largest object that is sure to be whole.")
    ] = 160,
    batch: Annotated[int, typer.Option(min=1, help="Windows that the network sees at once.")] = 4,
    gsd_m: Annotated[
        float | None, typer.Option(min=0.001, help="Resample the scene to this ground size of a pixel.")
    ] = None,
    skip_damaged: Annotated[bool, typer.Option(help="Go on where pixels cannot be read.")] = False,
    precision: Annotated[Precision, typer.Option(help="auto takes bfloat16 where the hardware has it.")] = "auto",
    json: Json = None,
) -> None:
    """Find the classes of a bank in a GeoTIFF of any size."""
    from fsod.scene_steps import predict_file

    plan = PredictSettings.model_construct(
        score=score,
        window_px=window_px,
        overlap_px=overlap_px,
        batch=batch,
        gsd_m=gsd_m,
        skip_damaged=skip_damaged,
        precision=precision,
    )
    report(predict_file(scene, checkpoint, bank, out, plan), json)


@app.command("export")
def export_command(
    bank: Annotated[Path, typer.Option(help="The class bank, enrolled or finetuned.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write; `fsod predict` takes it as its --bank.")],
    form: Annotated[str, typer.Option("--format", help="onnx")] = "onnx",
    checkpoint: Annotated[Path | None, typer.Option(help="The weights, if not where the bank says.")] = None,
    window_px: Annotated[int, typer.Option(min=64, help="Side of the windows it is meant for.")] = 640,
    json: Json = None,
) -> None:
    """Write a bank and its weights as one plain network, for any number and size of windows.

    Input: images (B, 3, H, W), float32 RGB in 0..1, sides multiples of 32. Outputs: boxes_xyxy_px (B, L, 4) and scores
    (B, classes, L). Names of classes and hashes are in the metadata.
    """
    from fsod.engine.export import export_bank

    if form != "onnx":
        raise UserError(f"unknown format {form!r}; known: onnx")
    report(export_bank(bank, checkpoint, out, window_px), json)


@app.command("demo")
def demo_command(overrides: Overrides = None) -> None:
    """The whole road on synthetic scenes, in minutes, without any download."""
    from fsod.demo import demo

    demo(overrides or [])


@app.command("dashboard")
def dashboard_command(
    database: Annotated[Path, typer.Option(help="The MLflow database.")] = Path("runs/mlflow.db"),
    port: Annotated[int, typer.Option(min=1024, max=65535)] = 5000,
) -> None:
    """Show all runs in the browser (MLflow on 127.0.0.1)."""
    from fsod.engine.dashboard import serve_dashboard

    serve_dashboard(database, port)
