"""Meta-detection head: every class is a row of one 1x1 convolution per level.

``z[b, c, l] = <k_c, phi(f[b, :, l])> + b_c`` with phi the unit feature (support_encoder.UnitFeatures) and k_c a kernel
whose norm the level has learned. phi does not depend on the classes. For a fixed bank the rows are computed once, and all
classes together cost one 1x1 convolution per level. A background row with its own kernel is
always last; the meta-cross loss compares classes with it. Boxes are class-agnostic and have a branch of their own:
distances to the four sides, ``stride * exp(t)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, normalize

from fsod.ultralytics_parts import Conv

MAX_LOG_DISTANCE = 5.0  # exp(5) * 8 px = 1187 px at P3: beyond any object a window can hold


@dataclass(frozen=True)
class ClassRows:
    """Rows of the head for N classes.

    Attributes:
        kernels: one (N, C_l) float32 tensor per level, scaled to the level's norm.
        biases: (N, levels) float32.
    """

    kernels: list[Tensor]
    biases: Tensor

    def __len__(self) -> int:
        return len(self.biases)

    def select(self, index: Tensor | list[int]) -> ClassRows:
        """The rows at ``index``."""
        return ClassRows([k[index] for k in self.kernels], self.biases[index])

    def detach(self) -> ClassRows:
        """The same rows, cut from the graph that made them."""
        return ClassRows([k.detach() for k in self.kernels], self.biases.detach())

    def to(self, device: torch.device) -> ClassRows:
        """The same rows on another device."""
        return ClassRows([k.to(device) for k in self.kernels], self.biases.to(device))

    @staticmethod
    def concatenate(parts: list[ClassRows]) -> ClassRows:
        """All rows of ``parts``, in order."""
        levels = range(len(parts[0].kernels))
        return ClassRows(
            [torch.cat([p.kernels[i] for p in parts]) for i in levels], torch.cat([p.biases for p in parts])
        )


@dataclass(frozen=True)
class Predictions:
    """Output of the head for B images at L locations: P3, P4, P5, each row by row.

    Attributes:
        logits: (B, N + 1, L) float32, background last.
        boxes_xyxy_px: (B, L, 4) float32.
        points_xy_px: (L, 2) float32, centres of the cells.
        strides: (L,) float32.
    """

    logits: Tensor
    boxes_xyxy_px: Tensor
    points_xy_px: Tensor
    strides: Tensor

    def of_rows(self, start: int, stop: int) -> Predictions:
        """The same predictions as if only rows start..stop had been handed in, background beside them."""
        return replace(self, logits=torch.cat([self.logits[:, start:stop], self.logits[:, -1:]], 1))

    @property
    def own(self) -> Tensor:
        """Logits of the classes' own confidence, (B, N, L)."""
        return self.logits[:, :-1]


class BoxBranch(nn.Module):
    """Predicts the sides of boxes. A 1x1 convolution on the features for classes would place them loosely.

    Args:
        channels: of the level's map.
        width: of its own 3x3 convolutions.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.edges = nn.Sequential(Conv(channels, width), Conv(width, width, 3), Conv(width, width, 3))
        self.distances = nn.Conv2d(width, 4, 1)

    def forward(self, level_map: Tensor) -> Tensor:
        """(B, C, H, W) -> log distances (B, 4, H, W) float32 to left, top, right, bottom, in strides."""
        with torch.autocast(level_map.device.type, level_map.dtype, enabled=level_map.dtype != torch.float32):
            edges = self.edges(level_map)
        return self.distances(edges.float())


class MetaHead(nn.Module):
    """The meta-detection head over maps of ``channels`` at ``strides``."""

    def __init__(self, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.strides = strides
        levels = len(channels)
        self.log_norm = nn.Parameter(torch.full((levels,), math.log(10.0)))
        self.prior = nn.Parameter(torch.full((levels,), -4.0))  # a class is rare at any one location
        self.background = nn.ParameterList(torch.randn(1, c) for c in channels)
        self.background_bias = nn.Parameter(torch.zeros(1, levels))
        width = max(32, channels[0] // 4)  # 16 were too few for nano, see experiments/ablation
        self.boxes = nn.ModuleList(BoxBranch(c, width) for c in channels)

    def rows(self, directions: list[Tensor], biases: Tensor) -> ClassRows:
        """Rows from kernel directions, one (N, C_l) per level, and biases (N, levels) relative to the prior."""
        kernels = [normalize(d.float(), dim=1) * n for d, n in zip(directions, self.log_norm.exp(), strict=True)]
        return ClassRows(kernels, biases + self.prior)

    def background_row(self) -> ClassRows:
        """The learned row that every set of classes is compared with."""
        return self.rows(list(self.background), self.background_bias - self.prior)

    def forward(self, maps: list[Tensor], features: list[Tensor], rows: ClassRows) -> Predictions:
        """Maps P3, P4, P5 and their unit features, (B, C_l, H_l, W_l), and the rows of N classes -> predictions."""
        boxes, points, strides = [], [], []
        for level_map, branch, stride in zip(maps, self.boxes, self.strides, strict=True):
            grid = grid_points(level_map, stride)
            boxes.append(self._decode(branch(level_map), grid, stride))
            points.append(grid)
            strides.append(torch.full((len(grid),), float(stride), device=grid.device))
        return Predictions(self.logits(features, rows), torch.cat(boxes, 1), torch.cat(points), torch.cat(strides))

    def logits(self, features: list[Tensor], rows: ClassRows) -> Tensor:
        """Unit features of P3, P4, P5, (B, C_l, H_l, W_l), and the rows of N classes -> (B, N + 1, L), background last."""
        everything = ClassRows.concatenate([rows, self.background_row()])
        kernels = zip(features, everything.kernels, everything.biases.T, strict=True)
        return torch.cat([conv2d(f, k[:, :, None, None], b).flatten(2) for f, k, b in kernels], 2)

    @staticmethod
    def _decode(raw: Tensor, points: Tensor, stride: int) -> Tensor:
        distances = raw.clamp(max=MAX_LOG_DISTANCE).exp().flatten(2).transpose(1, 2) * stride  # (B, L, 4) ltrb
        return torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)


def grid_points(level_map: Tensor, stride: int) -> Tensor:
    """Centres of the cells of a (B, C, H, W) map in image pixels: (H*W, 2) float32 x, y, row by row."""
    height, width = level_map.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=level_map.device), torch.arange(width, device=level_map.device), indexing="ij"
    )
    return (torch.stack([x, y], -1).reshape(-1, 2).float() + 0.5) * stride
