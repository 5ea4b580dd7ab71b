"""``fsod finetune``: takes up classes by training, a run's novel ones or an analyst's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fsod.cli.example_options import Areas, ExampleOptions
from fsod.cli.option_groups import with_groups
from fsod.cli.options import Overrides, refuse, report
from fsod.cli.outputs import Json, Overwrite, bank_files, detector_files, may_write, paths_in
from fsod.config_file import load_settings
from fsod.errors import UserError

if TYPE_CHECKING:
    from fsod.steps.scene_marks import SceneMarks

NO_EXAMPLES = ExampleOptions()


@with_groups
def finetune_command(
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Learn your own marks, and write the detector to this file.")] = None,
    given: ExampleOptions = NO_EXAMPLES,
    area: Areas = None,
    earlier: Annotated[
        Path | None,
        typer.Option("--from", help="Go on from a detector of `fsod finetune --out`, and learn its marks again."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=600,
            help="Time for the training itself; reading, looks at the scenes and writing come on top [2].",
        ),
    ] = None,
    part: Annotated[
        Literal["all", "rows"] | None,
        typer.Option(
            help="What is trained, all by default. all: every weight; the file stands alone. rows: the rows of a class bank; banks of the "
            "same weights can be merged."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the training with --part rows.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Drop what an unfinished training has left beside --out, and start over.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Train on new classes: your own marks on scenes (--out), or a run's novel classes (--config).

    With --out all weights learn for two minutes (--minutes). The result is one file for `fsod predict --bank`. Ctrl-C keeps
    what has been learned so far; the same command goes on.
    """
    if out is None:
        refuse(
            {
                **given.of_scenes,
                **given.of_folder,
                **given.of_looks,
                "--not": given.distractors,
                "--data": given.data,
                **dict.fromkeys(("--shots-k", "--seed")),  # of a run, too
                "--checkpoint": given.checkpoint,
                "--area": area,
                "--from": earlier,
                "--minutes": minutes,
                "--part": part,
                "--steps": steps,
                "--restart": restart,
            },
            "goes with --out; a run (--config) draws its shots from its own data",
        )
        _finetune_run(given.config, overrides, given.shots_k or 10, given.seed, json, overwrite)
        return
    if overrides:
        raise UserError(f"{overrides[0]}: only a run (--config) takes settings; leave it out with --out")
    if part == "rows":
        refuse(
            {"--area": area, "--from": earlier, "--minutes": minutes, "--restart": restart},
            "has no effect on --part rows; leave one of them out",
        )
        may_write(json, overwrite, *bank_files(out))
        files, marks = given.read(), []
        from fsod.steps.enroll_classes import refine_files

        result = refine_files(given.weights, files, out, steps)
    else:
        refuse({"--steps": steps}, "goes with --part rows; --minutes says how long all weights learn")
        if earlier is not None:
            refuse(
                {"--checkpoint": given.checkpoint, "--config": given.config},
                "and --from both name weights; give one of them",
            )
        from fsod.steps.finetune_marks import MINUTES, finetune_marks

        may_write(json, overwrite, *detector_files(out))
        marks = _marks(given, area, earlier)
        result = finetune_marks(earlier or given.weights, marks, out, minutes=minutes or MINUTES, restart=restart)
    report(result, json, "predict", given.next_scene(marks), "--bank", out, "--out", "found.geojson")
    if "stopped" in result:
        raise typer.Exit(130)


def _marks(given: ExampleOptions, area: list[str] | None, earlier: Path | None) -> list[SceneMarks]:
    """The marks that the options name; UserError unless they are those of one of the two ways."""
    from fsod.steps.folder_shots import marks_in_folder
    from fsod.steps.kept_marks import earlier_marks
    from fsod.steps.mark_files import marks_on_scenes
    from fsod.steps.scene_marks import band_rules
    from fsod.store.checkpoint import shown_to

    if given.data is not None:
        refuse({**given.of_scenes, "--area": area}, "and --data are two ways to give examples; take one")
        given.refuse_looks()
        if given.shots is not None:
            both = {"--shots-k": given.shots_k, "--seed": given.seed}
            refuse(both, "and --shots both say which examples; give one of them")
        return marks_in_folder(given.folder_shots(given.data))
    refuse(given.of_folder, "goes with --data")
    if not (given.examples or given.verdicts or area):
        raise UserError(
            "there is nothing to learn from; give --examples, --verdicts, or --data with --class or --shots"
        )
    before = earlier_marks(earlier)
    scenes = given.scenes([one.scene for one in before])
    if not scenes:
        raise UserError("--scene: name the scene that shows the marks")
    return marks_on_scenes(scenes, given.mark_files(area), given.seen(band_rules(before) or shown_to(given.weights)))


def _finetune_run(
    config: Path | None, overrides: list[str] | None, k: int, seed: int | None, json: Path | None, overwrite: bool
) -> None:
    from fsod.steps.train import run_finetune

    if config is None:
        raise UserError("finetune needs --config of a run, or --out and examples of your own")
    settings = load_settings(config, overrides)
    may_write(json, overwrite, inputs=paths_in(settings))
    seed = settings.seed if seed is None else seed
    result = run_finetune(settings, k, seed)
    report(result, json, "evaluate", "--config", config, "--shots-k", k, "--seed", seed, *overrides or ())
