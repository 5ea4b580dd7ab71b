"""Checkpoints: a detector's weights and what they were trained as, in one safetensors file.

Nothing in the file can execute. The header holds JSON: size, names of the learned classes, stage, settings.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fsod.band_rule import BandRule
from fsod.errors import UserError, first_problem, printable
from fsod.files import atomic_write
from fsod.image_look import Look
from fsod.model.detector import Detector
from fsod.model_sizes import SIZES
from fsod.store.any_header import first_line, read_any_header

SHIPPED = Path(__file__).parents[1] / "weights" / "nano.safetensors"
"""What comes with fsod: size nano, pretrained on invented classes alone."""


ClassName = Annotated[str, AfterValidator(printable)]
Metres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Enlargement = Annotated[float, Field(gt=0, le=1000)]
BoxPx = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
"""x1, y1, x2, y2."""

Judged = tuple[NonNegativeInt, NonNegativeInt]
"""How many detections were judged right, and how many wrong."""


class Origin(BaseModel, extra="allow"):
    """What a file says of where a class comes from, as far as something is done with it; the rest is only shown.

    Attributes: see ``ClassBank``.
    """

    row: str = "unknown"
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    reported: bool = True
    gsd_m: Metres | None = None
    annotations_sha256: str | None = None
    images: list[str] | None = None
    sources_sha256: list[str] = []
    scene: str | None = None
    scenes_sha256: list[str] = []
    examples: NonNegativeInt | None = None
    trials: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    judged: Judged | None = None
    look: Look | None = None
    reduction: Annotated[float, Field(ge=1, le=64)] | None = None


class KeptMarks(BaseModel):
    """What a file says of the marks on a scene, see ``fsod.steps.kept_marks``."""

    scene: str
    size_px: tuple[PositiveInt, PositiveInt]
    gsd_m: Metres | None
    boxes_xyxy_px: list[BoxPx]
    class_names: list[ClassName]
    refused_xyxy_px: list[BoxPx]
    refused_names: list[ClassName]
    areas: str
    judged: dict[ClassName, Judged] = {}

    @model_validator(mode="after")
    def _as_many_names_as_boxes(self) -> Self:
        if len(self.boxes_xyxy_px) != len(self.class_names) or len(self.refused_xyxy_px) != len(self.refused_names):
            raise ValueError("boxes and their names are not as many")
        return self


def _checked(kind: type[BaseModel]) -> AfterValidator:
    """The values as they are, if they are of this kind."""

    def check(values: dict[str, Any]) -> dict[str, Any]:
        try:
            kind.model_validate(values)
        except ValidationError as error:
            raise ValueError(first_problem(error)) from error
        return values

    return AfterValidator(check)


Origins = dict[ClassName, Annotated[dict[str, Any], _checked(Origin)]]


class LearnedFrom(BaseModel):
    """What a checkpoint that stands alone, as a class bank does, says of its classes beside their rows.

    Attributes:
        origins: see ``ClassBank``.
        gsd_m: see ``ClassBank``.
        enlargement: see ``ClassBank``.
        turned: see ``ClassBank``.
        sized: see ``ClassBank``.
        marks: what the analyst marked on each scene, see ``fsod.steps.scene_marks``; a later training goes on from it.
        shown: see ``ClassBank``.
    """

    origins: Origins
    gsd_m: Metres | None = None
    enlargement: Enlargement = 1.0
    turned: bool = False
    sized: bool = False
    marks: list[Annotated[dict[str, Any], _checked(KeptMarks)]] = []
    shown: tuple[BandRule, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A detector and what it is.

    Attributes:
        detector: in evaluation mode on the CPU.
        size: one of ``fsod.model_sizes``.
        class_names: of the learned rows, in order.
        stage: what made it: pretrain, meta-train, finetune.
        settings: of the run that made it.
        learned_from: of a detector that was finetuned on an analyst's marks; None for others.
        data_sha256: of the prepared folder that it was meta-trained on; empty for others.
    """

    detector: Detector
    size: str
    class_names: tuple[str, ...]
    stage: str
    settings: dict[str, Any] = field(default_factory=dict)
    learned_from: LearnedFrom | None = None
    data_sha256: str = ""


