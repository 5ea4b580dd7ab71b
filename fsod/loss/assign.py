"""SimOTA assignment: which location is assigned to which box.

Dynamic-k matching of YOLOX (Ge et al. 2021, section 2.4), as in YOLOv7, vectorised over the batch. Every box takes the k
locations of least cost; k is the sum of its ten best IoUs. Cost = -log(score)/2 - 3 log(IoU). The score is the confidence of
the box's class row, without the category decision. Locations that are not both inside the box and near its centre come last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fsod.ultralytics_parts import bbox_iou

CENTRE_RADIUS = 2.5  # cells
CANDIDATES = 10  # IoUs that are summed to find k
FAR = 1e5


@dataclass(frozen=True)
class Targets:
    """Boxes of B images, padded to G per image.

    Attributes:
        boxes_xyxy_px: (B, G, 4) float32.
        rows: (B, G) int64, the row of the box's class; -1 where no row stands for it (a class outside the episode).
        valid: (B, G) bool, False for padding.
    """

    boxes_xyxy_px: Tensor
    rows: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Assignment:
    """Attributes: box: (B, L) int64, index of the box a location answers for, -1 for none; iou: (B, L) float32."""

    box: Tensor
    iou: Tensor


@torch.no_grad()
def simota(
    boxes_xyxy_px: Tensor, log_scores: Tensor, points_xy_px: Tensor, strides: Tensor, targets: Targets
) -> Assignment:
    """Assigns locations to boxes.

    Args:
        boxes_xyxy_px: (B, L, 4) float, predicted boxes.
        log_scores: (B, N, L) float, log scores of the class rows.
        points_xy_px: (L, 2) float, centres of the locations.
        strides: (L,) float.
        targets: the true boxes; a box without a row competes by its IoU alone.
    """
    count = targets.boxes_xyxy_px.shape[1]
    if count == 0:
        batch, locations = boxes_xyxy_px.shape[:2]
        nobody = torch.full((batch, locations), -1, device=boxes_xyxy_px.device)
        return Assignment(nobody, torch.zeros(batch, locations, device=boxes_xyxy_px.device))

    truth = targets.boxes_xyxy_px.float()
    iou = bbox_iou(truth[:, :, None], boxes_xyxy_px.float()[:, None], xywh=False)[..., 0].clamp(min=0)  # (B, G, L)
    candidate, central = _candidates(truth, targets.valid, points_xy_px, strides)

    row = targets.rows.clamp(min=0)[:, :, None].expand(-1, -1, log_scores.shape[2])
    score_cost = -0.5 * log_scores.float().gather(1, row) * (targets.rows >= 0)[:, :, None]
    cost = score_cost - 3 * torch.log(iou + 1e-8) + FAR * ~central
    cost = cost.masked_fill(~candidate, torch.inf)

    chosen = _dynamic_k(cost, iou * candidate)
    # a location that several boxes want goes to the one it costs least
    best = cost.masked_fill(~chosen, torch.inf).argmin(1)
    box = torch.where(chosen.any(1), best, -1)
    return Assignment(box, iou.gather(1, best[:, None])[:, 0] * (box >= 0))


def _candidates(truth: Tensor, valid: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """(B, G, L) bool twice: inside the box or near its centre; both of them."""
    x, y = points[:, 0], points[:, 1]
    left, top, right, bottom = (side[..., None] for side in truth.unbind(-1))
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    near = torch.maximum((x - centre_x).abs(), (y - centre_y).abs()) < CENTRE_RADIUS * strides
    return (inside | near) & valid[..., None], inside & near


def _dynamic_k(cost: Tensor, iou: Tensor) -> Tensor:
    """(B, G, L) bool: the k cheapest candidates of every box."""
    reach = min(CANDIDATES, cost.shape[2])
    k = iou.topk(reach, dim=2).values.sum(2).int().clamp(min=1)  # (B, G)
    cheapest = cost.topk(reach, dim=2, largest=False)
    wanted = torch.arange(reach, device=cost.device) < k[..., None]
    wanted &= cheapest.values.isfinite()
    return torch.zeros_like(cost, dtype=torch.bool).scatter_(2, cheapest.indices, wanted)
