"""The class bank: a small file that holds the rows of enrolled classes.

A bank belongs to the weights it was made with and is refused by hash for others. Banks of the same weights compose.
A checkpoint is a bank of the classes that it has learned, with its own weights in the same file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from fsod.band_rule import BandRule
from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.model.meta_head import ClassRows
from fsod.store.any_header import read_any_header
from fsod.store.checkpoint import (
    SHIPPED,
    Checkpoint,
    CheckpointHeader,
    ClassName,
    Enlargement,
    Header,
    LearnedFrom,
    Metres,
    Origins,
    load_checkpoint,
    read_header,
    read_safetensors,
    weights_sha256,
    write_safetensors,
)

USUAL_SCORE = 0.25
"""Where detections of a class are shown from if the bank proposes nothing."""


@dataclass(frozen=True)
class ClassBank:
    """Enrolled classes.

    Attributes:
        class_names: a detection's class id is a position in them.
        rows: of the meta-detection head, float32, on the CPU.
        weights_sha256: hash of the weights that the rows are for.
        origins: class name -> where its row comes from: learned, predicted or refined, the number of examples, their
            GSD. These keys have an effect: ``score`` is the least score worth showing. ``reported`` is false for a distractor.
            ``reduction`` says how many times coarser than the scene a class of large objects is seen. ``trials`` and ``judged`` tell how well it is found, see ``fsod.evidence``.
            ``annotations_sha256`` and ``images`` (``ImageRecord.source``) name the images of a prepared folder that the
            examples lie on, ``sources_sha256`` those that it was made from, ``scenes_sha256`` the files of scenes, see
            ``fsod.data.leakage``.
        gsd_m: ground size of a pixel that scenes are searched at, None when unknown.
        enlargement: how many times as large as it is a scene of unknown GSD is searched.
        turned: whether windows are looked at in all four quarter turns, see ``fsod.model.turned``.
        sized: whether these looks are at several sizes, see ``fsod.inference.several_looks``.
        checkpoint: the file of these weights as seen from the bank's folder, or "shipped"; only the hash decides
            whether they fit.
        shown: which bands the examples were shown in, each rule once; nothing where they come from plain pictures.
    """

    class_names: tuple[str, ...]
    rows: ClassRows
    weights_sha256: str
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)
    gsd_m: float | None = None
    enlargement: float = 1.0
    turned: bool = False
    sized: bool = False
    checkpoint: str | None = None
    shown: tuple[BandRule, ...] = ()

    @property
    def reported(self) -> ClassBank:
        """The same bank without the distractors: classes that are there only to be told apart from the others."""
        return self.select([name for name in self.class_names if self._reports(name)])

    @property
    def distractors(self) -> ClassRows:
        """Rows of the distractors."""
        return self.rows.select([i for i, name in enumerate(self.class_names) if not self._reports(name)])

    @property
    def scores(self) -> tuple[float, ...]:
        """From which score on detections of each class are worth showing, in 0..1."""
        said = (self.origins.get(name, {}).get("score") for name in self.class_names)
        return tuple(USUAL_SCORE if score is None else float(score) for score in said)

    @property
    def reductions(self) -> tuple[float, ...]:
        """How many times coarser than the scene, at the size that it is searched at, each class is seen: 1 to 64."""
        return tuple(reduction_in(self.origins.get(name, {})) for name in self.class_names)

    def with_rows(self, other: ClassBank) -> ClassBank:
        """The same bank with the rows that another one, for the same weights, has for some of its classes."""
        index = [self.class_names.index(name) for name in other.class_names]
        kernels, biases = [kernel.clone() for kernel in self.rows.kernels], self.rows.biases.clone()
        for kernel, own in zip(kernels, other.rows.kernels, strict=True):
            kernel[index] = own
        biases[index] = other.rows.biases
        return replace(self, rows=ClassRows(kernels, biases))

    def with_scores(self, scores: dict[str, float]) -> ClassBank:
        """The same bank with other scores for some of its classes."""
        origins = {
            name: {**origin, "score": scores[name]} if name in scores else origin
            for name, origin in self.origins.items()
        }
        return replace(self, origins=origins)

    def with_origins(self, known: dict[str, dict[str, Any]]) -> ClassBank:
        """The same bank that says more of where some of its classes come from."""
        return replace(self, origins={name: {**own, **known.get(name, {})} for name, own in self.origins.items()})

    def _reports(self, name: str) -> bool:
        return bool(self.origins.get(name, {}).get("reported", True))

    def select(self, class_names: list[str]) -> ClassBank:
        """The same bank with these classes only, in this order; UserError for one it does not have."""
        for name in class_names:
            if name not in self.class_names:
                raise UserError(f"no class {name!r} in the bank; it has {', '.join(self.class_names)}")
        rows = self.rows.select([self.class_names.index(name) for name in class_names])
        origins = {name: self.origins[name] for name in class_names if name in self.origins}
        return replace(self, class_names=tuple(class_names), rows=rows, origins=origins)

    def rename(self, names: dict[str, str]) -> ClassBank:
        """The same bank with the classes that are keys of ``names`` called otherwise."""
        class_names = tuple(names.get(name, name) for name in self.class_names)
        return replace(self, class_names=class_names, origins={names.get(n, n): o for n, o in self.origins.items()})


def reduction_in(origin: Mapping[str, Any]) -> float:
    """What a bank's words on a class say of its ``reduction``."""
    return float(origin.get("reduction") or 1.0)


