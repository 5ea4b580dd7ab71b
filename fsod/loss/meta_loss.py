"""The losses of a set of class rows and of the boxes that they share.

The name meta-cross loss is LMFSODet's (arXiv 2404.18426); the formula is ours: binary cross-entropy of every row across
all classes and background. At a location that answers for a box of class c*, the target of its row is the IoU with the
box, and 0 for every other row; at a retained negative (meta-sampling) it is 0 for the row it was retained for. A softmax
over classes and background beside it was worse, see experiments/ablation. Boxes: 1 - CIoU (Zheng et al. 2020).

Both are sums divided by a number of assigned locations that the caller gives, since only the caller knows of images that
other processes hold.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot
from ultralytics.utils.metrics import bbox_iou

from fsod.loss.assign import Assignment, Targets
from fsod.loss.meta_sampling import hardest_negatives
from fsod.model.meta_head import Predictions


def meta_cross(
    predictions: Predictions,
    targets: Targets,
    assignment: Assignment,
    count: Tensor,
    background: Tensor | None = None,
    *,
    per_positive_pair: int,
    per_negative_pair: int,
) -> Tensor:
    """What one set of rows has to learn, a scalar.

    Args:
        predictions: of B images at L locations for N rows.
        targets: the true boxes, ``rows`` counted among the N.
        assignment: who answers for what.
        count: scalar, what the sum is divided by.
        background: (B, L) bool, where background may be assumed; everywhere if None. Finetuning passes the
            surroundings of its shots, because the rest of their images is unlabelled.
        per_positive_pair: meta-sampling quota, see ``hardest_negatives``.
        per_negative_pair: meta-sampling quota.
    """
    logits = predictions.logits.float()
    rows = logits.shape[1]
    assigned = assignment.box >= 0
    row = torch.where(assigned, targets.rows.gather(1, assignment.box.clamp(min=0)), -1)  # (B, L)
    positive = row >= 0
    # a box of a class outside the episode is background for its rows, wherever it is
    negative = ~positive if background is None else ~positive & (background | assigned)

    shown = (one_hot(targets.rows.clamp(min=0), rows).bool() & (targets.valid & (targets.rows >= 0))[..., None]).any(1)
    retained = hardest_negatives(logits, negative, shown, per_positive_pair, per_negative_pair)
    own = one_hot(row.clamp(min=0), rows).transpose(1, 2) * positive[:, None]  # (B, N, L)
    sampled = retained | positive[:, None]
    target = (own * assignment.iou[:, None])[sampled]
    return binary_cross_entropy_with_logits(logits[sampled], target, reduction="sum") / count


def box_loss(boxes_xyxy_px: Tensor, targets: Targets, assignment: Assignment, count: Tensor) -> Tensor:
    """Sum of 1 - CIoU over assigned locations, divided by ``count``; boxes_xyxy_px: (B, L, 4) float32, predicted."""
    image, location = (assignment.box >= 0).nonzero(as_tuple=True)
    truth = targets.boxes_xyxy_px[image, assignment.box[image, location]]
    ciou = bbox_iou(boxes_xyxy_px[image, location], truth, xywh=False, CIoU=True)
    return (1 - ciou).sum() / count
