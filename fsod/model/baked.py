"""The detector as it runs at inference: fused, with the rows of fixed classes folded into it.

The unit feature of a location is u / |u| with u the centred and scaled map. So a class's logit is <k, u> / |u| + b: one
1x1 convolution over u, divided by a length that does not depend on the classes.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from fsod.model.detector import Detector
from fsod.model.fuse import fuse
from fsod.model.meta_head import MAX_LOG_DISTANCE, BoxBranch, ClassRows, grid_points
from fsod.model.support_encoder import UnitFeatures
from fsod.model.yolov7 import STRIDES, Trunk


class BakedLevel(nn.Module):
    """Unit features, class rows and boxes of one level.

    Args:
        features: of the level.
        kernels: (N, C).
        biases: (N,).
        boxes: the level's branch for boxes, fused.
        stride: of the level, in pixels.
    """

    scale: Tensor
    shift: Tensor
    rows: Tensor
    biases: Tensor

    def __init__(self, features: UnitFeatures, kernels: Tensor, biases: Tensor, boxes: BoxBranch, stride: int) -> None:
        super().__init__()
        mean, variance, _ = features.centre.buffers()
        deviation = (variance + features.centre.eps).sqrt()
        self.stride = stride
        self.boxes = boxes
        self.register_buffer("scale", 1 / deviation)
        self.register_buffer("shift", -mean / deviation)
        self.register_buffer("rows", kernels)
        self.register_buffer("biases", biases)

    def forward(self, level_map: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) in any precision -> boxes (B, 4, H*W) in pixels, logits (B, N, H*W); both float32."""
        centred = torch.addcmul(self.shift, level_map.float().flatten(2).transpose(1, 2), self.scale)  # (B, H*W, C)
        logits = self.compare(self.rows @ centred.transpose(1, 2), centred)  # a 1x1 convolution
        distances = self.boxes(level_map).flatten(2).clamp(max=MAX_LOG_DISTANCE).exp() * self.stride
        points = grid_points(level_map, self.stride).T
        return torch.cat([points - distances[:, :2], points + distances[:, 2:]], 1), logits

    def compare(self, products: Tensor, centred: Tensor) -> Tensor:
        """<k, u> of all rows, (B, N, H*W), with the u that they are of, (B, H*W, C) -> logits <k, u> / |u| + b."""
        length = torch.linalg.vector_norm(centred, dim=2)[:, None].clamp(min=1e-12)
        return torch.addcdiv(self.biases[:, None], products, length)


class BakedDetector(nn.Module):
    """A plain network for N fixed classes, decoding included; see ``bake``."""

    def __init__(self, trunk: Trunk, levels: list[BakedLevel], classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.classes = classes
        self.levels = nn.ModuleList(levels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores of B images at L locations, P3 first, then P4 and P5, row by row.

        Args:
            images: (B, 3, H, W) float in 0..1, sides multiples of 32.

        Returns:
            boxes_xyxy_px (B, L, 4) float32, and scores (B, N, L) float32.
        """
        precision = next(self.trunk.parameters()).dtype
        maps = self.trunk(images.to(precision, memory_format=torch.channels_last))
        parts = [level(level_map) for level, level_map in zip(self.levels, maps, strict=True)]
        boxes, logits = torch.cat([p[0] for p in parts], 2), torch.cat([p[1] for p in parts], 2)
        return boxes.transpose(1, 2), category_decision(logits, self.classes)


def category_decision(logits: Tensor, classes: int) -> Tensor:
    """Meta-cross category decision: logits (B, R, L) of all rows -> scores (B, classes, L) of the first ones.

    A score is the row's own confidence, held against that of the strongest class. So the strongest class keeps its confidence,
    however many others a bank has (experiments/bank_size). Distractors are there to be held against: each takes its share.
    """
    confidence = logits.sigmoid()
    own, distractors = confidence[:, :classes], confidence[:, classes:]
    against = own.amax(1, keepdim=True)
    if distractors.shape[1]:
        against = against + distractors.sum(1, keepdim=True)
    return own * (own / against.clamp(min=1e-30))


@torch.no_grad()
def bake(
    detector: Detector, rows: ClassRows, trunk_dtype: torch.dtype = torch.float32, distractors: ClassRows | None = None
) -> BakedDetector:
    """The inference form of a detector for the classes of ``rows``; the detector itself stays as it is.

    Args:
        detector: on the device of ``rows``.
        rows: of the N classes.
        trunk_dtype: precision of convolutions over neighbouring cells; what comes after them is float32.
        distractors: rows that lower the scores of others, and have none of their own.
    """
    everything = rows if distractors is None else ClassRows.concatenate([rows, distractors])
    levels = []
    for level, (features, boxes) in enumerate(zip(detector.features, detector.head.boxes, strict=True)):
        kernels, biases = everything.kernels[level], everything.biases[:, level]
        branch = fuse(cast(BoxBranch, boxes))
        branch.edges.to(trunk_dtype)
        levels.append(BakedLevel(cast(UnitFeatures, features), kernels, biases, branch, STRIDES[level]))
    baked = BakedDetector(fuse(detector.trunk).to(trunk_dtype), levels, len(rows)).eval()
    return convert_conv2d_weight_memory_format(baked, torch.channels_last)
