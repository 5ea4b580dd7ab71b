"""The variants: each takes one part out of the full system, by settings or by putting another function in its place.

The product has no switches for what follows: a part that loses is deleted, not switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, ParamSpec, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor

from experiments.nwpu_fewshot.plain import with_rows
from fsod.compute.device import Machine
from fsod.data.coco_folder import CocoFolder
from fsod.data.shots import ShotList
from fsod.loss import meta_loss
from fsod.loss.meta_sampling import meta_sampling
from fsod.model import baked, detector
from fsod.model.baked import category_decision
from fsod.model.detector import Detector
from fsod.model.support_encoder import ClassVectors, SupportEncoder, encode_size
from fsod.store.checkpoint import Checkpoint
from fsod.training.finetune import StartRows, with_shots

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Replaced:
    """A function of the product with another one in its place.

    Attributes:
        where: the module or class that uses it.
        original: the function itself. A rename in the product is an error of types and of import here.
        instead: what stands there for a while.
    """

    where: Any
    original: Callable[..., Any]
    instead: Callable[..., Any]


@dataclass(frozen=True)
class Part(Generic[P, R]):
    """A function of the product, and the module or class that uses it.

    These are called too deep in a training to be handed down as arguments. So the type of what replaces one is tied to the
    original's: a parameter that is added, dropped or renamed in the product is an error of types here.
    """

    where: Any
    original: Callable[P, R]

    def by(self, instead: Callable[P, R]) -> Replaced:
        """The part replaced."""
        return Replaced(self.where, self.original, instead)


@dataclass(frozen=True)
class Variant:
    """A changed system.

    Attributes:
        changes: of settings.
        replaced: functions of the product.
        start_rows: where the rows of a finetuning start.
        own_base: whether the change reaches into the base stage; otherwise that of the full system serves.
        finetuned: whether the shots are trained on after enrolling.
    """

    changes: tuple[str, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    start_rows: StartRows = with_shots
    own_base: bool = True
    finetuned: bool = True


@contextmanager
def applied(variant: Variant) -> Iterator[None]:
    """Puts the variant's functions in place for a while."""
    with ExitStack() as stack:
        for part in variant.replaced:
            name = part.original.__name__
            if vars(part.where).get(name) is not part.original:
                raise LookupError(
                    f"{part.where.__name__} does not use {part.original.__qualname__} any more, so nothing would be varied"
                )
            stack.enter_context(patch.object(part.where, name, part.instead))
        yield


def all_negatives(
    log_share: Tensor, negative: Tensor, positive_pair: Tensor, per_positive_pair: int, per_negative_pair: int
) -> Tensor:
    """In the place of meta-sampling: every unassigned location trains every row."""
    return negative


def own_confidence(logits: Tensor, classes: int) -> Tensor:
    """In the place of the category decision: a class's own confidence."""
    return logits[:, :classes].sigmoid()


def rows_from_chance(
    base: Checkpoint,
    class_names: tuple[str, ...],
    folder: CocoFolder,
    shots: ShotList,
    support_px: int,
    machine: Machine,
) -> Detector:
    """In the place of ``with_shots``: new rows start from chance, as those of an ordinary detector do."""
    return with_rows(base.detector, base.size, base.class_names, class_names, shots.seed).to(machine.device)


def no_size(sides_px: Tensor) -> Tensor:
    """In the place of the size code: nothing."""
    return torch.zeros_like(encode_size(sides_px))


def no_surroundings(self: SupportEncoder, classes: ClassVectors) -> tuple[list[Tensor], Tensor]:
    """The encoder without what lies around the examples."""
    return _with_surroundings(self, replace(classes, surroundings=[torch.zeros_like(r) for r in classes.surroundings]))


_with_surroundings = SupportEncoder.forward

FULL = "full"
VARIANTS: dict[str, Variant] = {
    FULL: Variant(),
    "no meta-sampling": Variant(replaced=(Part(meta_loss, meta_sampling).by(all_negatives),)),
    "no meta-cross loss": Variant(("loss.cross=0",)),
    # no two boxes overlap more than wholly
    "no category decision": Variant(
        ("evaluate.rival_iou=1.0",), (Part(baked, category_decision).by(own_confidence),), own_base=False
    ),
    "kernels predicted": Variant(own_base=False, finetuned=False),
    "kernels learned": Variant(start_rows=rows_from_chance, own_base=False),
    "no pull": Variant(("loss.pull=0",)),
    "encoder without surroundings": Variant(
        replaced=(Part(SupportEncoder, SupportEncoder.forward).by(no_surroundings),)
    ),
    "encoder without size": Variant(replaced=(Part(detector, encode_size).by(no_size),)),
}
"""In the order in which they are worth their time. In the full system kernels are refined."""
