"""Support encoder: the class vectors of K example crops become a kernel and a bias per level.

The detector's own trunk encodes the crops (``Detector.class_vectors``). So the encoder costs next to no parameters, and its vectors live in the space of
the maps that they are compared with. A crop around a small object has native scale. The crop of a large object is shrunk to
fit, which would hide its size, so the side in pixels is encoded beside the vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, linear, normalize

SIZE_BINS = 7  # log2 of the side in pixels: 8, 16, 32, ... 512


@dataclass(frozen=True)
class ClassVectors:
    """The encoded examples of N classes.

    Attributes:
        vectors: one (N, C_l) float tensor per level, the mean of unit-norm features over the objects' own pixels.
        surroundings: the same over the rest of the crops.
        size_code: (N, SIZE_BINS) float, soft bins of log2 of the side in pixels; rows sum to 1.
    """

    vectors: list[Tensor]
    surroundings: list[Tensor]
    size_code: Tensor


class UnitFeatures(nn.Module):
    """Phi of the meta-detection head: features centred and scaled by channel, then brought to norm 1 at every location.

    Centring comes first because features share a large common part; without it every class vector points along that
    part and all classes fire everywhere. It is a batch norm without parameters: at inference a fixed affine map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.centre = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03, affine=False)

    def forward(self, level_map: Tensor) -> Tensor:
        """(B, C, H, W) float -> (B, C, H, W) float32 of norm 1 along C."""
        return normalize(self.centre(level_map.float()), dim=1)


def pool_over_mask(features: list[Tensor], masks: Tensor) -> list[Tensor]:
    """Mean unit feature over each example's mask.

    Args:
        features: unit features of M crops, one (M, C_l, H_l, W_l) tensor per level.
        masks: (M, 1, S, S) float, 1 where the example box is.

    Returns:
        One (M, C_l) tensor per level.
    """
    pooled = []
    for level in features:
        share = adaptive_avg_pool2d(masks, (level.shape[2], level.shape[3]))[:, 0]  # (M, H, W): object in each cell
        share = share / share.sum((1, 2), keepdim=True).clamp(min=1e-6)
        pooled.append(torch.einsum("mchw,mhw->mc", level, share))
    return pooled


def encode_size(sides_px: Tensor) -> Tensor:
    """(M,) sides in pixels -> (M, SIZE_BINS): linear interpolation between bins at 8, 16, ... 512 px."""
    position = (torch.log2(sides_px.clamp(min=1.0)) - 3).clamp(0, SIZE_BINS - 1)
    bins = torch.arange(SIZE_BINS, device=sides_px.device)
    return (1 - (position[:, None] - bins).abs()).clamp(min=0)


class SupportEncoder(nn.Module):
    """Predicts class kernels and biases from class vectors.

    The kernel of class c at level l is ``W_l v_c + V_l r_c + U_l s_c``, and the head brings it to unit norm. v is the class
    vector, r the vector of its surroundings, s the size code. Without r, a kernel would also fire on the ground that the examples
    stand on. The bias is ``u_l . s_c``, so a class of 15 px objects can stay quiet at stride 32. W starts as the identity, V as minus half of it, U and u at zero.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.from_vector = nn.ParameterList(torch.eye(c) for c in channels)
        self.from_surroundings = nn.ParameterList(-0.5 * torch.eye(c) for c in channels)
        self.from_size = nn.ParameterList(torch.zeros(c + 1, SIZE_BINS) for c in channels)

    def forward(self, classes: ClassVectors) -> tuple[list[Tensor], Tensor]:
        """Directions of the kernels, one (N, C_l) per level (not yet unit norm), and biases (N, levels)."""
        directions, biases = [], []
        vectors = zip(self.from_vector, classes.vectors, self.from_surroundings, classes.surroundings, strict=True)
        for (own, vector, around, surroundings), from_size in zip(vectors, self.from_size, strict=True):
            size = linear(classes.size_code, from_size)
            directions.append(linear(vector, own) + linear(surroundings, around) + size[:, :-1])
            biases.append(size[:, -1])
        return directions, torch.stack(biases, 1)
