"""The command ``fsod``: every step of a run as a subcommand."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from json import dumps as as_json
from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.bank_commands import bank_app
from fsod.cli.data_commands import data_app
from fsod.cli.example_options import (
    Attribute,
    Distractors,
    ExampleClasses,
    ExampleFolder,
    ExampleIds,
    ExampleLabels,
    ExampleScenes,
    ExampleShots,
    FilesK,
    OtherWeights,
    VectorLayer,
    Verdicts,
    Weights,
    read_examples,
    weights_of,
)
from fsod.cli.finetune_command import finetune_command
from fsod.cli.ground_commands import compare_command, count_command
from fsod.cli.options import Bands, Config, Nodata, Overrides, Seed, ShotsK, SizeM, SizePx, refuse, report
from fsod.cli.outputs import (
    Json,
    Overwrite,
    bank_files,
    catalogue_item,
    exported_network,
    imported_weights,
    may_write,
    paths_in,
    report_page,
    write_result,
)
from fsod.cli.predict_command import predict_command
from fsod.cli.qgis_command import qgis_app
from fsod.cli.review_command import review_command
from fsod.cli.runs_command import runs_app
from fsod.cli.serve_command import register_command, serve_command
from fsod.config import load_pretrain_settings, load_settings
from fsod.errors import UserError, escaped
from fsod.progress import say

app = typer.Typer(
    help="Few-shot object detection in aerial and satellite imagery.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(bank_app, name="bank")
app.add_typer(runs_app, name="runs")
app.add_typer(qgis_app, name="qgis")
weights_app = typer.Typer(help="Bring in weights.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")


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
    except (UserError, OSError) as error:
        print(f"fsod: {escaped(' '.join(str(error).splitlines()))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)


@weights_app.command("import")
def weights_import(
    file: Annotated[Path, typer.Argument(help="yolov7.pt, yolov7-tiny.pt, a state dict, or safetensors.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write; name it as init= of a run.")],
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Take backbone and neck out of an official YOLOv7 checkpoint, without executing what its pickle says."""
    from fsod.store.official import import_official

    may_write(json, overwrite, imported_weights(out))
    report(import_official(file, out), json)


