"""YOLOv7 backbones with their ELAN-PAN necks, built from the published graph.

Wang, Bochkovskiy, Liao: "YOLOv7: Trainable bag-of-freebies sets new state-of-the-art for real-time object detectors"
(2022), and the layer tables of its release. Sizes: ``yolov7-tiny`` and ``nano``, which is tiny at half width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fsod.model.blocks import ElanTiny, SppcspcTiny, tiny_conv

STRIDES = (8, 16, 32)
WIDTHS = {"nano": 0.5, "yolov7-tiny": 1.0}


class Yolov7Tiny(nn.Module):
    """YOLOv7-tiny up to the three maps that enter its detection layer.

    Attributes:
        channels: channels of P3, P4, P5 (128, 256, 512 at full width).
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c = {n: int(n * width) for n in (32, 64, 128, 256, 512)}
        self.channels = (c[128], c[256], c[512])

        self.stem = nn.Sequential(tiny_conv(3, c[32], 3, 2), tiny_conv(c[32], c[64], 3, 2))
        self.stage2 = ElanTiny(c[64], c[32], c[64])
        self.stage3 = ElanTiny(c[64], c[64], c[128])
        self.stage4 = ElanTiny(c[128], c[128], c[256])
        self.stage5 = ElanTiny(c[256], c[256], c[512])
        self.halve = nn.MaxPool2d(2)

        self.spp = SppcspcTiny(c[512], c[256])
        self.from5 = tiny_conv(c[256], c[128])
        self.lateral4 = tiny_conv(c[256], c[128])
        self.down_elan4 = ElanTiny(c[256], c[64], c[128])
        self.from4 = tiny_conv(c[128], c[64])
        self.lateral3 = tiny_conv(c[128], c[64])
        self.down_elan3 = ElanTiny(c[128], c[32], c[64])
        self.halve3 = tiny_conv(c[64], c[128], 3, 2)
        self.up_elan4 = ElanTiny(c[256], c[64], c[128])
        self.halve4 = tiny_conv(c[128], c[256], 3, 2)
        self.up_elan5 = ElanTiny(c[512], c[128], c[256])
        self.out3 = tiny_conv(c[64], c[128], 3)
        self.out4 = tiny_conv(c[128], c[256], 3)
        self.out5 = tiny_conv(c[256], c[512], 3)

        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):  # as the official model sets them after building
                module.eps, module.momentum = 1e-3, 0.03

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float in 0..1, sides multiples of 32 -> P3, P4, P5: (B, channels[l], H/stride, W/stride)."""
        x3 = self.stage3(self.halve(self.stage2(self.stem(images))))  # stride 8
        x4 = self.stage4(self.halve(x3))
        x5 = self.spp(self.stage5(self.halve(x4)))

        n4 = self.down_elan4(torch.cat([self.lateral4(x4), _double(self.from5(x5))], 1))
        n3 = self.down_elan3(torch.cat([self.lateral3(x3), _double(self.from4(n4))], 1))
        n4 = self.up_elan4(torch.cat([self.halve3(n3), n4], 1))
        n5 = self.up_elan5(torch.cat([self.halve4(n4), x5], 1))
        return [self.out3(n3), self.out4(n4), self.out5(n5)]


def _double(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")


def build_trunk(size: str) -> Yolov7Tiny:
    """Backbone and neck of a size named in ``WIDTHS``."""
    return Yolov7Tiny(WIDTHS[size])
