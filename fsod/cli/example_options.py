"""Options for examples of one's own, which `fsod enroll` and `fsod finetune` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsod.cli.options import bands_in, refuse
from fsod.config import load_settings
from fsod.errors import UserError

if TYPE_CHECKING:
    from fsod.geo.mark_shapes import PointSize
    from fsod.steps.example_files import ExampleFiles

ExampleScenes = Annotated[
    list[str] | None,
    typer.Option("--scene", help="A raster with examples: a path, a URL, or a GDAL name. Repeat it for several."),
]
ExampleLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--examples",
        help="Vector file of example boxes, or of points (--size-m): GeoJSON, GeoPackage, Shapefile. Repeat it for several, "
        "in the order of the scenes if these have no coordinate system.",
    ),
]
Distractors = Annotated[
    list[str] | None,
    typer.Option(
        "--not",
        help="Look-alikes of the classes, which are told apart and never reported: a vector file of boxes, or a class of "
        "--data. Repeat it for several.",
    ),
]
Verdicts = Annotated[
    list[str] | None,
    typer.Option(
        "--verdicts",
        help="A layer of `fsod predict` with yes or no in its attribute verdict. Yes becomes an example, no a look-alike. "
        "Repeat it for several.",
    ),
]
Areas = Annotated[
    list[str] | None,
    typer.Option(
        "--area",
        help="Vector file of polygons in which every object of the classes is marked. All else inside is background. "
        "Repeat it for several.",
    ),
]
VectorLayer = Annotated[str | None, typer.Option("--layer", help="The layer to read, for vector files with several.")]
ExampleFolder = Annotated[
    Path | None,
    typer.Option("--data", help="A prepared folder to take examples from, instead of --scene and --examples."),
]
ExampleShots = Annotated[Path | None, typer.Option("--shots", help="A shot list of --data.")]
ExampleIds = Annotated[
    Path | None,
    typer.Option(
        "--ids",
        help="List of images of --data that examples may come from, such as splits/train.txt. Required where the folder has "
        "test images.",
    ),
]
ExampleClasses = Annotated[
    list[str] | None, typer.Option("--class", help="A class of --data or --shots. Repeat it for several.")
]
FilesK = Annotated[int | None, typer.Option("--shots-k", "-k", min=1, help="Boxes to draw per class [10].")]
Weights = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Start from a run's meta-trained weights, not the shipped ones."),
]
OtherWeights = Annotated[Path | None, typer.Option("--checkpoint", help="Start from these weights.")]
Attribute = Annotated[str, typer.Option(help="Attribute of the vector files that holds the class.")]


def read_examples(
    scenes: list[str] | None,
    labels: list[str] | None,
    distractors: list[str] | None,
    data: Path | None,
    shots: Path | None,
    class_names: list[str] | None,
    k: int | None,
    seed: int,
    attribute: str,
    verdicts: list[str] | None = None,
    layer: str | None = None,
    ids: Path | None = None,
    bands: str | None = None,
    nodata: float | None = None,
    size_m: float | None = None,
    size_px: float | None = None,
) -> ExampleFiles:
    """The examples that the options name; UserError unless they are those of one of the two ways."""
    from fsod.steps.example_files import examples_in_folder, examples_on_scenes
    from fsod.steps.folder_shots import shots_in_folder
    from fsod.steps.scene_marks import Seen

    if data is not None:
        refuse_seeing(bands, nodata)
        refuse_size(size_m, size_px)
    if data is not None and not (scenes or labels or verdicts or layer or (shots and k)):
        return examples_in_folder(
            shots_in_folder(data, shots, class_names or [], distractors or [], k or 10, seed, ids)
        )
    if data is None and scenes and (labels or verdicts) and not (shots or class_names or k or ids):
        seen = Seen(bands_in(bands), nodata)
        size = point_size(size_m, size_px)
        return examples_on_scenes(scenes, labels or [], distractors or [], attribute, verdicts or [], layer, seen, size)
    raise UserError(
        "examples are either --scene and --examples or --verdicts, or --data with --class (and -k) or --shots, and --ids"
    )


def refuse_seeing(bands: str | None, nodata: float | None) -> None:
    """UserError for options that say how scenes are seen, where there are none."""
    refuse(
        {"--bands": bands, "--nodata": nodata is not None}, "goes with --scene; images of --data are red, green, blue"
    )


def point_size(size_m: float | None, size_px: float | None) -> PointSize | None:
    """What --size-m or --size-px says; None where neither is given."""
    from fsod.geo.mark_shapes import PointSize

    return None if size_m is None and size_px is None else PointSize(size_m, size_px)


def refuse_size(size_m: float | None, size_px: float | None) -> None:
    """UserError for the size of points, where there can be none."""
    refuse({"--size-m": size_m is not None, "--size-px": size_px is not None}, "goes with --scene and its points")


def weights_of(config: Path | None, checkpoint: Path | None) -> Path:
    """The weights that the options name, else those that come with fsod."""
    from fsod.store.checkpoint import SHIPPED
    from fsod.tracking.run_paths import RunPaths

    if checkpoint is not None:
        return checkpoint
    return SHIPPED if config is None else RunPaths(load_settings(config).run_dir).meta_checkpoint
