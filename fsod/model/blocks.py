"""The building blocks of YOLOv7's published figure, over ultralytics' convolution.

YOLOv7's unit is ultralytics' ``Conv`` as it stands: convolution, batch norm, SiLU. So is its RepConv: a 3x3 and a 1x1,
each with a batch norm, added before SiLU.

In every block the convolutions are created in the order in which the published graph numbers its layers. That makes a
block's state dict line up with the official one by position, which is how official weights are imported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsod.ultralytics_parts import Conv


class Elan(nn.Module):
    """ELAN of the backbone: two pointwise branches, one followed by four 3x3; every second output is joined."""

    def __init__(self, c_in: int, c_hidden: int, c_out: int) -> None:
        super().__init__()
        self.left = Conv(c_in, c_hidden)
        self.right = Conv(c_in, c_hidden)
        self.deep2 = nn.Sequential(Conv(c_hidden, c_hidden, 3), Conv(c_hidden, c_hidden, 3))
        self.deep4 = nn.Sequential(Conv(c_hidden, c_hidden, 3), Conv(c_hidden, c_hidden, 3))
        self.join = Conv(4 * c_hidden, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H, W)."""
        right = self.right(x)
        deep2 = self.deep2(right)
        return self.join(torch.cat([self.deep4(deep2), deep2, right, self.left(x)], 1))


class ElanWide(nn.Module):
    """ELAN of the neck (ELAN-W): the 3x3 have half the channels, and the output of each one is joined."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        c_deep = c_out // 2
        self.left = Conv(c_in, c_out)
        self.right = Conv(c_in, c_out)
        self.deep1 = Conv(c_out, c_deep, 3)
        self.deep2 = Conv(c_deep, c_deep, 3)
        self.deep3 = Conv(c_deep, c_deep, 3)
        self.deep4 = Conv(c_deep, c_deep, 3)
        self.join = Conv(2 * c_out + 4 * c_deep, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H, W)."""
        right = self.right(x)
        deep1 = self.deep1(right)
        deep2 = self.deep2(deep1)
        deep3 = self.deep3(deep2)
        return self.join(torch.cat([self.deep4(deep3), deep3, deep2, deep1, right, self.left(x)], 1))


class MP(nn.Module):
    """Halves a map twice over, by max pooling and by a strided 3x3, and puts both side by side."""

    def __init__(self, c_in: int, c_branch: int) -> None:
        super().__init__()
        self.pooled = nn.Sequential(nn.MaxPool2d(2), Conv(c_in, c_branch))
        self.strided = nn.Sequential(Conv(c_in, c_branch), Conv(c_branch, c_branch, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, 2 * c_branch, H/2, W/2)."""
        return torch.cat([self.strided(x), self.pooled(x)], 1)


class Sppcspc(nn.Module):
    """Spatial pyramid pooling across a cross-stage split: max pools of 5, 9 and 13 at stride 1 on one of two branches."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.right = Conv(c_in, c_out)
        self.left = Conv(c_in, c_out)
        self.before_pools = nn.Sequential(Conv(c_out, c_out, 3), Conv(c_out, c_out))
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.join_pools = nn.Sequential(Conv(4 * c_out, c_out), Conv(c_out, c_out, 3))
        self.join = Conv(2 * c_out, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H, W)."""
        right = self.before_pools(self.right(x))
        # two pools of 5 in a row see 9 pixels, three see 13
        pool5 = self.pool(right)
        pool9 = self.pool(pool5)
        pool13 = self.pool(pool9)
        pooled = self.join_pools(torch.cat([right, pool5, pool9, pool13], 1))
        return self.join(torch.cat([pooled, self.left(x)], 1))


def tiny_conv(c_in: int, c_out: int, kernel: int = 1, stride: int = 1) -> Conv:
    """Convolution, batch norm, LeakyReLU(0.1): YOLOv7-tiny's unit. (B, c_in, H, W) -> (B, c_out, H/stride, W/stride)."""
    return Conv(c_in, c_out, kernel, stride, act=nn.LeakyReLU(0.1, inplace=True))


class ElanTiny(nn.Module):
    """YOLOv7-tiny's ELAN: two pointwise branches, one of them followed by two 3x3, all four joined by a pointwise."""

    def __init__(self, c_in: int, c_hidden: int, c_out: int) -> None:
        super().__init__()
        self.left = tiny_conv(c_in, c_hidden)
        self.right = tiny_conv(c_in, c_hidden)
        self.deep1 = tiny_conv(c_hidden, c_hidden, 3)
        self.deep2 = tiny_conv(c_hidden, c_hidden, 3)
        self.join = tiny_conv(4 * c_hidden, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H, W)."""
        right = self.right(x)
        deep1 = self.deep1(right)
        return self.join(torch.cat([self.deep2(deep1), deep1, right, self.left(x)], 1))


class SppcspcTiny(nn.Module):
    """YOLOv7-tiny's spatial pyramid pooling across a cross-stage split: max pools of 5, 9 and 13 at stride 1."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.left = tiny_conv(c_in, c_out)
        self.right = tiny_conv(c_in, c_out)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.join_pools = tiny_conv(4 * c_out, c_out)
        self.join = tiny_conv(2 * c_out, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H, W)."""
        right = self.right(x)
        # two pools of 5 in a row see 9 pixels, three see 13
        pool5 = self.pool(right)
        pool9 = self.pool(pool5)
        pool13 = self.pool(pool9)
        pooled = self.join_pools(torch.cat([pool13, pool9, pool5, right], 1))
        return self.join(torch.cat([pooled, self.left(x)], 1))
