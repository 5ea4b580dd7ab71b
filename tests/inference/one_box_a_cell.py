"""What the small networks of these tests share: what their files say, and a box around every cell of three levels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fsod.config import EvaluateSettings
from fsod.inference.onnx_infer import OnnxHeader

SIDE_PX = 64


def header_of(
    names: tuple[str, ...], scores: tuple[float, ...], precision: Literal["float32", "int8"] = "float32"
) -> OnnxHeader:
    """Of windows of ``SIDE_PX``."""
    return OnnxHeader(
        class_names=names,
        scores=scores,
        weights_sha256="w",
        bank_sha256="b",
        gsd_m=None,
        window_px=SIDE_PX,
        precision=precision,
        suppression=EvaluateSettings(),
    )


def boxes_of(level: Tensor, stride: int) -> Tensor:
    """Boxes (B, L, 4) around the cells of a level, row by row; ``level`` (B, L, channels) says how many images there are."""
    place = torch.arange(SIDE_PX // stride) * float(stride)
    corner = torch.cartesian_prod(place, place).flip(1)
    return torch.cat([corner, corner + stride], 1)[None] + 0 * level[:, :, :1]
