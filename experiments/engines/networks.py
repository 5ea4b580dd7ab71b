"""One network in every engine: from images to boxes and scores, as ``BakedDetector``."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from fsod.inference.openvino_infer import PLAIN
from fsod.model.baked import BakedDetector

Pixels = NDArray[np.float32]
Network = Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""(B, 3, S, S) in 0..1 -> boxes_xyxy_px (B, L, 4) and scores (B, N, L)."""


class _Windows(CalibrationDataReader):
    """Windows that the ranges of 8-bit numbers are taken from."""

    def __init__(self, windows: Pixels) -> None:
        self._left: Iterator[dict[str, Pixels]] = iter(
            {"images": windows[i : i + 4]} for i in range(0, len(windows), 4)
        )

    def get_next(self) -> dict[str, Pixels] | None:
        """As onnxruntime asks for them."""
        return next(self._left, None)


def write_float32(network: BakedDetector, batch: int, side_px: int, out: Path) -> None:
    """The network as ONNX, for batches of one size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (torch.zeros(batch, 3, side_px, side_px),),
            input_names=["images"],
            output_names=["boxes", "scores"],
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(out, external_data=False)


def write_int8(float32: Path, windows: Pixels, out: Path) -> None:
    """The same with convolutions in 8-bit integers, but those of the first layer and those that boxes and scores come out of.

    Weights have a range for each channel, maps one that is taken from the windows.
    """
    convolutions = [node for node in onnx.load(float32).graph.node if node.op_type == "Conv"]
    outputs = [node.name for node in convolutions if _channels_out(float32, node) == 4]
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(
        float32,
        out,
        _Windows(windows),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        reduce_range=True,  # without VNNI sums of full 8-bit products overflow
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[convolutions[0].name, *outputs],
        calibrate_method=CalibrationMethod.MinMax,
    )


def _channels_out(file: Path, node: onnx.NodeProto) -> int:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(file).graph.initializer}
    return shapes.get(node.input[1], (0,))[0]


def by_torch(network: BakedDetector) -> Network:
    """Fsod's own way."""

    def run(images: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            boxes, scores = network(torch.from_numpy(images))
        return boxes.numpy(), scores.numpy()

    return run


def by_onnxruntime(file: Path, threads: int) -> Network:
    """Through onnxruntime; threads that wait sleep, as fsod's do."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = InferenceSession(file, options, ["CPUExecutionProvider"])

    def run(images: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        boxes, scores = session.run(["boxes", "scores"], {"images": images})
        return boxes, scores

    return run


def by_openvino(file: Path, threads: int) -> Network:
    """Through OpenVINO, which rounds to no shorter numbers than the file has."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(file), "CPU", {**PLAIN, "INFERENCE_NUM_THREADS": threads})

    def run(images: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        out = compiled([images])
        return out[0], out[1]

    return run
