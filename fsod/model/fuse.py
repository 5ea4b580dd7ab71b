"""The trunk as it runs at inference: every batch norm folded into its convolution, every RepConv into one 3x3."""

from __future__ import annotations

from copy import deepcopy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from ultralytics.nn.modules.conv import Conv, RepConv

from fsod.model.yolov7 import Trunk


def fuse(trunk: Trunk) -> Trunk:
    """A copy of a trunk, in evaluation mode and without batch norms; the maps are the same up to rounding."""
    fused = deepcopy(trunk).eval().requires_grad_(False)
    _fuse_inside(fused)
    return fused


def _fuse_inside(parent: nn.Module) -> None:
    for name, child in parent.named_children():
        if isinstance(child, Conv):
            setattr(parent, name, nn.Sequential(fuse_conv_bn_eval(child.conv, child.bn), child.act))
        elif isinstance(child, RepConv):
            child.fuse_convs()
            setattr(parent, name, nn.Sequential(child.conv, child.act))
        else:
            _fuse_inside(child)
