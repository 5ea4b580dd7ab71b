"""The command ``fsod data``: data sets in, prepared folders, tiles and shot lists out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fsod.cli.options import SIZE_M, Bands, Config, Nodata, Overrides, SizePx, bands_in, report
from fsod.cli.outputs import Json, Overwrite, check_report, may_write, paths_in, shot_list_file, write_result
from fsod.config import CLASS_ATTRIBUTE
from fsod.config_file import load_settings
from fsod.data_formats import DATA_FORMATS
from fsod.errors import UserError
from fsod.progress import warn

data_app = typer.Typer(help="Prepare data sets.", no_args_is_help=True)


@data_app.command("make")
def data_make(
    config: Config,
    source: Annotated[Path | None, typer.Option(help="Folder of the downloaded data set.")] = None,
    overrides: Overrides = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Prepare everything that the run of a configuration needs: folder, lists, tiles."""
    from fsod.steps.train import prepare_data

    settings = load_settings(config, overrides)
    may_write(json, overwrite, inputs=paths_in(settings))
    report(prepare_data(settings, source), json, "meta-train", "--config", config, *overrides or ())


@data_app.command("download")
def data_download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="nwpu or dior")],
    out: Annotated[Path | None, typer.Option(help="Folder to download into. By default data/downloads/NAME.")] = None,
    from_files: Annotated[
        list[Path] | None,
        typer.Option(help="A file that you have downloaded yourself, under any name. Repeat it for several."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Download a data set from the mirrors that torchgeo uses, or take files that you have downloaded."""
    from data_prep.download import DATA_SETS, download

    data_set = next((known for known in DATA_SETS if known.name == name), None)
    if data_set is None:
        raise UserError(f"unknown data set {name!r}; known: {', '.join(known.name for known in DATA_SETS)}")
    may_write(json, overwrite, inputs=tuple(from_files or ()))
    report(download(data_set, out or Path("data") / "downloads" / name, from_files or ()), json)


@data_app.command("prepare")
def data_prepare(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help=", ".join(DATA_FORMATS))],
    source: Annotated[Path, typer.Argument(help="The downloaded data set.")],
    out: Annotated[Path, typer.Argument(help="The prepared folder to write.")],
    skip_bad: Annotated[bool, typer.Option(help="Leave out damaged images instead of stopping.")] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Read a data set in its official layout into a prepared folder (COCO)."""
    from data_prep.reader_of import reader_of

    reader = reader_of(form)
    may_write(json, overwrite)
    report(reader(source, out, skip_bad=skip_bad), json)


@data_app.command("labels")
def data_labels(
    scenes: Annotated[Path, typer.Argument(help="A georeferenced raster, or a folder of them.")],
    labels: Annotated[
        Path, typer.Argument(help="One vector file for all scenes, or a folder with one per scene, named as the scene.")
    ],
    out: Annotated[Path, typer.Argument(help="The prepared folder to write.")],
    attribute: Annotated[str, typer.Option(help="Attribute that holds the class.")] = CLASS_ATTRIBUTE,
    point_size_m: Annotated[float | None, typer.Option("--size-m", "--point-size-m", help=SIZE_M)] = None,
    point_size_px: SizePx = None,
    layer: Annotated[str | None, typer.Option(help="The layer of the vector file, where it has several.")] = None,
    window_px: Annotated[int, typer.Option(help="Side of the images that larger scenes are cut into.")] = 2048,
    overlap_px: Annotated[int, typer.Option(help="Overlap of these images.")] = 256,
    bands: Bands = None,
    nodata: Nodata = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what cannot be used instead of stopping.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Read your own labels: scenes with boxes as GeoJSON, GeoPackage or Shapefile in any coordinate system."""
    from data_prep.label_files import LabelSettings
    from data_prep.vector_labels import prepare_labels

    settings = LabelSettings(
        attribute, point_size_m, layer, window_px, overlap_px, skip_bad, bands_in(bands), nodata, point_size_px
    )
    may_write(json, overwrite)
    card = prepare_labels(scenes, labels, out, settings)
    warn(card["warnings"])
    report(card, json)


@data_app.command("scenes")
def data_scenes(
    specification: Annotated[Path, typer.Argument(help="YAML specification of synthetic scenes.")],
    out: Annotated[Path, typer.Argument(help="The prepared folder to write.")],
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Draw synthetic georeferenced scenes."""
    from data_prep.synthetic import load_spec, make_scenes

    may_write(json, overwrite)
    report(make_scenes(load_spec(specification), out), json)


@data_app.command("tile")
def data_tile(
    folder: Annotated[Path, typer.Argument(help="A prepared folder.")],
    out: Annotated[Path, typer.Argument(help="The folder of tiles to write.")],
    window_px: Annotated[int, typer.Option(help="Side of a tile.")] = 640,
    overlap_px: Annotated[int, typer.Option(help="Overlap of neighbouring tiles.")] = 160,
    ids: Annotated[Path | None, typer.Option(help="List of image ids. By default all images.")] = None,
    min_kept_area: Annotated[float, typer.Option(help="Least share of a box inside the tile for it to be kept.")] = 0.5,
    keep_empty: Annotated[float, typer.Option(help="Share of the tiles without a box to keep.")] = 1.0,
    image_format: Annotated[str, typer.Option(help="png, or jpg for a tenth of the bytes.")] = "png",
    gsd_m: Annotated[float | None, typer.Option(help="Resample to this ground size of a pixel in metres.")] = None,
    keep_unknown_gsd: Annotated[
        bool, typer.Option("--keep-unknown-gsd", help="With --gsd-m: cut images of unknown GSD as they are.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Cut the images of a prepared folder into tiles."""
    from data_prep.tile import tile_folder
    from fsod.data.coco_folder import load_folder, read_ids

    may_write(json, overwrite)
    card = tile_folder(
        load_folder(folder),
        out,
        window_px=window_px,
        overlap_px=overlap_px,
        min_kept_area=min_kept_area,
        keep_empty=keep_empty,
        ids=read_ids(ids) if ids else None,
        image_format=image_format,
        gsd_m=gsd_m,
        keep_unknown_gsd=keep_unknown_gsd,
    )
    report(card, json)


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="A prepared folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the report [FOLDER/check].")] = None,
    fix: Annotated[Path | None, typer.Option(help="Write a corrected copy, with a log of every change, here.")] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Check a prepared folder: wrong boxes, damaged images, ground that two lists share. Writes pictures to judge by."""
    from data_prep.check import check_folder
    from data_prep.check_report import write_report
    from data_prep.fix import write_fixed

    may_write(json, overwrite, *check_report(out or folder / "check"))
    check = check_folder(folder)
    summary = check.summary()
    written = write_report(check, out or folder / "check")
    report({key: summary[key] for key in ("images", "boxes", "problems")} | {"report": str(written)}, None)
    if fix is not None:
        card = write_fixed(check, fix)
        fixed = {"fixed": str(fix), "changes": card["changes"], "findings_left": card["findings_left"]}
        report(fixed, None)
        summary |= fixed
    write_result(json, summary)


@data_app.command("shots")
def data_shots(
    folder: Annotated[Path, typer.Argument(help="A prepared folder.")],
    out: Annotated[Path, typer.Argument(help="A .json file for one list, or a folder for lists kK-seedS.json.")],
    k: Annotated[int | None, typer.Option("--shots-k", "-k", min=1, help="Boxes per class [10; folder: all K]")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draw [0; folder: all seeds]")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0, in a folder of lists.")] = 10,
    ids: Annotated[
        Path | None, typer.Option(help="Draw from these images only. Required where the folder has test images.")
    ] = None,
    leave_out_rare: Annotated[
        bool, typer.Option("--leave-out-rare", help="Leave classes with fewer than K boxes out of a list.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Draw K boxes of every class into shot lists: K = 1, 2, 3, 5, 10, 20, 30, each a prefix of the next."""
    from fsod.data.coco_folder import load_folder, read_ids
    from fsod.data.shots import USUAL_K, draw_shot_lists, images_to_draw_from

    one = out.suffix == ".json"
    ks = USUAL_K if k is None and not one else (k or 10,)
    chosen = range(seeds) if seed is None and not one else (seed or 0,)
    files = {(n, s): out if one else out / f"k{n}-seed{s}.json" for n in ks for s in chosen}
    may_write(json, overwrite, *map(shot_list_file, files.values()))
    images = images_to_draw_from(load_folder(folder), read_ids(ids) if ids else None)
    lists = draw_shot_lists(
        images, images.class_names, ks, chosen, leave_out_rare=leave_out_rare, option="--leave-out-rare"
    )
    for shots in lists:
        shots.save(files[shots.k, shots.seed])
    drawn = {shots.k: set(shots.box_ids) for shots in lists}
    left_out = {n: sorted(set(images.class_names) - drawn.get(n, set())) for n in ks}
    report(
        {"out": str(out), "lists": len(lists), "left_out": {n: names for n, names in left_out.items() if names}}, json
    )
