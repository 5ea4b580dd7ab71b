from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from fsod.model.yolov7 import build_trunk
from fsod.model_sizes import SIZES


def reference_folder() -> Path:
    path = Path(os.environ.get("FSOD_REFERENCE", "../shared/reference/yolov7"))
    if not path.is_dir():
        pytest.skip(f"no reference numbers at {path} (set FSOD_REFERENCE)")
    return path


def formula_weight(key: str, shape: list[int]) -> np.ndarray:
    """The reference's weights, as its README gives them."""
    n = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_var"):
        return 1 + 0.2 * np.abs(n)
    if len(shape) == 4:
        return n * np.sqrt(2 / np.prod(shape[1:]))
    if key.endswith(".weight"):
        return 1 + 0.1 * n
    return 0.1 * n


def official_shapes(folder: Path, size: str) -> dict[str, list[int]]:
    """Keys and shapes of the official state dict, in order, without the detection layer, which is the last."""
    content = json.loads((folder / f"{size}.state_dict.json").read_text())
    shapes: dict[str, list[int]] = content["state_dict_shapes"]
    last = max(int(key.split(".")[1]) for key in shapes)
    return {key: shape for key, shape in shapes.items() if not key.startswith(f"model.{last}.")}


@pytest.mark.parametrize("size", ["yolov7-tiny", "yolov7"])
def test_trunk_computes_what_the_official_network_computes(size: str) -> None:
    folder = reference_folder()
    shapes = official_shapes(folder, size)
    trunk = build_trunk(size).eval()
    weights = {}
    for (own, value), (key, shape) in zip(trunk.state_dict().items(), shapes.items(), strict=True):
        assert list(value.shape) == shape, f"{own} stands where the official {key} does"
        weights[own] = value if "num_batches" in key else torch.tensor(formula_weight(key, shape)).float()
    trunk.load_state_dict(weights)

    expected = np.load(folder / f"{size}.expected.npz")
    pixels = np.random.RandomState(int(expected["input_seed"])).rand(*expected["input_shape"])
    with torch.no_grad():
        maps = trunk(torch.tensor(pixels, dtype=torch.float32))
    for name, level_map in zip(("p3", "p4", "p5"), maps, strict=True):
        assert np.abs(level_map.numpy() - expected[name]).max() < 1e-4 * expected[name].std(), name


@pytest.mark.parametrize("size", SIZES)
def test_maps_have_the_announced_channels_and_strides(size: str) -> None:
    trunk = build_trunk(size).eval()
    with torch.no_grad():
        maps = trunk(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 64 // s, 96 // s) for c, s in zip(trunk.channels, (8, 16, 32), strict=True)
    ]


def test_nano_is_tiny_at_half_width() -> None:
    assert [2 * c for c in build_trunk("nano").channels] == list(build_trunk("yolov7-tiny").channels)


@pytest.mark.parametrize(("size", "official_count"), [("yolov7", 37_622_682), ("yolov7-tiny", 6_228_762)])
def test_with_a_plain_80_class_head_the_parameters_are_as_many_as_the_official_ones(
    size: str, official_count: int
) -> None:
    with torch.device("meta"):
        trunk = build_trunk(size)
    outputs = 3 * (4 + 1 + 80)  # three anchors per level: box, objectness, classes
    convolutions = sum(c * outputs + outputs for c in trunk.channels)
    implicit = sum(c + outputs for c in trunk.channels)  # one added before each convolution, one multiplied after it
    assert sum(p.numel() for p in trunk.parameters()) + convolutions + implicit == official_count
