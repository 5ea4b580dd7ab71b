"""``fsod finetune``: takes up classes by training, a run's novel ones or an analyst's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fsod.cli.example_options import (
    Areas,
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
    point_size,
    read_examples,
    refuse_seeing,
    refuse_size,
    weights_of,
)
from fsod.cli.options import Bands, Nodata, Overrides, Seed, SizeM, SizePx, bands_in, refuse, report
from fsod.cli.outputs import Json, Overwrite, bank_files, detector_files, may_write, paths_in
from fsod.config import load_settings
from fsod.errors import UserError


def finetune_command(
    overrides: Overrides = None,
    config: Weights = None,
    shots_k: FilesK = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Learn your own marks, and write the detector to this file.")] = None,
    scene: ExampleScenes = None,
    examples: ExampleLabels = None,
    area: Areas = None,
    verdicts: Verdicts = None,
    earlier: Annotated[
        Path | None,
        typer.Option("--from", help="Go on from a detector of `fsod finetune --out`, with all marks it was made from."),
    ] = None,
    distractors: Distractors = None,
    data: ExampleFolder = None,
    shots: ExampleShots = None,
    names: ExampleClasses = None,
    ids: ExampleIds = None,
    checkpoint: OtherWeights = None,
    attribute: Attribute = "class",
    layer: VectorLayer = None,
    bands: Bands = None,
    nodata: Nodata = None,
    size_m: SizeM = None,
    size_px: SizePx = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.05, max=600, help="Time for the training itself; reading and writing come on top [2]."),
    ] = None,
    part: Annotated[
        Literal["all", "rows"] | None,
        typer.Option(
            help="What is trained [all]. all: every weight; the file stands alone. rows: the rows of a class bank; banks of the "
            "same weights can be merged."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the training with --part rows.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Drop what an unfinished training has left beside --out, and begin anew.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Train on new classes: your own marks on scenes (--out), or a run's novel classes (--config).

    With --out all weights learn for two minutes (--minutes). The result is one file for `fsod predict --bank`. Ctrl-C keeps
    what has been learned so far; the same command goes on.
    """
    if out is None:
        own: dict[str, object] = {"--scene": scene, "--examples": examples, "--not": distractors, "--data": data}
        own |= {"--shots": shots, "--class": names, "--checkpoint": checkpoint, "--steps": steps, "--area": area}
        own |= {
            "--ids": ids,
            "--verdicts": verdicts,
            "--from": earlier,
            "--minutes": minutes,
            "--part": part,
            "--layer": layer,
            "--bands": bands,
            "--nodata": nodata is not None,
            "--size-m": size_m is not None,
            "--size-px": size_px is not None,
        }
        refuse({**own, "--restart": restart}, "goes with --out; a run (--config) draws its shots from its own data")
        _finetune_run(config, overrides, shots_k or 10, seed, json, overwrite)
        return
    if overrides:
        raise UserError(f"{overrides[0]}: settings can be changed of a run only, not with --out")
    if part == "rows":
        refuse(
            {"--area": area, "--from": earlier, "--minutes": minutes, "--restart": restart},
            "has no effect on --part rows; leave one of them out",
        )
        may_write(json, overwrite, *bank_files(out))
        files = read_examples(
            *(scene, examples, distractors, data, shots, names, shots_k, seed, attribute, verdicts, layer, ids),
            *(bands, nodata, size_m, size_px),
        )
        from fsod.steps.enroll_classes import refine_files

        result = refine_files(weights_of(config, checkpoint), files, out, steps)
    else:
        refuse({"--steps": steps}, "goes with --part rows; --minutes says how long all weights learn")
        if earlier is not None:
            refuse({"--checkpoint": checkpoint, "--config": config}, "and --from both name weights; give one of them")
        from fsod.steps.finetune_marks import MINUTES, finetune_marks
        from fsod.steps.folder_shots import marks_in_folder, shots_in_folder
        from fsod.steps.kept_marks import earlier_marks
        from fsod.steps.scene_marks import Seen, band_rules, marks_on_scenes

        may_write(json, overwrite, *detector_files(out))
        weights = earlier or weights_of(config, checkpoint)
        if data is not None:
            refuse(
                {"--scene": scene, "--examples": examples, "--area": area, "--verdicts": verdicts, "--layer": layer},
                "and --data are two ways to give examples; take one",
            )
            refuse_seeing(bands, nodata)
            refuse_size(size_m, size_px)
            marks = marks_in_folder(
                shots_in_folder(data, shots, names or [], distractors or [], shots_k or 10, seed, ids)
            )
        else:
            refuse({"--shots": shots, "--class": names, "--ids": ids, "--shots-k": shots_k}, "goes with --data")
            if not (examples or verdicts or area):
                raise UserError("nothing to learn: give --examples, --verdicts, or --data with --class or --shots")
            before = earlier_marks(earlier)
            scenes = scene or [one.scene for one in before]
            if not scenes:
                raise UserError("--scene: name the scene that the marks are on")
            seen = Seen(bands_in(bands), nodata, band_rules(before))
            marks = marks_on_scenes(
                *(scenes, examples or [], distractors or [], area or [], verdicts or [], attribute, layer, seen),
                point_size(size_m, size_px),
            )
        result = finetune_marks(weights, marks, out, minutes=minutes or MINUTES, restart=restart)
    report(result, json, "predict", scene[0] if scene else "SCENE.tif", "--bank", out, "--out", "found.geojson")
    if "stopped" in result:
        raise typer.Exit(130)


def _finetune_run(
    config: Path | None, overrides: list[str] | None, k: int, seed: int, json: Path | None, overwrite: bool
) -> None:
    from fsod.steps.train import run_finetune

    if config is None:
        raise UserError("finetune needs --config of a run, or --out and examples of your own")
    settings = load_settings(config, overrides)
    may_write(json, overwrite, inputs=paths_in(settings))
    result = run_finetune(settings, k, seed)
    report(result, json, "evaluate", "--config", config, "--shots-k", k, "--seed", seed, *overrides or ())
