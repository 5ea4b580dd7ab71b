"""Typed settings of a run; ``fsod.config_file`` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from fsod.class_splits import novel_classes
from fsod.data_formats import FormatName
from fsod.errors import UserError
from fsod.model_sizes import SizeName

CLASS_ATTRIBUTE = "class"
"""Attribute of vector files that holds the class, where no other one is named."""

WINDOW_PX = 640
"""Side of a window of a scene, where nothing else is asked for."""

Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["auto", "float32", "bfloat16"]
Engine = Literal["local", "ray"]
LEAST_SIDE_PX = 64
SidePx = Annotated[int, Field(ge=LEAST_SIDE_PX, multiple_of=32)]


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("~ stands for the home folder of a user that this machine does not have") from error


Place = Annotated[Path, AfterValidator(_at_home)]
"""Of a file or folder; no shell has put the home folder in for ``~``."""
Init = Annotated[
    Literal["shipped"] | Place | None,
    Field(
        union_mode="left_to_right",
        description="weights to start from: shipped, a checkpoint (`fsod pretrain`), or a trunk (`fsod weights import`); "
        "null: random weights",
    ),
]


class Settings(BaseModel):
    """What every section shares: unknown keys are errors, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """YAML reads yes, no, on and off as true and false, which pydantic would take for 1 and 0."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        told = any(isinstance(one, bool) for one in (value if isinstance(value, list | tuple) else [value]))
        if told and bool not in (annotation, *get_args(annotation)):
            raise ValueError("expected a number, or a text in quotes, not yes or no")
        return value


class DataSettings(Settings):
    """Which data, and which of its classes are novel."""

    format: FormatName
    skip_bad: bool = Field(False, description="leave out images that cannot be used, and list them in the card")
    novel: tuple[str, ...] = Field(description="novel classes, or the name of a published split such as S1 or B2")
    scenes: Place | None = Field(None, description="specification of synthetic scenes (format synthetic)")
    train_list: str = Field("train", description="name of the list of training images under splits/")
    test_list: str = Field("test", description="name of the list of test images under splits/")
    tile_px: SidePx = 640
    tile_overlap_px: Annotated[int, Field(ge=0, validate_default=True)] = 160

    @field_validator("novel", mode="before")
    @classmethod
    def _named_split(cls, novel: object, info: ValidationInfo) -> object:
        if not isinstance(novel, str):
            return novel
        if "format" not in info.data:  # is wrong, and has been named
            return ()
        try:
            return novel_classes(info.data["format"], novel)
        except UserError as error:
            raise ValueError(str(error)) from error

    @field_validator("tile_overlap_px")
    @classmethod
    def _tiles_advance(cls, overlap_px: int, info: ValidationInfo) -> int:
        tile_px = info.data.get("tile_px", overlap_px + 1)
        if overlap_px >= tile_px:
            raise ValueError(f"must be less than tile_px, which is {tile_px}")
        return overlap_px


class EpisodeSettings(Settings):
    """Size of an episode."""

    ways: Positive = Field(7, description="classes per episode; at most the number of base classes")
    shots: Positive = Field(
        3, description="most support examples per class; each episode draws a number from 1 to this"
    )
    queries: Positive = 8
    query_px: SidePx = 320
    support_px: SidePx = Field(128, validate_default=True)
    scale_jitter: Annotated[float, Field(ge=1, le=4)] = Field(
        1.4, description="queries are enlarged or reduced by up to this factor"
    )
    procedural_first: Annotated[int, Field(ge=0)] = Field(
        0, description="number of first steps that see invented classes only"
    )
    procedural_share: Share = Field(0.0, description="share of episodes of invented classes after that")
    procedural_uses: Positive = Field(1, description="times that a drawn episode is used; each time is augmented anew")
    procedural_natural: Share = Field(
        0.0, description="share of drawn classes without corners, such as crowns, boulders and craters"
    )
    procedural_without: tuple[str, ...] = Field(
        (), description="kinds of object that invented classes must not resemble"
    )

    @field_validator("support_px")
    @classmethod
    def _supports_fit(cls, support_px: int, info: ValidationInfo) -> int:
        query_px = info.data.get("query_px", support_px)
        if support_px > query_px:  # supports travel in the queries' batch, see model/detector.py
            raise ValueError(f"must be at most query_px, which is {query_px}")
        return support_px


class LossSettings(Settings):
    """Weights of the loss terms and quotas of meta-sampling."""

    cross: Annotated[float, Field(ge=0)] = Field(
        1.0, description="weight of the meta-cross term, in episodes of invented classes"
    )
    confidence: Annotated[float, Field(ge=0)] = 1.0
    box: Annotated[float, Field(ge=0)] = 3.0
    pull: Annotated[float, Field(ge=0)] = Field(
        0.5, description="weight of pulling predicted kernels towards learned ones"
    )
    per_positive_pair: Positive = Field(300, description="negatives kept per class that the image shows")
    per_negative_pair: Positive = Field(100, description="negatives kept per class that the image does not show")


class OptimSettings(Settings):
    """Length and step size of a training stage."""

    steps: Positive
    lr: Annotated[float, Field(gt=0)] = 2e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    clip_norm: Annotated[float, Field(gt=0)] = 10.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    checkpoint_every: Positive = 250
    log_every: Positive = 20
    workers: Annotated[int, Field(ge=0)] = 1
    precision: Precision = "auto"


class FinetuneSettings(OptimSettings):
    """Taking up novel classes from K boxes each."""

    novel_share: Share = Field(
        0.0, description="share of queries drawn for novel classes; the others are drawn for all classes"
    )
    part: Literal["kernels", "adapters", "all"] = Field(
        "all",
        description="what is trained. kernels: the rows that a bank stores; adapters: also the rest of the head, and scale and "
        "shift of batch norms; all: every weight. Only kernels leaves the checkpoint as it is",
    )
    keep: Share = Field(
        0.2, description="share of the base weights in the result; more of it forgets fewer base classes"
    )
    known_margin: Annotated[float, Field(ge=0)] | None = Field(
        0.5,
        description="how far around a shot other classes count as absent, in box sides; null: in the whole crop, for data "
        "sets whose classes seldom share a place",
    )


class EvaluateSettings(Settings):
    """How predictions become numbers."""

    score_floor: Annotated[float, Field(gt=0, le=0.005)] = 0.001
    nms_iou: Share = 0.6
    rival_iou: Share = Field(0.9, description="IoU above which boxes of different classes compete")
    max_detections: Annotated[int, Field(ge=100)] = 300


class PredictSettings(Settings):
    """Inference on scenes."""

    window_px: SidePx | None = Field(
        None, description=f"side of a window; null: {WINDOW_PX}, or what an exported network was made for"
    )
    overlap_px: Annotated[int, Field(ge=0)] = 160
    scales: tuple[Annotated[float, Field(gt=1, le=64)], ...] = Field(
        (), description="factors of further passes over the reduced scene, for objects larger than the overlap"
    )
    batch: Positive = 4
    score: Share | None = Field(
        None,
        description="leave out detections below this score; null: the score that the bank proposes per class, else 0.25",
    )
    gsd_m: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="ground size of a pixel to resample scenes to; null: that of the bank, where both are known",
    )
    native: bool = Field(False, description="search scenes at their own pixel size")
    turns: bool | None = Field(
        None, description="look at each window in all four quarter turns; null: as the bank asks"
    )
    bands: tuple[Positive, ...] | None = Field(
        None, description="one or three band numbers to read as red, green, blue"
    )
    nodata: Annotated[float, Field(allow_inf_nan=True)] | None = Field(
        None, description="value of pixels without data; null: as declared or recognised; nan: as declared only"
    )
    aoi: Place | None = Field(None, description="vector file of the area to search; all of the scene if null")
    aoi_layer: str | None = Field(None, description="layer of that file, where it has several")
    asset: str | None = Field(None, description="name or role of the assets of STAC files that are the scenes")
    stac: bool = Field(False, description="also write a STAC item (label extension) beside each layer")
    minutes: Annotated[float, Field(gt=0)] | None = Field(
        None, description="time to search all scenes, likeliest windows first; null: as long as it takes"
    )
    budget: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of each scene's windows to search, likeliest first; null: all"
    )
    together: bool = Field(False, description="overlapping scenes make one layer, in which each object is once")
    pictures: bool = Field(True, description="draw pictures beside each layer, which reports need")
    restart: bool = Field(False, description="drop what an unfinished run has left, and start over")
    overwrite: bool = Field(False, description="also replace files that fsod did not write")
    skip_damaged: bool = Field(False, description="skip windows whose pixels cannot be read")
    precision: Precision = Field("auto", description="auto: bfloat16 where the hardware has it")
    engine: Engine = Field(
        "local", description="local: in this process; ray: on the Ray cluster of RAY_ADDRESS, or on all cores"
    )


class CommonSettings(Settings):
    """What every training has, on real classes or on invented ones."""

    name: str
    run_dir: Place
    seed: Seed = 0
    size: SizeName = "nano"
    episodes: EpisodeSettings = EpisodeSettings()
    loss: LossSettings = LossSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    predict: PredictSettings = PredictSettings()


class PretrainSettings(CommonSettings):
    """A training on invented classes alone."""

    init: Init = None
    grounds: Place | None = Field(
        None,
        description="folder of unlabelled photographs, to cut classes out of and paste them into; null: drawn classes only",
    )
    grounds_share: Share = Field(0.5, description="share of episodes made of photographs")
    pretrain: OptimSettings


class RunSettings(CommonSettings):
    """A whole run, from data to predictions."""

    init: Init = None
    data: DataSettings
    meta_train: OptimSettings
    finetune: FinetuneSettings
