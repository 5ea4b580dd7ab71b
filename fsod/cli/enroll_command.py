"""``fsod enroll``: takes up classes without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from fsod.cli.options import Bands, Nodata, Seed, SizeM, SizePx, report
from fsod.cli.outputs import Json, Overwrite, bank_files, may_write


def enroll_command(
    out: Annotated[Path, typer.Option(help="The class bank to write. A PNG of the examples is written beside it.")],
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
    learned: Annotated[bool, typer.Option(help="Also include the classes that the weights have learned.")] = False,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Search scenes at the pixel size of the examples, not at the size that suits the classes best. Banks can only be "
            "merged if they share one size.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Add classes in seconds, without training, from boxes on scenes or in a prepared folder (--data)."""
    may_write(json, overwrite, *bank_files(out))
    files = read_examples(
        *(scene, examples, distractors, data, shots, names, shots_k, seed, attribute, verdicts, layer, ids),
        *(bands, nodata, size_m, size_px),
    )
    from fsod.steps.enroll_classes import enroll

    result = enroll(weights_of(config, checkpoint), files, out, learned=learned, native=native)
    report(result, json, "predict", scene[0] if scene else "SCENE.tif", "--bank", out, "--out", "found.geojson")