class BankHeader(Header):
    """Of a ``ClassBank``."""

    FORMAT = "fsod-class-bank-1"
    WHAT = "a class bank"
    class_names: tuple[ClassName, ...]
    weights_sha256: str
    origins: Origins
    gsd_m: Metres | None
    enlargement: Enlargement = 1.0
    turned: bool = False
    sized: bool = False
    checkpoint: str | None = None
    shown: tuple[BandRule, ...] = ()


def save_bank(path: Path, bank: ClassBank, checkpoint: Path) -> None:
    """Writes under a temporary name and renames; ``checkpoint`` is the file of the weights, which the bank points to."""
    tensors = {f"kernels.{level}": kernel.detach().cpu().contiguous() for level, kernel in enumerate(bank.rows.kernels)}
    tensors["biases"] = bank.rows.biases.detach().cpu().contiguous()
    header = BankHeader(
        class_names=bank.class_names,
        weights_sha256=bank.weights_sha256,
        origins=bank.origins,
        gsd_m=bank.gsd_m,
        enlargement=bank.enlargement,
        turned=bank.turned,
        sized=bank.sized,
        checkpoint="shipped" if checkpoint == SHIPPED else os.path.relpath(checkpoint, path.parent),
        shown=bank.shown,
    )
    write_safetensors(path, tensors, header)


def learned_bank(checkpoint: Checkpoint, gsd_m: float | None = None) -> ClassBank:
    """A bank of the classes that a checkpoint has learned.

    Args:
        checkpoint: with what it says of its classes, if it does.
        gsd_m: of the images that they were learned from, where the checkpoint does not say.
    """
    own = {name: {"row": "learned", "stage": checkpoint.stage} for name in checkpoint.class_names}
    few = checkpoint.stage == "finetune"  # what few examples made is looked at in all turns
    known = checkpoint.learned_from or LearnedFrom(origins=own, gsd_m=gsd_m, turned=few)
    rows = checkpoint.detector.learned_rows().detach().to(torch.device("cpu"))
    return ClassBank(
        checkpoint.class_names,
        rows,
        weights_sha256(checkpoint.detector),
        known.origins,
        known.gsd_m,
        known.enlargement,
        known.turned,
        known.sized,
        shown=known.shown,
    )


def read_bank(path: Path) -> ClassBank:
    """Reads a bank as it is, whatever weights it belongs to; UserError if the file is no bank.

    Of a checkpoint, the classes that it has learned.
    """
    if is_checkpoint(path):
        bank = replace(learned_bank(load_checkpoint(path)), checkpoint=path.name)
        if not bank.class_names:
            raise UserError(f"{path}: weights that have learned no class; enroll examples with `fsod enroll` first")
        return bank
    tensors, header = read_safetensors(path, BankHeader)
    try:
        rows = ClassRows([tensors[f"kernels.{level}"] for level in range(len(tensors) - 1)], tensors["biases"])
    except KeyError as error:
        raise UserError(f"{path}: a class bank without its tensor {error}; make it again") from error
    parts, classes = (*rows.kernels, rows.biases), len(header.class_names)
    if any(part.ndim != 2 or len(part) != classes or part.dtype != torch.float32 for part in parts):
        raise UserError(f"{path}: a class bank whose rows are not of its {classes} classes; make it again")
    if len(set(header.class_names)) < classes or not classes:
        raise UserError(f"{path}: a class bank with a class twice, or none; make it again")
    if not all(part.isfinite().all() for part in parts):
        raise UserError(f"{path}: a class bank with rows that are not finite; make it again")
    bank = ClassBank(rows=rows, **dict(header))
    if not bank.reported.class_names:
        raise UserError(
            f"{path}: a class bank of look-alikes alone, so that nothing can be found with it; make it again"
        )
    return bank


def load_bank(path: Path, detector: Detector) -> ClassBank:
    """Reads a bank for a detector.

    Raises:
        UserError: not a bank, or made for other weights.
    """
    bank, own = read_bank(path), weights_sha256(detector)
    if bank.weights_sha256 != own:
        raise UserError(
            f"{path}: this bank was made for weights {bank.weights_sha256[:12]}, these are {own[:12]}; "
            "enroll its examples again with `fsod enroll`"
        )
    needed, there = ([part.shape[1:] for part in (*r.kernels, r.biases)] for r in (detector.learned_rows(), bank.rows))
    if needed != there:
        raise UserError(f"{path}: a class bank whose rows do not fit the weights that it names; make it again")
    return bank


def checkpoint_of(path: Path) -> Path:
    """The file of the weights that a bank was made for; UserError if the bank does not say or it is not there."""
    if is_checkpoint(path):
        return path
    name = read_header(path, BankHeader).checkpoint
    if name == "shipped":
        return SHIPPED
    if not name or not (path.parent / name).is_file():
        raise UserError(f"{path}: the weights it was made for ({name}) are not there; name them with --checkpoint")
    return path.parent / name


def is_checkpoint(path: Path) -> bool:
    """Whether a file that can be read as a bank holds its weights as well; UserError if it is neither."""
    return read_any_header(path, BankHeader.WHAT).get("format") == CheckpointHeader.FORMAT
