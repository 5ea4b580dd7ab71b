"""The loss of a set of class rows: meta-cross entropy, own confidence, boxes.

The name meta-cross loss is LMFSODet's (arXiv 2404.18426); the formulas are ours:

- meta-cross: cross-entropy over {classes, background}. At a location that answers for a box of class c*, c* must win;
  at a retained negative (meta-sampling) background must win. It teaches to compare, on invented classes; real classes are
  better off without it, see experiments/ablation.
- confidence: binary cross-entropy of each row's own logit; the target is the IoU with the box for c*, else 0.
- box: 1 - CIoU (Zheng et al. 2020).

All three are sums divided by a number of assigned locations that the caller gives, since only the caller knows of images
that other processes hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from ultralytics.utils.metrics import bbox_iou

from fsod.loss.assign import Assignment, Targets
from fsod.loss.meta_sampling import hardest_negatives
from fsod.model.meta_head import Predictions


@dataclass(frozen=True)
class RowTerms:
    """Attributes: cross: scalar, meta-cross loss; confidence: scalar, each row's own."""

    cross: Tensor
    confidence: Tensor


def row_loss(
    predictions: Predictions,
    targets: Targets,
    assignment: Assignment,
    count: Tensor,
    background: Tensor | None = None,
    *,
    per_positive_pair: int,
    per_negative_pair: int,
) -> RowTerms:
    """What one set of rows has to learn.

    Args:
        predictions: of B images at L locations for N rows and background.
        targets: the true boxes, ``rows`` counted among the N.
        assignment: who answers for what.
        count: scalar, what the sums are divided by.
        background: (B, L) bool, where background may be assumed; everywhere if None. Finetuning passes the
            surroundings of its shots, because the rest of their images is unlabelled.
        per_positive_pair: meta-sampling quota, see ``hardest_negatives``.
        per_negative_pair: meta-sampling quota.
    """
    logits = predictions.logits.float()
    rows = logits.shape[1] - 1
    assigned = assignment.box >= 0
    row = torch.where(assigned, targets.rows.gather(1, assignment.box.clamp(min=0)), -1)  # (B, L)
    positive = row >= 0
    # a box of a class outside the episode is background for its rows, wherever it is
    negative = ~positive if background is None else ~positive & (background | assigned)

    log_share = logits.log_softmax(1)
    shown = (one_hot(targets.rows.clamp(min=0), rows).bool() & (targets.valid & (targets.rows >= 0))[..., None]).any(1)
    retained = hardest_negatives(log_share[:, :-1], negative, shown, per_positive_pair, per_negative_pair)

    return RowTerms(
        cross=_cross(logits, row, positive, retained.any(1)) / count,
        confidence=_confidence(logits[:, :-1], row, positive, retained, assignment.iou) / count,
    )


def _cross(logits: Tensor, row: Tensor, positive: Tensor, retained: Tensor) -> Tensor:
    winner = torch.where(positive, row, logits.shape[1] - 1)
    sampled = positive | retained
    return cross_entropy(logits.transpose(1, 2)[sampled], winner[sampled], reduction="sum")


def _confidence(logits: Tensor, row: Tensor, positive: Tensor, retained: Tensor, iou: Tensor) -> Tensor:
    own = one_hot(row.clamp(min=0), logits.shape[1]).transpose(1, 2) * positive[:, None]  # (B, N, L)
    sampled = retained | positive[:, None]
    target = (own * iou[:, None])[sampled]
    return binary_cross_entropy_with_logits(logits[sampled], target, reduction="sum")


def box_loss(boxes_xyxy_px: Tensor, targets: Targets, assignment: Assignment, count: Tensor) -> Tensor:
    """Sum of 1 - CIoU over assigned locations, divided by ``count``; boxes_xyxy_px: (B, L, 4) float32, predicted."""
    image, location = (assignment.box >= 0).nonzero(as_tuple=True)
    truth = targets.boxes_xyxy_px[image, assignment.box[image, location]]
    ciou = bbox_iou(boxes_xyxy_px[image, location], truth, xywh=False, CIoU=True)
    return (1 - ciou).sum() / count
