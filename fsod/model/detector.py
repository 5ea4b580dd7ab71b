"""The few-shot detector: trunk, support encoder, meta-detection head, and kernels of the classes it has learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fsod.model.meta_head import ClassRows, MetaHead, Predictions
from fsod.model.support_encoder import ClassVectors, SupportEncoder, UnitFeatures, encode_size, pool_over_mask
from fsod.model.yolov7 import STRIDES, build_trunk

CANVAS_CROPS = 2  # crops along a canvas's side when there is no query whose size to share
GREY = 114 / 255


@dataclass(frozen=True)
class Maps:
    """P3, P4, P5 of a batch, each (B, C_l, H_l, W_l).

    Attributes:
        raw: what the trunk puts out, in its precision; boxes are read from it.
        unit: the same as unit features, float32; classes are read from it.
    """

    raw: list[Tensor]
    unit: list[Tensor]


class Detector(nn.Module):
    """A YOLOv7-derived detector whose classes are rows handed in from outside.

    A row has one of three origins and always the same form: learned (a parameter of ``learned``, for classes with many
    labels), predicted (from support crops), refined (a parameter that started as a predicted one).

    Args:
        size: one of ``fsod.model_sizes``.
        learned_classes: how many classes own a learned row.
        trunk_dtype: precision of the trunk's convolutions and of the boxes' own; class rows and losses are always
            float32, because a kernel of norm 10 makes the 1/256 of bfloat16 visible in the scores.
    """

    def __init__(self, size: str, learned_classes: int, trunk_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.trunk_dtype = trunk_dtype
        self.trunk = build_trunk(size)
        self.features = nn.ModuleList(UnitFeatures(c) for c in self.trunk.channels)
        self.encoder = SupportEncoder(self.trunk.channels)
        self.head = MetaHead(self.trunk.channels, STRIDES)
        self.learned = nn.ParameterList(torch.randn(learned_classes, c) for c in self.trunk.channels)
        self.learned_bias = nn.Parameter(torch.zeros(learned_classes, len(STRIDES)))

    def forward(self, images: Tensor, rows: ClassRows) -> Predictions:
        """(B, 3, H, W) float in 0..1, sides multiples of 32, and the rows of N classes -> predictions."""
        maps = self.maps(images)
        return self.head(maps.raw, maps.unit, rows)

    def episode(self, queries: Tensor, crops: Tensor, sides_px: Tensor) -> tuple[Maps, ClassVectors]:
        """Maps of the queries and class vectors of the supports, from one pass of the trunk over both.

        Batch norm would normalise a batch of support crops with statistics of its own, which no inference has. So the
        crops travel in the queries' batch, several to a canvas of a query's size.

        Args:
            queries: (B, 3, S, S) float in 0..1.
            crops: (N, k, 4, s, s) float, see ``class_vectors``; s at most S.
            sides_px: (N, k) float.
        """
        canvases = tile(crops[:, :, :3].flatten(0, 1), queries.shape[2])
        maps = self.maps(torch.cat([queries, canvases]))
        raw = [split_batch(m, len(queries)) for m in maps.raw]
        unit = [split_batch(m, len(queries)) for m in maps.unit]
        side = crops.shape[-1] / queries.shape[-1]
        vectors = self._vectors([m for _, m in unit], side, crops[:, :, 3:], sides_px)
        return Maps([m for m, _ in raw], [m for m, _ in unit]), vectors

    def maps(self, images: Tensor) -> Maps:
        """Maps of (B, 3, H, W) float images."""
        with torch.autocast(images.device.type, self.trunk_dtype, enabled=self.trunk_dtype != torch.float32):
            raw = self.trunk(images.contiguous(memory_format=torch.channels_last))
        return Maps(raw, [phi(level) for phi, level in zip(self.features, raw, strict=True)])

    def learned_rows(self) -> ClassRows:
        """Rows of the classes that the detector owns."""
        return self.head.rows(list(self.learned), self.learned_bias)

    def predicted_rows(self, classes: ClassVectors) -> ClassRows:
        """Rows predicted from class vectors."""
        return self.head.rows(*self.encoder(classes))

    def class_vectors(self, crops: Tensor, sides_px: Tensor) -> ClassVectors:
        """Class vectors of N classes from k examples each.

        Args:
            crops: (N, k, 4, S, S) float: RGB in 0..1 and the mask channel, S a multiple of 32.
            sides_px: (N, k) float, side of the example's box in its image, sqrt(width * height), in pixels.
        """
        canvases = tile(crops[:, :, :3].flatten(0, 1), CANVAS_CROPS * crops.shape[-1])
        return self._vectors(self.maps(canvases).unit, 1 / CANVAS_CROPS, crops[:, :, 3:], sides_px)

    def _vectors(self, canvases: list[Tensor], side: float, masks: Tensor, sides_px: Tensor) -> ClassVectors:
        """Features of canvases, a crop's share of a canvas's side, masks (N, k, 1, s, s), sides (N, k) -> N vectors."""
        ways, shots = sides_px.shape
        features = [untile(m, round(m.shape[3] * side), ways * shots) for m in canvases]
        inside, outside = (
            [pooled.reshape(ways, shots, -1).mean(1) for pooled in pool_over_mask(features, part.flatten(0, 1))]
            for part in (masks, 1 - masks)
        )
        return ClassVectors(inside, outside, encode_size(sides_px.flatten()).reshape(ways, shots, -1).mean(1))


def split_batch(level_map: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` images of a (B, C, H, W) map and the others.

    Cut with channels last, as they lie in memory, so that the gradient lies like that too: batch norm takes several times
    as long over a mixture. And by one split, because every slice would add a gradient of its own to the whole map.
    """
    first, others = level_map.permute(0, 2, 3, 1).split([count, len(level_map) - count])
    return first.permute(0, 3, 1, 2), others.permute(0, 3, 1, 2)


def tile(crops: Tensor, size_px: int) -> Tensor:
    """Lays crops (M, 3, s, s) side by side on grey canvases of ``size_px``, row by row: (canvases, 3, size, size)."""
    side = crops.shape[-1]
    across = size_px // side
    canvases = crops.new_full((-(-len(crops) // across**2), 3, size_px, size_px), GREY)
    for i, crop in enumerate(crops):
        canvas, place = divmod(i, across**2)
        y, x = place // across * side, place % across * side
        canvases[canvas, :, y : y + side, x : x + side] = crop
    return canvases


def untile(level_map: Tensor, side: int, count: int) -> Tensor:
    """Cuts the maps of canvases (canvases, C, H, W) into those of their ``count`` crops: (count, C, side, side)."""
    across = level_map.shape[3] // side
    # with channels last, see split_batch
    inner = level_map.permute(0, 2, 3, 1)[:, : across * side, : across * side]
    cells = inner.unflatten(2, (across, side)).unflatten(1, (across, side))  # (canvases, rows, side, columns, side, C)
    return cells.permute(0, 1, 3, 5, 2, 4).flatten(0, 2)[:count]


def unit_pixels(pixels: Tensor) -> Tensor:
    """uint8 RGB (or RGB and 0/1 mask, told by its fourth channel) -> float, RGB in 0..1."""
    scale = pixels.new_tensor([255.0, 255.0, 255.0, 1.0], dtype=torch.float32)[: pixels.shape[-3]]
    return pixels / scale[:, None, None]
