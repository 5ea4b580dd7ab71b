"""Options for examples of one's own, which `fsod enroll` and `fsod finetune` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsod.cli.options import Bands, Nodata, Seed, SizeM, SizePx, bands_in, refuse
from fsod.config import CLASS_ATTRIBUTE
from fsod.config_file import load_settings
from fsod.errors import UserError

if TYPE_CHECKING:
    from fsod.band_rule import BandRule
    from fsod.steps.example_files import ExampleFiles
    from fsod.steps.folder_shots import FolderShots
    from fsod.steps.mark_files import MarkFiles, Seen
    from fsod.steps.scene_marks import SceneMarks

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
        help="Look-alikes, which fsod learns to tell from the classes and never reports: a vector file of boxes, or a class of "
        "--data. Repeat it for several.",
    ),
]
Verdicts = Annotated[
    list[str] | None,
    typer.Option(
        "--verdicts",
        help="A layer of `fsod predict` with yes or no in its attribute verdict. Yes becomes an example, no a look-alike. "
        "Its scene is looked for beside it and beside the marked ones, if there is no --scene. Repeat it for several.",
    ),
]
Areas = Annotated[
    list[str] | None,
    typer.Option(
        "--area",
        help="Vector file of polygons in which you have marked every object of the classes. All else in them is background. "
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


@dataclass(frozen=True)
class ExampleOptions:
    """What the options of examples say; none of them is needed by itself."""

    scene: ExampleScenes = None
    examples: ExampleLabels = None
    distractors: Distractors = None
    data: ExampleFolder = None
    shots: ExampleShots = None
    names: ExampleClasses = None
    ids: ExampleIds = None
    shots_k: FilesK = None
    seed: Seed = None
    config: Weights = None
    checkpoint: OtherWeights = None
    attribute: Attribute = CLASS_ATTRIBUTE
    verdicts: Verdicts = None
    layer: VectorLayer = None
    bands: Bands = None
    nodata: Nodata = None
    size_m: SizeM = None
    size_px: SizePx = None

    @property
    def of_scenes(self) -> dict[str, object]:
        """Options that name marks on scenes; what was not given is false."""
        return {"--scene": self.scene, "--examples": self.examples, "--verdicts": self.verdicts, "--layer": self.layer}

    @property
    def of_folder(self) -> dict[str, object]:
        """Options that choose examples of --data."""
        chosen = {"--class": self.names, "--ids": self.ids, "--shots-k": self.shots_k, "--seed": self.seed}
        return {"--shots": self.shots, **chosen}

    @property
    def of_looks(self) -> dict[str, object]:
        """Options that say how scenes are seen, and how large points are."""
        sizes = {"--size-m": self.size_m is not None, "--size-px": self.size_px is not None}
        return {"--bands": self.bands, "--nodata": self.nodata is not None, **sizes}

    def next_scene(self, marks: Sequence[SceneMarks] = ()) -> str:
        """For the next command to type: the first of --scene, or what verdicts are on."""
        return (self.scene or [one.scene for one in marks if one.judged] or ["SCENE.tif"])[0]

    @property
    def weights(self) -> Path:
        """The weights that the options name, else those that come with fsod."""
        from fsod.store.checkpoint import SHIPPED
        from fsod.tracking.run_paths import RunPaths

        if self.checkpoint is not None:
            return self.checkpoint
        return SHIPPED if self.config is None else RunPaths(load_settings(self.config).run_dir).meta_checkpoint

    def read(self, like: tuple[BandRule, ...] = (), *, toned: bool | None = True) -> ExampleFiles:
        """The examples; UserError unless they are those of one of the two ways. For ``like`` and ``toned`` see ``Seen``."""
        from fsod.geo.features import layer_in
        from fsod.geo.verdicts import judged_scenes
        from fsod.steps.example_files import examples_in_folder, examples_on_scenes

        if self.data is not None:
            self.refuse_looks()
            if not (any(self.of_scenes.values()) or (self.shots and (self.shots_k or self.seed))):
                return examples_in_folder(self.folder_shots(self.data))
        elif (self.examples or self.verdicts) and not any(self.of_folder.values()):
            if scenes := self.scenes():
                return examples_on_scenes(scenes, self.mark_files(), self.seen(like, toned=toned))
            if self.verdicts and not self.examples:
                path = self.verdicts[0]
                names = judged_scenes(path, layer=layer_in(path, self.layer))
                its_scene = f"its scene {', '.join(names)}".rstrip()
                raise UserError(
                    f"{path}: {its_scene} is neither beside it nor in this folder; name the raster with --scene"
                )
        raise UserError(
            "examples are either --scene and --examples or --verdicts, or --data with --class (and -k, --seed) or --shots, and --ids"
        )

    def scenes(self, before: Sequence[str] = ()) -> list[str]:
        """The scenes that the options name; else those of earlier marks, and those that verdicts are on."""
        from fsod.geo.layer_scene import scenes_judged
        from fsod.progress import console

        if self.scene:
            return self.scene
        judged = scenes_judged(self.verdicts or [], self.layer, before)
        for scene in judged:
            console.print(f"verdicts on {scene}", soft_wrap=True)
        return [*before, *judged]

    def folder_shots(self, data: Path) -> FolderShots:
        """The examples of a prepared folder."""
        from fsod.steps.folder_shots import shots_in_folder

        return shots_in_folder(
            data, self.shots, self.names or [], self.distractors or [], self.shots_k or 10, self.seed or 0, self.ids
        )

    def mark_files(self, areas: list[str] | None = None) -> MarkFiles:
        """The vector files, with those of areas in which everything is marked."""
        from fsod.geo.mark_shapes import PointSize
        from fsod.steps.mark_files import MarkFiles

        unsized = self.size_m is None and self.size_px is None
        return MarkFiles(
            self.examples or [],
            self.distractors or [],
            areas or [],
            self.verdicts or [],
            self.attribute,
            self.layer,
            None if unsized else PointSize(self.size_m, self.size_px),
        )

    def seen(self, like: tuple[BandRule, ...] = (), *, toned: bool | None = True) -> Seen:
        """How scenes are to be seen, where it is not as earlier examples were."""
        from fsod.steps.mark_files import Seen

        return Seen(bands_in(self.bands), self.nodata, like, toned)

    def refuse_looks(self) -> None:
        """UserError for options that are about scenes, where there are none."""
        looks = self.of_looks
        refuse(
            {option: looks[option] for option in ("--bands", "--nodata")},
            "goes with --scene; images of --data are red, green, blue",
        )
        refuse({option: looks[option] for option in ("--size-m", "--size-px")}, "goes with --scene and its points")
