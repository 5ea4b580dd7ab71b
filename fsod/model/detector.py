"""The few-shot detector: trunk, support encoder, meta-detection head, and kernels of the classes it has learned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fsod.model.meta_head import ClassRows, MetaHead, Predictions
from fsod.model.support_encoder import ClassVectors, SupportEncoder, encode_size, pool_over_mask
from fsod.model.yolov7 import STRIDES, build_trunk


class Detector(nn.Module):
    """A YOLOv7-derived detector whose classes are rows handed in from outside.

    A row has one of three origins and always the same form: learned (a parameter of ``learned``, for classes with many
    labels), predicted (from support crops), refined (a parameter that started as a predicted one).

    Args:
        size: a key of ``yolov7.WIDTHS``.
        learned_classes: how many classes own a learned row.
        trunk_dtype: precision of the trunk's convolutions; head and losses are always float32, because a kernel of
            norm 10 makes the 1/256 of bfloat16 visible in the scores.
    """

    def __init__(self, size: str, learned_classes: int, trunk_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.trunk_dtype = trunk_dtype
        self.trunk = build_trunk(size)
        self.encoder = SupportEncoder(self.trunk.channels)
        self.head = MetaHead(self.trunk.channels, STRIDES)
        self.learned = nn.ParameterList(torch.randn(learned_classes, c) for c in self.trunk.channels)
        self.learned_bias = nn.Parameter(torch.zeros(learned_classes, len(STRIDES)))

    def forward(self, images: Tensor, rows: ClassRows) -> Predictions:
        """(B, 3, H, W) float in 0..1, sides multiples of 32, and the rows of N classes -> predictions."""
        return self.head(self.maps(images), rows)

    def maps(self, images: Tensor) -> list[Tensor]:
        """P3, P4, P5 of (B, 3, H, W) float images: (B, C_l, H_l, W_l) in the trunk's precision."""
        with torch.autocast(images.device.type, self.trunk_dtype, enabled=self.trunk_dtype != torch.float32):
            return self.trunk(images.contiguous(memory_format=torch.channels_last))

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
        ways, shots = crops.shape[:2]
        flat = crops.flatten(0, 1)
        with _running_statistics(self.trunk):
            maps = self.maps(flat[:, :3])
        pooled = pool_over_mask(maps, flat[:, 3:])
        vectors = [p.reshape(ways, shots, -1).mean(1) for p in pooled]
        return ClassVectors(vectors, encode_size(sides_px.flatten()).reshape(ways, shots, -1).mean(1))


@contextmanager
def _running_statistics(trunk: nn.Module) -> Iterator[None]:
    """Batch norm with the queries' running statistics, left as they are.

    A batch of crops centred on objects has other statistics than a batch of queries. At inference both are normalised
    with the running ones, so the support pass trains with them too and does not pull them towards itself.
    """
    norms = [m for m in trunk.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
