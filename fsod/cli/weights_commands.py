"""``fsod weights`` and ``fsod export``: networks of other software in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.options import report
from fsod.cli.outputs import Json, Overwrite, catalogue_item, exported_network, imported_weights, may_write
from fsod.config import WINDOW_PX
from fsod.errors import UserError

weights_app = typer.Typer(help="Import weights.", no_args_is_help=True)


@weights_app.callback()
def _group() -> None:
    """Keeps ``import`` a command of its own."""


@weights_app.command("import")
def weights_import(
    file: Annotated[Path, typer.Argument(help="yolov7.pt, yolov7-tiny.pt, a state dict, or safetensors.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write; name it as init= of a run.")],
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Import backbone and neck of an official YOLOv7 checkpoint, without executing anything in its pickle."""
    from fsod.store.official import import_official

    may_write(json, overwrite, imported_weights(out))
    report(import_official(file, out), json)


def export_command(
    bank: Annotated[
        Path, typer.Option(help="A class bank or a finetuned detector; with --stac alone also an .onnx file.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The .onnx file to write. `fsod predict` takes it as its --bank; Deepness (QGIS), ultralytics, SAHI and "
            "supervision open it."
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="onnx")] = "onnx",
    stac: Annotated[Path | None, typer.Option(help="Also write an item of a STAC catalogue (JSON, MLM 1.5).")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The weights, if they are not where the bank says.")] = None,
    window_px: Annotated[int, typer.Option(min=64, help="Side of the windows that the network takes.")] = WINDOW_PX,
    batch: Annotated[
        str, typer.Option(help="Windows per call, or dynamic (for servers). Other software expects 1.")
    ] = "1",
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Compute in 8-bit integers: faster on a CPU, by OpenVINO (extra openvino)."),
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            help="With --int8: scenes like those to be searched, which ranges are taken from. May be repeated."
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Write a bank and its weights as one ONNX network, or as an item of a STAC catalogue.

    Input: images (B, 3, S, S), float32 RGB in 0..1. Output: output0 (B, 4 + classes, L): centre x, y, width, height in
    pixels, and a score for each class, rescaled so that each class is worth showing from 0.25 on. What the file is stands
    in its metadata.
    """
    from fsod.geo.scene_list import list_scenes
    from fsod.steps.export_bank import export_files

    if form != "onnx":
        raise UserError(f"unknown format {form!r}; known: onnx")
    if batch != "dynamic" and not (batch.isascii() and batch.isdigit() and len(batch) < 9):
        raise UserError(f"--batch {batch}: give a number, or dynamic")
    if int8 and not calibrate:
        raise UserError("--int8 needs --calibrate SCENE: scenes like those to be searched, which ranges are taken from")
    if calibrate and not int8:
        raise UserError("--calibrate goes with --int8")
    if int8 and out is None:
        raise UserError("--int8 needs --out bank.onnx")
    scenes = list_scenes(calibrate or [])
    outputs = [of(path) for path, of in ((out, exported_network), (stac, catalogue_item)) if path is not None]
    may_write(json, overwrite, *outputs)
    at_once = None if batch == "dynamic" else int(batch)
    report(export_files(bank, checkpoint, out, stac, window_px, at_once, scenes), json)
