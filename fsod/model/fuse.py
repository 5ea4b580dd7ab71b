"""Modules as they run at inference: every batch norm folded into its convolution, every RepConv into one 3x3."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fsod.ultralytics_parts import Conv, RepConv

M = TypeVar("M", bound=nn.Module)


def fuse(module: M) -> M:
    """A copy in evaluation mode and without batch norms; what it puts out is the same up to rounding."""
    fused = deepcopy(module).eval().requires_grad_(False)
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
