"""What the baked detector is timed against, all of one trunk: as it trains, with a plain head, in the lineage's way.

Every network gives boxes (B, locations, 4) in pixels and scores (B, N, locations); what it needs for that is timed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsod.model.baked import category_decision
from fsod.model.detector import Detector
from fsod.model.fuse import fuse
from fsod.model.meta_head import ClassRows, grid_points
from fsod.model.yolov7 import STRIDES, Trunk

ANCHORS_PX = (  # width and height, of YOLOv7-tiny
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)


class Eager(nn.Module):
    """The detector as it was built: float32, batch norms on their own, memory as images come, no class folded in."""

    def __init__(self, detector: Detector, rows: ClassRows) -> None:
        super().__init__()
        self.detector, self.rows = detector, rows

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> boxes and scores."""
        maps = self.detector.trunk(images)
        unit = [phi(level_map) for phi, level_map in zip(self.detector.features, maps, strict=True)]
        predictions = self.detector.head(maps, unit, self.rows)
        return predictions.boxes_xyxy_px, category_decision(predictions.own, len(self.rows))


class PlainYolo(nn.Module):
    """The fused trunk under YOLOv7's detection layer in its deployed form: three anchors, objectness, N classes."""

    anchors_px: Tensor

    def __init__(self, trunk: Trunk, classes: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.trunk = fast(trunk, dtype)
        self.layers = nn.ModuleList(nn.Conv2d(c, 3 * (5 + classes), 1) for c in trunk.channels).to(dtype)
        self.register_buffer("anchors_px", torch.tensor(ANCHORS_PX, dtype=torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> boxes and scores."""
        boxes, scores = [], []
        for level, level_map in enumerate(run_trunk(self.trunk, images)):
            raw = self.layers[level](level_map).unflatten(1, (3, -1)).flatten(3).float().sigmoid()  # (B, 3, 5 + N, L)
            boxes.append(decode(raw[:, :, :4], self.anchors_px[level], level_map, STRIDES[level]))
            scores.append((raw[:, :, 4:5] * raw[:, :, 5:]).transpose(1, 2).flatten(2))
        return torch.cat(boxes, 1), torch.cat(scores, 2)


class Lineage(nn.Module):
    """Reweighting as FSRW and its followers do it: a class scales the channels by a vector of its own.

    All that follows runs once a class, in a batch of B * N: the detection layer, or the trunk's last 3x3 as well.
    """

    anchors_px: Tensor

    def __init__(self, trunk: Trunk, classes: int, dtype: torch.dtype, *, before_last_3x3: bool) -> None:
        super().__init__()
        self.trunk = fast(trunk, dtype)
        last = nn.ModuleList(nn.Identity() for _ in STRIDES)
        if before_last_3x3:
            last = nn.ModuleList([self.trunk.out3, self.trunk.out4, self.trunk.out5])
            self.trunk.out3, self.trunk.out4, self.trunk.out5 = (nn.Identity() for _ in STRIDES)
        self.last = last
        widths = [n // 2 if before_last_3x3 else n for n in trunk.channels]
        self.vectors = nn.ParameterList(torch.rand(classes, n) for n in widths).to(dtype)
        self.layers = nn.ModuleList(nn.Conv2d(c, 3 * 6, 1) for c in trunk.channels).to(dtype)
        self.register_buffer("anchors_px", torch.tensor(ANCHORS_PX, dtype=torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> boxes, a set of them a class, and scores."""
        boxes, scores = [], []
        for level, level_map in enumerate(run_trunk(self.trunk, images)):
            vectors = self.vectors[level][:, :, None, None]
            each = (level_map[:, None] * vectors).flatten(0, 1).contiguous(memory_format=torch.channels_last)
            raw = self.layers[level](self.last[level](each)).unflatten(1, (3, 6)).flatten(3).float()  # (B*N, 3, 6, L)
            boxes.append(decode(raw[:, :, :4].sigmoid(), self.anchors_px[level], level_map, STRIDES[level]))
            rows = raw[:, :, 4:].unflatten(0, (len(images), -1))  # (B, N, 3, 2, L)
            scores.append((rows[:, :, :, 0].sigmoid() * rows[:, :, :, 1].softmax(1)).flatten(2))
        return torch.cat(boxes, 1), torch.cat(scores, 2)


def fast(trunk: Trunk, dtype: torch.dtype) -> Trunk:
    """The trunk as the baked detector has it."""
    return nn.utils.convert_conv2d_weight_memory_format(fuse(trunk).to(dtype), torch.channels_last)


def run_trunk(trunk: Trunk, images: Tensor) -> list[Tensor]:
    """Maps, with images laid out as the baked detector lays them out."""
    return trunk(images.to(next(trunk.parameters()).dtype, memory_format=torch.channels_last))


def decode(raw: Tensor, anchors_px: Tensor, level_map: Tensor, stride: int) -> Tensor:
    """YOLOv7's decoding of (B, 3, 4, L) in 0..1 with anchors (3, 2) -> boxes_xyxy_px (B, 3 * L, 4)."""
    centres = (2 * raw[:, :, :2] - 1) * stride + grid_points(level_map, stride).T
    halves = (2 * raw[:, :, 2:]).square() * anchors_px[:, :, None] / 2
    return torch.cat([centres - halves, centres + halves], 2).transpose(2, 3).flatten(1, 2)
