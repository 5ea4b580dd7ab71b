"""``fsod predict``: finds the classes of a bank in scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.options import Nodata, bands_in, numbers_in, report
from fsod.cli.outputs import Json, Overwrite, result_file
from fsod.config import Engine, Precision, PredictSettings
from fsod.errors import UserError

USUAL = PredictSettings()


def predict_command(
    scenes: Annotated[
        list[str],
        typer.Argument(
            help="Rasters: paths, quoted patterns ('tiles/**/*.tif'), lists (scenes.txt, one path per line), VRTs, URLs. STAC "
            "items, collections and item collections (.json). Map tiles: a folder of Z/X/Y.png, .mbtiles, or either with a "
            "zoom (tiles/17)."
        ),
    ],
    bank: Annotated[Path, typer.Option(help="A class bank, a finetuned detector, or an .onnx file of `fsod export`.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The layer to write: .geojson (WGS84), .gpkg, .fgb, .parquet (the scene's CRS), .json (COCO, with "
            "COCO results in found.results.json) or .csv. A picture and a QGIS style are written beside it. For several scenes: a "
            "folder, or a pattern such as found/{scene}.gpkg."
        ),
    ],
    checkpoint: Annotated[Path | None, typer.Option(help="The weights, if they are not where the bank says.")] = None,
    score: Annotated[
        float | None,
        typer.Option(
            min=0.005, max=1, help="Leave out detections below this score. By default the bank proposes one per class."
        ),
    ] = None,
    window_px: Annotated[
        int | None,
        typer.Option(min=64, help="Side of a window, a multiple of 32 [640, or what an .onnx was made for]."),
    ] = None,
    overlap_px: Annotated[
        int, typer.Option(help="Overlap of neighbouring windows. Objects up to this length are seen whole.")
    ] = USUAL.overlap_px,
    scales: Annotated[
        str | None,
        typer.Option(
            help="Also search the scene reduced by these factors, for objects longer than the overlap: 4 sees objects up to 4 "
            "overlaps whole, 4,16 up to 16."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows per call of the network.")] = USUAL.batch,
    gsd_m: Annotated[
        float | None,
        typer.Option(min=0.001, help="Ground size of a pixel to resample to. By default that of the bank."),
    ] = None,
    native: Annotated[bool, typer.Option("--native", help="Search at the scene's own pixel size.")] = False,
    turns: Annotated[
        bool | None,
        typer.Option(
            "--turns/--no-turns",
            help="Look at each window in all four quarter turns, or only as it lies. The latter is four times as fast and, at "
            "the proposed score, raises more false alarms. By default the bank decides: turned, and at three sizes, if it was made from your own marks.",
        ),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            help="Bands to read as red, green, blue, such as 4,3,2. By default those of the examples, else the raster's own names "
            "decide."
        ),
    ] = None,
    nodata: Nodata = None,
    aoi: Annotated[
        Path | None, typer.Option(help="Search only inside these polygons (any vector file and CRS).")
    ] = None,
    asset: Annotated[
        str | None,
        typer.Option("--asset", help="Asset of STAC items: a name, or a role (by default visual, else data)."),
    ] = None,
    stac: Annotated[
        bool, typer.Option("--stac", help="Also write found.stac.json, an item of STAC's label extension.")
    ] = False,
    together: Annotated[
        bool,
        typer.Option(
            "--together",
            help="Write one layer of all scenes. They may overlap: an object that two of them show counts once.",
        ),
    ] = False,
    layer: Annotated[str | None, typer.Option("--layer", help="The layer of --aoi, where it has several.")] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Draw no pictures beside the layers; `fsod report` needs them.")
    ] = False,
    skip_damaged: Annotated[bool, typer.Option(help="Skip windows whose pixels cannot be read.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Stop the search after this time. The likeliest windows come first.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Search only this share of each scene's windows, such as 0.4. The likeliest come first."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Drop the journal of an unfinished run, and start over.")
    ] = False,
    overwrite: Overwrite = False,
    precision: Annotated[Precision, typer.Option(help="auto: bfloat16 where the hardware has it.")] = USUAL.precision,
    engine: Annotated[
        Engine,
        typer.Option(help="ray: on the Ray cluster of RAY_ADDRESS, or on all cores here; it needs the extra ray."),
    ] = USUAL.engine,
    json: Json = None,
) -> None:
    """Find the classes of a bank in scenes of any size. Goes on after an interruption."""
    from fsod.steps.predict_scenes import predict_files

    if layer is not None and aoi is None:
        raise UserError(f"--layer {layer}: needs --aoi, which is not given")
    if minutes is not None and not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: give a time above 0")
    if budget is not None and not 0 < budget <= 1:
        raise UserError(f"--budget {budget:g}: give a share of the windows, above 0 and up to 1")
    plan = PredictSettings.model_construct(
        score=score,
        window_px=window_px,
        overlap_px=overlap_px,
        scales=() if scales is None else numbers_in(scales, float, "--scales {}: give rising numbers, as 4 or 4,16"),
        batch=batch,
        gsd_m=gsd_m,
        native=native,
        turns=turns,
        bands=bands_in(bands),
        nodata=nodata,
        aoi=aoi,
        aoi_layer=layer,
        asset=asset,
        stac=stac,
        minutes=minutes,
        budget=budget,
        together=together,
        pictures=not no_pictures,
        restart=restart,
        overwrite=overwrite,
        skip_damaged=skip_damaged,
        precision=precision,
        engine=engine,
    )
    result = predict_files(scenes, checkpoint, bank, out, plan, result_file(json))
    then = ("report", result["layer"]) if result.get("preview") else ()
    report(result, json, *then, by_scene=("layers", "scenes", "searched", "damaged", "warnings"))
    if failed := result.get("failed"):
        raise UserError(f"{len(failed)} of {len(failed) + len(result['layers'])} scenes failed: {', '.join(failed)}")