@app.command("pretrain")
def pretrain_command(
    config: Config,
    overrides: Overrides = None,
    grounds: Annotated[
        Path | None,
        typer.Option(help="Folder of unlabelled photographs to cut classes out of, as the key of that name."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Teach a network to compare, on invented classes alone; goes on from the last checkpoint after an interruption."""
    from fsod.steps.train import run_pretrain

    named = [] if grounds is None else [f"grounds={as_json(str(grounds))}"]
    settings = load_pretrain_settings(config, [*(overrides or ()), *named])
    may_write(json, overwrite, inputs=paths_in(settings))
    result = run_pretrain(settings)
    start = f"init={result['checkpoint']}", f"size={settings.size}"
    report(result, json, "meta-train", "--config", "configs/nwpu.yaml", *start)


@app.command("meta-train")
def meta_train_command(
    config: Config, overrides: Overrides = None, overwrite: Overwrite = False, json: Json = None
) -> None:
    """Train on the base classes in episodes; goes on from the last checkpoint after an interruption."""
    from fsod.steps.train import run_meta_train

    settings = load_settings(config, overrides)
    may_write(json, overwrite, inputs=paths_in(settings))
    result = run_meta_train(settings)
    report(result, json, "finetune", "--config", config, "--shots-k", 10, *overrides or ())


app.command("finetune")(finetune_command)


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
    bank: Annotated[Path | None, typer.Option(help="Score the classes of this bank of the checkpoint's.")] = None,
    overrides: Overrides = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Measure average precision: of a run (--config), or of any checkpoint on any folder (--checkpoint --data)."""
    from fsod.steps.evaluate_detector import evaluate_files, evaluate_run

    if checkpoint is not None and data is not None and config is None:
        may_write(json, overwrite)
        report(evaluate_files(checkpoint, data, ids, shots, bank, overrides or []), json, "dashboard")
    elif config is not None and checkpoint is None and data is None:
        refuse({"--bank": bank, "--shots": shots}, "goes with --checkpoint and --data; a run (--config) has its own")
        settings = load_settings(config, overrides)
        may_write(json, overwrite, inputs=paths_in(settings))
        report(evaluate_run(settings, shots_k, seed, ids), json, "report", settings.run_dir)
    else:
        raise UserError("evaluate needs either --config, or --checkpoint and --data")


@app.command("enroll")
def enroll_command(
    out: Annotated[Path, typer.Option(help="The class bank to write; a PNG of the examples is written beside it.")],
    scene: ExampleScenes = None,
    examples: ExampleLabels = None,
    distractors: Distractors = None,
    data: ExampleFolder = None,
    shots: ExampleShots = None,
    names: ExampleClasses = None,
    ids: ExampleIds = None,
    shots_k: FilesK = None,
    seed: Seed = 0,
    config: Weights = None,
    checkpoint: OtherWeights = None,
    attribute: Attribute = "class",
    verdicts: Verdicts = None,
    layer: VectorLayer = None,
    bands: Bands = None,
    nodata: Nodata = None,
    size_m: SizeM = None,
    size_px: SizePx = None,
    learned: Annotated[bool, typer.Option(help="Also put in the classes that the checkpoint has learned.")] = False,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Have scenes searched at the pixel size of the examples, rather than at that which suits the classes; "
            "banks that are to be merged must share one.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Take up classes without training, from boxes on GeoTIFFs or in a prepared folder (--class NAME -k 5, or --shots)."""
    may_write(json, overwrite, *bank_files(out))
    files = read_examples(
        *(scene, examples, distractors, data, shots, names, shots_k, seed, attribute, verdicts, layer, ids),
        *(bands, nodata, size_m, size_px),
    )
    from fsod.steps.enroll_classes import enroll

    result = enroll(weights_of(config, checkpoint), files, out, learned=learned, native=native)
    report(result, json, "predict", scene[0] if scene else "SCENE.tif", "--bank", out, "--out", "found.geojson")


app.command("predict")(predict_command)
app.command("count")(count_command)
app.command("compare")(compare_command)
app.command("review")(review_command)


@app.command("report")
def report_command(
    what: Annotated[
        Path, typer.Argument(metavar="RUN_OR_LAYER", help="A run's folder, or a layer that predict wrote.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; report.html in the run's folder, or beside the layer.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="Which layer of the file, if not the one that predict writes.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Show a run or what was found in a scene in one HTML file, to look at in a browser without any network."""
    from fsod.report.run_report import run_report
    from fsod.report.scene_report import overview_path, scene_report

    if what.is_dir():
        refuse({"--layer": layer}, "is a layer of a file, and this is a run's folder")
    page = out or (what / "report.html" if what.is_dir() else what.with_suffix(".html"))
    picture = () if what.is_dir() else (overview_path(what),)
    may_write(json, overwrite, report_page(page), inputs=picture)
    report(run_report(what, page) if what.is_dir() else scene_report(what, page, layer), json)


@app.command("export")
def export_command(
    bank: Annotated[Path, typer.Option(help="The class bank, enrolled or finetuned; for --stac alone also an .onnx.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The .onnx file to write. `fsod predict` takes it as its --bank; Deepness (QGIS), ultralytics, SAHI and "
            "supervision open it."
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="onnx")] = "onnx",
    stac: Annotated[Path | None, typer.Option(help="Also write an item of a STAC catalogue (JSON, MLM 1.5).")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The weights, if not where the bank says.")] = None,
    window_px: Annotated[int, typer.Option(min=64, help="Side of the windows that the network takes.")] = 640,
    batch: Annotated[
        str, typer.Option(help="Windows that it takes at once, or dynamic: for servers; other software wants 1.")
    ] = "1",
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Write a bank and its weights as one network that other software opens too, or as an item of a STAC catalogue.

    Input: images (B, 3, S, S), float32 RGB in 0..1. Output: output0 (B, 4 + classes, L): centre x, y, width, height in
    pixels, and a score for each class, rescaled so that each class is worth showing from 0.25 on. What the file is stands
    in its metadata.
    """
    from fsod.steps.export_bank import export_files

    if form != "onnx":
        raise UserError(f"unknown format {form!r}; known: onnx")
    if batch != "dynamic" and not (batch.isascii() and batch.isdigit() and len(batch) < 9):
        raise UserError(f"--batch {batch}: give a number, or dynamic")
    outputs = [of(path) for path, of in ((out, exported_network), (stac, catalogue_item)) if path is not None]
    may_write(json, overwrite, *outputs)
    at_once = None if batch == "dynamic" else int(batch)
    report(export_files(bank, checkpoint, out, stac, window_px, at_once), json)


app.command("register")(register_command)
app.command("serve")(serve_command)


@app.command("demo")
def demo_command(overrides: Overrides = None) -> None:
    """The whole road on synthetic scenes, in minutes, without any download."""
    from fsod.steps.demo import demo

    demo(overrides or [])


@app.command("dashboard")
def dashboard_command(
    database: Annotated[Path, typer.Option(help="The MLflow database.")] = Path("runs/mlflow.db"),
    port: Annotated[int, typer.Option(min=1024, max=65535)] = 5000,
) -> None:
    """Show all runs in the browser (MLflow on 127.0.0.1)."""
    from fsod.tracking.dashboard import serve_dashboard

    serve_dashboard(database, port)


@app.command("info")
def info_command(overwrite: Overwrite = False, json: Json = None) -> None:
    """Tell device, versions, weights, and what is missing for which extra."""
    from fsod.cli.info_command import info, lines

    may_write(json, overwrite)
    found = info()
    say("\n".join(lines(found)))
    write_result(json, found)
