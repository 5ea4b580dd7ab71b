from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.modules.conv import RepConv

from fsod.model.fuse import fuse
from fsod.model.yolov7 import Trunk, build_trunk
from fsod.model_sizes import SIZES


def lived_in(trunk: Trunk) -> Trunk:
    """With batch norms that have seen something: fresh ones hardly differ from none at all."""
    torch.manual_seed(0)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.1, 0.6),
            ):
                assert values is not None
                nn.init.uniform_(values, low, high)
    return trunk.eval()


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_fused_maps_are_those_of_the_trunk(size: str) -> None:
    trunk = lived_in(build_trunk(size))
    images = torch.rand(2, 3, 64, 96)
    for before, after in zip(trunk(images), fuse(trunk)(images), strict=True):
        assert ((after - before).abs().max() / before.std()).item() < 1e-4


def test_nothing_but_convolutions_and_activations_is_left_and_the_trunk_stays_as_it_was() -> None:
    trunk = build_trunk("yolov7").train()
    fused = fuse(trunk)
    assert not any(isinstance(m, nn.BatchNorm2d | RepConv) for m in fused.modules())
    assert not any(p.requires_grad for p in fused.parameters())
    assert trunk.training
    assert any(isinstance(m, RepConv) for m in trunk.modules())
    assert all(p.requires_grad for p in trunk.parameters())


def test_the_full_size_loses_what_its_rep_convs_and_norms_held() -> None:
    trunk = build_trunk("yolov7")
    convs = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    pointwise = [m.conv2.conv.weight.numel() for m in trunk.modules() if isinstance(m, RepConv)]
    biases = sum(m.out_channels for m in convs) - sum((256, 512, 1024))  # one 3x3 a RepConv is left of two convolutions
    assert sum(p.numel() for p in fuse(trunk).parameters()) == (
        sum(m.weight.numel() for m in convs) - sum(pointwise) + biases
    )
