"""The loss of class rows: meta-cross loss, confidence and boxes.

The name meta-cross loss is LMFSODet's (arXiv 2404.18426); the formulas are ours:

- meta-cross: cross-entropy over {classes, background}. At a location assigned to a box of class c*, c* must win. At a
  retained negative (meta-sampling), background must win. It teaches comparison on invented classes and hurts real ones, so
  it trains invented classes only (experiments/ablation).
- confidence: binary cross-entropy of each row's own logit. The target is the IoU with the box for c*, and 0 otherwise.
- box: 1 - CIoU (Zheng et al. 2020).

Each is a sum divided by ``count``, the number of assigned locations. The caller gives it, because only the caller knows the
images of other processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from fsod.loss.assign import Assignment, Targets
from fsod.loss.meta_sampling import meta_sampling
from fsod.model.meta_head import Predictions
from fsod.ultralytics_parts import bbox_iou

OVERLAP = 0.1
"""A predicted box with more IoU than this counts as one of the labelled object."""


@dataclass(frozen=True)
class RowSamples:
    """What a set of rows learns from.

    Attributes:
        logits: (B, N + 1, L) float32, background last.
        row: (B, L) int64, the row that must win at a location; -1: none.
        retained: (B, N, L) bool, the negatives that train each row.
        iou: (B, L) float32, IoU with the box that the location is assigned to.
        count: scalar, the divisor of the sums.
    """

    logits: Tensor
    row: Tensor
    retained: Tensor
    iou: Tensor
    count: Tensor


def row_samples(
    predictions: Predictions,
    targets: Targets,
    assignment: Assignment,
    count: Tensor,
    background: Tensor | None = None,
    *,
    per_positive_pair: int,
    per_negative_pair: int,
) -> RowSamples:
    """Picks the locations that one set of rows learns from.

    Args:
        predictions: of B images at L locations for N rows and background.
        targets: the true boxes, ``rows`` counted among the N.
        assignment: which location is assigned to which box.
        count: scalar, the divisor of the sums.
        background: (B, N or 1, L) bool, where a row's background may be assumed; everywhere if None. See
            ``shots_background``.
        per_positive_pair: meta-sampling quota, see ``meta_sampling``.
        per_negative_pair: meta-sampling quota.
    """
    logits = predictions.logits.float()
    rows = logits.shape[1] - 1
    assigned = assignment.box >= 0
    row = torch.where(assigned, targets.rows.gather(1, assignment.box.clamp(min=0)), -1)  # (B, L)
    negative = (row < 0)[:, None].expand(-1, rows, -1)
    if background is not None:
        # a box of a class outside the episode is background for its rows, wherever it is
        negative = negative & (background | assigned[:, None])

    log_share, shown = logits.log_softmax(1), shown_pairs(targets, rows)
    retained = meta_sampling(log_share[:, :-1], negative, shown, per_positive_pair, per_negative_pair)

    return RowSamples(logits, row, retained, assignment.iou, count)


def shown_pairs(targets: Targets, rows: int) -> Tensor:
    """(B, N) bool: whether image b shows an object of row c."""
    there = targets.valid & (targets.rows >= 0)
    return (one_hot(targets.rows.clamp(min=0), rows).bool() & there[..., None]).any(1)


def shots_background(boxes_xyxy_px: Tensor, targets: Targets, rows: int, known: Tensor) -> Tensor:
    """Where background may be assumed for each row, in images where only the shots are labelled.

    A class without a shot in the image: everywhere in ``known``. A class with a shot usually has further objects there without
    a label; they cover a quarter of the surroundings for harbours and courts, and they would be the hardest negatives. For such a
    class only boxes that overlap a labelled box of any class are background: a second box, or a loose one, of the same object.

    Args:
        boxes_xyxy_px: (B, L, 4) float, predicted.
        targets: the shots.
        rows: N.
        known: (B, L) bool, the only places where background may be assumed.

    Returns:
        (B, N, L) bool.
    """
    shown = shown_pairs(targets, rows)[..., None]
    if not targets.boxes_xyxy_px.shape[1]:  # no image has a box
        return known[:, None] & ~shown.expand(-1, -1, known.shape[1])
    truth, found = targets.boxes_xyxy_px.float()[:, :, None], boxes_xyxy_px.detach().float()[:, None]
    overlaps = (bbox_iou(truth, found, xywh=False)[..., 0] > OVERLAP) & targets.valid[..., None]  # (B, G, L)
    return known[:, None] & (~shown | overlaps.any(1)[:, None])


def meta_cross_loss(samples: RowSamples) -> Tensor:
    """Scalar: cross-entropy over {classes, background} at positive and retained negative locations."""
    background = samples.logits.shape[1] - 1
    winner = torch.where(samples.row >= 0, samples.row, background)
    sampled = (samples.row >= 0) | samples.retained.any(1)
    chosen = samples.logits.transpose(1, 2)[sampled]
    return cross_entropy(chosen, winner[sampled], reduction="sum") / samples.count


def confidence_loss(samples: RowSamples) -> Tensor:
    """Scalar: binary cross-entropy of each row's own logit; the target is the IoU with the row's box, else 0."""
    positive, logits = (samples.row >= 0)[:, None], samples.logits[:, :-1]
    own = one_hot(samples.row.clamp(min=0), logits.shape[1]).transpose(1, 2) * positive  # (B, N, L)
    sampled = samples.retained | positive
    target = (own * samples.iou[:, None])[sampled]
    return binary_cross_entropy_with_logits(logits[sampled], target, reduction="sum") / samples.count


def box_loss(boxes_xyxy_px: Tensor, targets: Targets, assignment: Assignment, count: Tensor) -> Tensor:
    """Sum of 1 - CIoU over assigned locations, divided by ``count``; boxes_xyxy_px: (B, L, 4) float32, predicted."""
    image, location = (assignment.box >= 0).nonzero(as_tuple=True)
    truth = targets.boxes_xyxy_px[image, assignment.box[image, location]]
    ciou = bbox_iou(boxes_xyxy_px[image, location], truth, xywh=False, CIoU=True)
    return (1 - ciou).sum() / count
