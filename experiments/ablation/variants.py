"""The variants: each takes one part out of the full system, by settings or by putting another function in its place.

The product has no switches for what follows: a part that loses is deleted, not switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
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
from fsod.training import finetune
from fsod.training.finetune import with_shots


@dataclass(frozen=True)
class Variant:
    """A changed system.

    Attributes:
        changes: of settings.
        patches: (module or class, the function that it uses, what stands there instead). Named by the function itself, so
            that a rename in the product is an error of types and of import here, and not a variant that changes nothing.
        own_base: whether the change reaches into the base stage; otherwise that of the full system serves.
        finetuned: whether the shots are trained on after enrolling.
    """

    changes: tuple[str, ...] = ()
    patches: tuple[tuple[Any, Callable[..., Any], Callable[..., Any]], ...] = ()
    own_base: bool = True
    finetuned: bool = True


@contextmanager
def applied(variant: Variant) -> Iterator[None]:
    """Puts the variant's functions in place for a while."""
    with ExitStack() as stack:
        for where, original, instead in variant.patches:
            if vars(where).get(original.__name__) is not original:
                raise LookupError(
                    f"{where.__name__} does not use {original.__qualname__} any more, so nothing would be varied"
                )
            stack.enter_context(patch.object(where, original.__name__, instead))
        yield


def all_negatives(
    logits: Tensor, negative: Tensor, positive_pair: Tensor, per_positive_pair: int, per_negative_pair: int
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
    "no meta-sampling": Variant(patches=((meta_loss, meta_sampling, all_negatives),)),
    "no meta-cross loss": Variant(("loss.cross=0",)),
    # no two boxes overlap more than wholly
    "no category decision": Variant(
        ("evaluate.rival_iou=1.0",), ((baked, category_decision, own_confidence),), own_base=False
    ),
    "kernels predicted": Variant(own_base=False, finetuned=False),
    "kernels learned": Variant(patches=((finetune, with_shots, rows_from_chance),), own_base=False),
    "no pull": Variant(("loss.pull=0",)),
    "encoder without surroundings": Variant(patches=((SupportEncoder, SupportEncoder.forward, no_surroundings),)),
    "encoder without size": Variant(patches=((detector, encode_size, no_size),)),
}
"""In the order in which they are worth their time. In the full system kernels are refined."""
