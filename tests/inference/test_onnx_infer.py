"""Windows through an exported network that takes one, several or any number of them at once: a tiny one, made in a second."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from fsod.inference.infer import postprocess, to_batch
from fsod.inference.onnx_export import write_onnx
from fsod.inference.onnx_infer import load_onnx
from fsod.inference.openvino_infer import open_openvino
from fsod.model import turned
from fsod.model.one_output import OneOutput
from fsod.model.turned import Turned
from tests.inference.one_box_a_cell import SIDE_PX, boxes_of, header_of

HEADER = header_of(("bright", "dark"), (0.6, 0.3))


class Brightness(nn.Module):
    """A box around every cell of three levels; how bright the cell is, and how dark, are the scores."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, bright = [], []
        for stride in (8, 16, 32):
            level = nn.functional.avg_pool2d(images.mean(1, keepdim=True), stride).flatten(2)
            boxes.append(boxes_of(level.transpose(1, 2), stride))
            bright.append(level)
        return torch.cat(boxes, 1), torch.cat([torch.cat(bright, 2), 1 - torch.cat(bright, 2)], 1)


NETWORK = Turned(Brightness())


@pytest.fixture(scope="module", autouse=True)
def two_turns() -> Iterator[None]:
    """Of four: each takes seconds to export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turned, "TURNS", 2)
        yield


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "dynamic.onnx"
    write_onnx(OneOutput(NETWORK, HEADER.scores).eval(), HEADER, path, None)
    return path


@pytest.fixture(params=[2, None])
def written(request: pytest.FixtureRequest, dynamic: Path, tmp_path: Path) -> tuple[Path, int | None]:
    """With the number of windows that it takes at once; a second export would take seconds."""
    if request.param is None:
        return dynamic, None
    model, path = onnx.load(dynamic), tmp_path / "fixed.onnx"
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = request.param
    onnx.save(model, path)
    return path, request.param


@pytest.fixture(params=["onnxruntime", "OpenVINO"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What computes, with or without the other one installed."""
    if request.param == "OpenVINO":
        pytest.importorskip("openvino")
    monkeypatch.setattr(onnx_infer, "openvino_is_there", lambda: request.param == "OpenVINO")
    return str(request.param)


def by_torch(images: NDArray[np.uint8], floor: float | tuple[float, ...]) -> list[Detections]:
    boxes, scores = NETWORK(to_batch(images, torch.device("cpu")))
    return postprocess(boxes, scores, images.shape[1:3], floor, HEADER.suppression)


def by_place(found: Detections) -> Detections:
    """In an order that does not hang on the last bit of a score."""
    return found.select(np.lexsort((*found.boxes_xyxy_px.round(2).T, found.class_ids)))


def test_any_number_of_windows(written: tuple[Path, int | None], engine: str) -> None:
    path, at_once = written
    images = np.random.default_rng(0).integers(0, 255, (3, SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    for score in (0.005, None):
        detect = load_onnx(path, score)
        assert (detect.at_once, str(detect)) == (at_once, f"cpu float32, {engine}")
        found = detect(images)
        for ours, theirs in zip(by_torch(images, HEADER.scores if score is None else score), found, strict=True):
            ours, theirs = by_place(ours), by_place(theirs)
            assert len(ours) == len(theirs) > 3
            np.testing.assert_allclose(theirs.boxes_xyxy_px, ours.boxes_xyxy_px, atol=1e-4)
            np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-6)
            np.testing.assert_array_equal(theirs.class_ids, ours.class_ids)


def test_threads_may_share_it(dynamic: Path, engine: str) -> None:
    detect = load_onnx(dynamic, 0.005)
    images = np.random.default_rng(1).integers(0, 255, (8, 1, SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(detect, images))
    for image, (found,) in zip(images, at_once, strict=True):
        np.testing.assert_array_equal(found.scores, detect(image)[0].scores)


def test_what_openvino_cannot_open_is_not_left_to_onnxruntime_unsaid(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "torn.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(UserError, match=r"torn\.onnx: OpenVINO does not open it .*pip uninstall openvino"):
        open_openvino(path)


def test_a_smaller_window_is_filled_up(dynamic: Path, engine: str) -> None:
    detect = load_onnx(dynamic, 0.005)
    whole = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8)
    whole[:, :32] = np.random.default_rng(2).integers(0, 255, (1, 32, SIDE_PX, 3))
    (found,), (expected,) = detect(whole[:, :32]), detect(whole)
    assert len(found) > 3
    np.testing.assert_array_equal(found.boxes_xyxy_px, expected.boxes_xyxy_px)


def test_a_larger_window_is_refused(dynamic: Path) -> None:
    with pytest.raises(UserError, match="takes windows of 64 x 64 px, not of 96 x 64"):
        load_onnx(dynamic, None)(np.zeros((1, 64, 96, 3), np.uint8))


@pytest.mark.parametrize("key", ["window_px", "class_names", "scores"])
def test_a_network_that_is_not_as_its_metadata_say_is_refused(dynamic: Path, key: str, tmp_path: Path) -> None:
    other = {"window_px": 96, "class_names": ("a", "b", "c"), "scores": (0.1, 0.2, 0.3)}
    model, path = onnx.load(dynamic), tmp_path / "other.onnx"
    for entry in model.metadata_props:
        if entry.key == "fsod":
            entry.value = HEADER.model_copy(update={key: other[key]}).model_dump_json()
    onnx.save(model, path)
    with pytest.raises(UserError, match=re.escape("export the bank again")):
        load_onnx(path, None)
