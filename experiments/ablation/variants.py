"""The variants: each takes one part out of the full system, by settings or by putting another function in its place.

The product has no switches for what follows: a part that loses is deleted, not switched off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from experiments.nwpu_fewshot.plain import with_rows
from fsod.data.coco import CocoFolder
from fsod.data.shots import ShotList
from fsod.engine import finetune
from fsod.engine.device import Machine
from fsod.loss import meta_loss
from fsod.model import baked, detector
from fsod.model.baked import BakedLevel
from fsod.model.detector import Detector
from fsod.model.meta_head import ClassRows, MetaHead
from fsod.model.support_encoder import ClassVectors, SupportEncoder, UnitFeatures, encode_size, pool_over_mask
from fsod.store.checkpoint import Checkpoint


@dataclass(frozen=True)
class Variant:
    """A changed system.

    Attributes:
        changes: of settings.
        patches: (where, name, what stands there instead).
        own_base: whether the change reaches into the base stage; otherwise that of the full system serves.
        finetuned: whether the shots are trained on after enrolling.
    """

    changes: tuple[str, ...] = ()
    patches: tuple[tuple[Any, str, Any], ...] = ()
    own_base: bool = True
    finetuned: bool = True


@contextmanager
def applied(variant: Variant) -> Iterator[None]:
    """Puts the variant's functions in place for a while."""
    with ExitStack() as stack:
        for where, name, instead in variant.patches:
            stack.enter_context(patch.object(where, name, instead))
        yield


def all_negatives(
    logits: Tensor, negative: Tensor, positive_pair: Tensor, per_positive_pair: int, per_negative_pair: int
) -> Tensor:
    """In the place of meta-sampling: every unassigned location trains every row."""
    return negative[:, None].expand_as(logits)


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


# Product for cosine: <W v, u> of features and class vectors that keep their length, of about 1 as they start.
def long_features(self: UnitFeatures, level_map: Tensor) -> Tensor:
    """Centred and scaled by channel, not brought to norm 1."""
    return self.centre(level_map.float()) / math.sqrt(level_map.shape[1])


def long_rows(self: MetaHead, directions: list[Tensor], biases: Tensor) -> ClassRows:
    """Kernels that keep their length; learned ones start as sqrt(C) long."""
    scaled = zip(directions, self.log_norm.exp(), strict=True)
    return ClassRows([d.float() * n / math.sqrt(d.shape[1]) for d, n in scaled], biases + self.prior)


def long_directions(self: SupportEncoder, classes: ClassVectors) -> tuple[list[Tensor], Tensor]:
    """Predicted directions as long as learned ones."""
    directions, biases = _directions(self, classes)
    return [d * math.sqrt(d.shape[1]) for d in directions], biases


_directions = SupportEncoder.forward


def long_compare(self: BakedLevel, products: Tensor, centred: Tensor) -> Tensor:
    """The same at inference."""
    return self.biases[:, None] + products / math.sqrt(centred.shape[2])


PRODUCT = (
    (UnitFeatures, "forward", long_features),
    (MetaHead, "rows", long_rows),
    (SupportEncoder, "forward", long_directions),
    (BakedLevel, "compare", long_compare),
)


def no_size(sides_px: Tensor) -> Tensor:
    """In the place of the size code: nothing."""
    return torch.zeros_like(encode_size(sides_px))


def whole_crop(features: list[Tensor], masks: Tensor) -> list[Tensor]:
    """In the place of pooling over the example's mask: over all of its crop."""
    return pool_over_mask(features, torch.ones_like(masks))


def no_surroundings(self: SupportEncoder, classes: ClassVectors) -> tuple[list[Tensor], Tensor]:
    """The encoder without what lies around the examples."""
    return _directions(self, replace(classes, surroundings=[torch.zeros_like(r) for r in classes.surroundings]))


FULL = "full"
VARIANTS: dict[str, Variant] = {
    FULL: Variant(),
    "no meta-sampling": Variant(patches=((meta_loss, "hardest_negatives", all_negatives),)),
    "no meta-cross loss": Variant(("loss.cross=0",)),
    # no two boxes overlap more than wholly
    "no category decision": Variant(("evaluate.rival_iou=1.0",), ((baked, "decide", own_confidence),), own_base=False),
    "kernels predicted": Variant(own_base=False, finetuned=False),
    "kernels learned": Variant(patches=((finetune, "with_shots", rows_from_chance),), own_base=False),
    "no pull": Variant(("loss.pull=0",)),
    "product": Variant(patches=PRODUCT),
    "encoder without surroundings": Variant(patches=((SupportEncoder, "forward", no_surroundings),)),
    "encoder without size": Variant(patches=((detector, "encode_size", no_size),)),
    "encoder without mask": Variant(patches=((detector, "pool_over_mask", whole_crop),)),
}
"""In the order in which they are worth their time. In the full system kernels are refined."""
