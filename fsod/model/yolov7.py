"""YOLOv7 backbones with their ELAN-PAN necks, built from the published graph.

Wang, Bochkovskiy, Liao: "YOLOv7: Trainable bag-of-freebies sets new state-of-the-art for real-time object detectors"
(2022), and the layer tables of its release. ``fsod.model_sizes`` has the table of sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fsod.model.blocks import MP, Elan, ElanTiny, ElanWide, Sppcspc, SppcspcTiny, tiny_conv
from fsod.model_sizes import SIZES
from fsod.ultralytics_parts import Conv, RepConv

STRIDES = (8, 16, 32)


class Yolov7(nn.Module):
    """YOLOv7 up to the three maps that enter its detection layer.

    Attributes:
        channels: channels of P3, P4, P5.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channels = (256, 512, 1024)

        self.stem = nn.Sequential(Conv(3, 32, 3), Conv(32, 64, 3, 2), Conv(64, 64, 3), Conv(64, 128, 3, 2))
        self.stage2 = Elan(128, 64, 256)
        self.stage3 = nn.Sequential(MP(256, 128), Elan(256, 128, 512))
        self.stage4 = nn.Sequential(MP(512, 256), Elan(512, 256, 1024))
        self.stage5 = nn.Sequential(MP(1024, 512), Elan(1024, 256, 1024))

        self.spp = Sppcspc(1024, 512)
        self.from5 = Conv(512, 256)
        self.lateral4 = Conv(1024, 256)
        self.down_elan4 = ElanWide(512, 256)
        self.from4 = Conv(256, 128)
        self.lateral3 = Conv(512, 128)
        self.down_elan3 = ElanWide(256, 128)
        self.halve3 = MP(128, 128)
        self.up_elan4 = ElanWide(512, 256)
        self.halve4 = MP(256, 256)
        self.up_elan5 = ElanWide(1024, 512)
        self.out3 = RepConv(128, 256)
        self.out4 = RepConv(256, 512)
        self.out5 = RepConv(512, 1024)
        _set_norms(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float in 0..1, sides multiples of 32 -> P3, P4, P5: (B, channels[l], H/stride, W/stride)."""
        x3 = self.stage3(self.stage2(self.stem(images)))  # stride 8
        x4 = self.stage4(x3)
        x5 = self.spp(self.stage5(x4))
        return _aggregate_paths(self, x3, x4, x5)


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
        _set_norms(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float in 0..1, sides multiples of 32 -> P3, P4, P5: (B, channels[l], H/stride, W/stride)."""
        x3 = self.stage3(self.halve(self.stage2(self.stem(images))))  # stride 8
        x4 = self.stage4(self.halve(x3))
        x5 = self.spp(self.stage5(self.halve(x4)))
        return _aggregate_paths(self, x3, x4, x5)


Trunk = Yolov7 | Yolov7Tiny


def build_trunk(size: str) -> Trunk:
    """Backbone and neck of one of ``fsod.model_sizes``."""
    of_size = SIZES[size]
    return Yolov7() if of_size.graph == "yolov7" else Yolov7Tiny(of_size.width)


def _aggregate_paths(neck: Trunk, x3: Tensor, x4: Tensor, x5: Tensor) -> list[Tensor]:
    """The ELAN-PAN neck of both sizes: coarse maps are handed down to fine ones, then fine ones up to coarse ones."""
    n4 = neck.down_elan4(torch.cat([neck.lateral4(x4), _double(neck.from5(x5))], 1))
    n3 = neck.down_elan3(torch.cat([neck.lateral3(x3), _double(neck.from4(n4))], 1))
    n4 = neck.up_elan4(torch.cat([neck.halve3(n3), n4], 1))
    n5 = neck.up_elan5(torch.cat([neck.halve4(n4), x5], 1))
    return [neck.out3(n3), neck.out4(n4), neck.out5(n5)]


def _double(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")


def _set_norms(trunk: Trunk) -> None:
    """Batch norm as the official model sets it after building."""
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 1e-3, 0.03