class Header(BaseModel):
    """What fsod writes beside the tensors of a file, and needs to read them.

    Attributes:
        FORMAT: tells files of one kind from others.
        WHAT: what such a file is, in messages.
    """

    FORMAT: ClassVar[str]
    WHAT: ClassVar[str]


H = TypeVar("H", bound=Header)


class CheckpointHeader(Header):
    """Of a ``Checkpoint``."""

    FORMAT = "fsod-checkpoint-2"
    WHAT = "a checkpoint"
    size: str
    class_names: tuple[ClassName, ...]
    stage: str
    settings: dict[str, Any]
    learned_from: LearnedFrom | None = None
    data_sha256: str = ""


def weights_sha256(detector: Detector) -> str:
    """Hash of everything that all classes share; rows of classes are left out.

    A class bank holds rows made for these weights and for no others.
    """
    digest = hashlib.sha256()
    for name, value in sorted(detector.state_dict().items()):
        if not name.startswith("learned"):
            digest.update(name.encode())
            value = value.detach().float().cpu() + 0.0  # averaging makes 0 of -0, which is the same weight
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(path: Path, checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> None:
    """Writes under a temporary name and renames; float16 takes half the space."""
    header = CheckpointHeader(
        size=checkpoint.size,
        class_names=checkpoint.class_names,
        stage=checkpoint.stage,
        settings=checkpoint.settings,
        learned_from=checkpoint.learned_from,
        data_sha256=checkpoint.data_sha256,
    )
    weights = copy.deepcopy(checkpoint.detector).to(dtype).state_dict()
    write_safetensors(path, {name: value.cpu() for name, value in weights.items()}, header)


def load_checkpoint(path: Path, trunk_dtype: torch.dtype = torch.float32, size: str | None = None) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        path: what ``save_checkpoint`` wrote.
        trunk_dtype: precision the trunk shall compute in.
        size: the size it must have, any if None.

    Raises:
        UserError: not a checkpoint, damaged, or of another size.
    """
    tensors, header = read_safetensors(path, CheckpointHeader)
    if header.size not in SIZES or (size is not None and header.size != size):
        wanted = size or " or ".join(SIZES)
        raise UserError(f"{path}: a checkpoint of size {header.size!r}, but {wanted} is needed")
    detector = Detector(header.size, len(header.class_names), trunk_dtype)
    try:
        detector.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path}: the weights do not fit a {header.size} detector: {first_line(error)}") from error
    return Checkpoint(detector.eval(), **dict(header))


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor], header: Header) -> None:
    """Writes tensors and their header, the whole of it or nothing."""
    content = {"format": header.FORMAT, **header.model_dump(mode="json")}
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(contiguous, temporary, metadata={"fsod": json.dumps(content)})
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise UserError(f"{path}: cannot be written ({first_line(error)})") from error
        temporary.chmod(mode)  # safetensors writes a file that its owner alone may read


def read_safetensors(path: Path, kind: type[H]) -> tuple[dict[str, torch.Tensor], H]:
    """Tensors and header of a file of ``kind``; UserError if it is anything else."""
    header = read_header(path, kind)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not {kind.WHAT}: {first_line(error)}") from error
    return tensors, header


def read_header(path: Path, kind: type[H]) -> H:
    """Header of a file of ``kind``; UserError if it is anything else, or the header is not what its kind promises."""
    content = read_any_header(path, kind.WHAT)
    found = content.get("format")
    if found != kind.FORMAT:
        if str(found).rpartition("-")[0] == kind.FORMAT.rpartition("-")[0]:
            raise UserError(
                f"{path}: {kind.WHAT} of another version of fsod ({found}, this one reads {kind.FORMAT}): "
                "make it again with this version, or read it with that one"
            )
        raise UserError(f"{path}: not {kind.WHAT} (its header says {found!r}, expected {kind.FORMAT!r})")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {kind.WHAT} with a damaged header: {first_problem(error)}; make it again") from error


def shown_to(weights: Path) -> tuple[BandRule, ...]:
    """The bands that weights have learned their classes in, where they say so; UserError if the file holds no weights."""
    known = read_header(weights, CheckpointHeader).learned_from
    return () if known is None else known.shown
