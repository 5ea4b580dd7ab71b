"""Enrolling: from example boxes to rows of the meta-detection head, without training."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsod.compute.device import Machine
from fsod.data.coco_folder import CocoFolder, read_image
from fsod.data.shots import ShotList
from fsod.data.support import SupportCrop, stack_supports, support_crop
from fsod.errors import UserError
from fsod.model.detector import Detector, unit_pixels
from fsod.model.meta_head import ClassRows
from fsod.model.support_encoder import ClassVectors
from fsod.store.checkpoint import Checkpoint
from fsod.store.class_bank import ClassBank, learned_bank

Examples = dict[str, list[SupportCrop]]
"""Class name -> its examples; classes may have different numbers of them."""

AT_ONCE = 32
"""Examples of a class in the network at a time, in eight turns each: as many pixels as ten windows of a search."""


def shot_examples(folder: CocoFolder, shots: ShotList, class_names: list[str], support_px: int) -> Examples:
    """Support crops of the shots of some classes."""
    examples: Examples = {}
    for name in class_names:
        crops = []
        for box_id in shots.box_ids[name]:
            image, i = folder.box_location[box_id]
            crops.append(support_crop(read_image(image), image.boxes_xyxy_px[i], support_px))
        examples[name] = crops
    return examples


@torch.no_grad()
def encode_examples(detector: Detector, examples: Examples, machine: Machine) -> ClassVectors:
    """Class vectors in the order of ``examples``; each example is seen in its eight right-angled turns and mirrors.

    Args:
        detector: in evaluation mode, on the machine's device.
        examples: at least one per class.
        machine: where to compute.
    """
    parts = [_encoded(detector, crops, machine) for crops in examples.values()]
    return ClassVectors(
        [torch.cat(level) for level in zip(*(part.vectors for part in parts), strict=True)],
        [torch.cat(level) for level in zip(*(part.surroundings for part in parts), strict=True)],
        torch.cat([part.size_code for part in parts]),
    )


def _encoded(detector: Detector, crops: Sequence[SupportCrop], machine: Machine) -> ClassVectors:
    """The class vectors of one class: means over its examples, of which only so many are in the network at a time."""
    parts, shares = [], []
    for start in range(0, len(crops), AT_ONCE):
        turned = [turn for crop in crops[start : start + AT_ONCE] for turn in _turns(crop)]
        sides = torch.tensor([[crop.side_px for crop in turned]])
        pixels = unit_pixels(stack_supports([turned]).to(machine.device))
        parts.append(detector.class_vectors(pixels, sides.to(machine.device)))
        shares.append(len(crops[start : start + AT_ONCE]) / len(crops))

    def mean(of_parts: Iterable[Tensor]) -> Tensor:
        return torch.stack([share * part for share, part in zip(shares, of_parts, strict=True)]).sum(0)

    return ClassVectors(
        [mean(level) for level in zip(*(part.vectors for part in parts), strict=True)],
        [mean(level) for level in zip(*(part.surroundings for part in parts), strict=True)],
        mean(part.size_code for part in parts),
    )


def _turns(crop: SupportCrop) -> list[SupportCrop]:
    """Seen from above an object has no upright position: all eight are equally good examples."""
    turns = []
    for quarter in range(4):
        rgb, mask = np.rot90(crop.rgb, quarter), np.rot90(crop.mask, quarter)
        turns += [SupportCrop(rgb, mask, crop.side_px), SupportCrop(rgb[:, ::-1], mask[:, ::-1], crop.side_px)]
    return turns


def enrolled_bank(
    checkpoint: Checkpoint,
    examples: Examples,
    machine: Machine,
    origin: dict[str, Any],
    gsd_m: float | None,
    *,
    learned: bool,
    distractors: Collection[str] = (),
) -> ClassBank:
    """A bank of classes with rows predicted from examples.

    Args:
        checkpoint: its detector predicts the rows.
        examples: of each new class.
        machine: where to compute.
        origin: what the bank says of where the examples come from.
        gsd_m: of the examples' images.
        learned: put the classes that the checkpoint has learned before the new ones.
        distractors: new classes that are never reported.
    """
    bank = learned_bank(checkpoint, gsd_m)
    if not learned:
        bank = bank.select([])
    twice = [name for name in examples if name in bank.class_names]
    if twice:
        raise UserError(f"class {twice[0]!r} is already among the learned classes; give the examples another name")
    if not examples:
        return bank
    detector = checkpoint.detector.to(machine.device).eval()
    with torch.no_grad():
        predicted = detector.predicted_rows(encode_examples(detector, examples, machine))
    rows = ClassRows.concatenate([bank.rows, predicted.to(bank.rows.biases.device)])
    origins = {
        name: {
            "row": "predicted",
            **({"reported": False} if name in distractors else {}),
            "examples": len(crops),
            **origin,
        }
        for name, crops in examples.items()
    }
    names = (*bank.class_names, *examples)
    return ClassBank(names, rows, bank.weights_sha256, {**bank.origins, **origins}, gsd_m, turned=True, sized=True)
