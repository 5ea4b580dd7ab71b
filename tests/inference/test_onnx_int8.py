"""A small network in 8-bit integers: its file, what it finds, and what it asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.inference import onnx_infer
from fsod.inference.onnx_export import write_onnx
from fsod.inference.onnx_infer import load_onnx
from fsod.inference.onnx_int8 import agreement, in_batches, write_int8
from fsod.model.one_output import OneOutput
from tests.inference.one_box_a_cell import SIDE_PX, boxes_of, header_of

Images = NDArray[np.uint8]

HEADER = header_of(("one", "other"), (0.5, 0.5), "int8")


class Small(nn.Module):
    """Scores by convolutions, one box around each cell of three levels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.LeakyReLU(0.1))
        self.stage4 = nn.Sequential(
            nn.Conv2d(16, 64, 3, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(64, 64, 3, 2, 1), nn.LeakyReLU(0.1)
        )
        self.rows = nn.Linear(64, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        finest, boxes, cells = self.stage4(self.stem(images)), [], []
        for stride in (8, 16, 32):
            level = nn.functional.avg_pool2d(finest, stride // 8).flatten(2).transpose(1, 2)
            boxes.append(boxes_of(level, stride))
            cells.append(level)
        features = torch.cat(cells, 1)
        centred = features - features.mean(1, keepdim=True)
        return torch.cat(boxes, 1), (100 * self.rows(centred)).sigmoid().transpose(1, 2)


@pytest.fixture(scope="module")
def images() -> Images:
    coarse = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    windows = nn.functional.interpolate(coarse, SIDE_PX, mode="bilinear").numpy()
    return (windows.transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, images: Images) -> tuple[Path, Path, float]:
    """In floats, in integers, and how far they agree."""
    folder = tmp_path_factory.mktemp("int8")
    torch.manual_seed(0)
    write_onnx(OneOutput(Small(), HEADER.scores).eval(), HEADER, folder / "float32.onnx", 4)
    told = write_int8(folder / "float32.onnx", images, HEADER, 4, folder / "int8.onnx")
    assert sorted(path.name for path in folder.iterdir()) == ["float32.onnx", "int8.onnx"]
    return folder / "float32.onnx", folder / "int8.onnx", told["agreement"]


def test_it_is_smaller_and_agrees(written: tuple[Path, Path, float]) -> None:
    float32, int8, agreed = written
    assert int8.stat().st_size < 0.5 * float32.stat().st_size
    assert 0.9 < agreed <= 1
    onnx.checker.check_model(onnx.load(int8), full_check=True)


def test_what_would_lose_most_stays_in_floats(written: tuple[Path, Path, float]) -> None:
    kinds = {one.name: one.data_type for one in onnx.load(written[1]).graph.initializer}
    assert kinds["network.stem.0.weight"] == onnx.TensorProto.FLOAT
    assert kinds["network.stage4.2.weight_quantized"] == onnx.TensorProto.INT8


def test_openvino_finds_in_integers_what_was_in_floats(written: tuple[Path, Path, float], images: Images) -> None:
    pytest.importorskip("openvino")
    float32, int8, _ = written
    by_int8 = load_onnx(int8, None)
    assert str(by_int8) == "cpu int8, OpenVINO"
    found, exact = by_int8(images), load_onnx(float32, None)(images)
    assert sum(map(len, exact)) > 50
    assert agreement(exact, found) > 0.9
    differences = [a.scores.sum() - b.scores.sum() for a, b in zip(exact, found, strict=True)]
    assert any(difference != 0 for difference in differences)  # it does compute in integers


def test_without_openvino_one_line_says_what_to_install(
    written: tuple[Path, Path, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_infer, "openvino_is_there", lambda: False)
    with pytest.raises(UserError, match=r"int8\.onnx: 8-bit networks need .*'fsod\[openvino\]'"):
        load_onnx(written[1], None)


def test_agreement_counts_what_only_one_finds() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30.0]])
    both = Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 1]))
    other_class = Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 0]))
    assert agreement([both], [both]) == 1
    assert agreement([both], [other_class]) == 0.5
    assert agreement([both], [Detections.empty()]) == 0
    assert agreement([Detections.empty()], [Detections.empty()]) == 1


def test_the_last_batch_is_filled() -> None:
    windows = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    assert in_batches(windows, 2).ravel().tolist() == [0, 1, 2, 3, 4, 0]
