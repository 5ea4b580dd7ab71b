"""One network in every engine: from images to boxes and scores, as ``BakedDetector``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from fsod.inference.openvino_infer import PLAIN
from fsod.model.baked import BakedDetector

Pixels = NDArray[np.float32]
Network = Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""(B, 3, S, S) in 0..1 -> boxes_xyxy_px (B, L, 4) and scores (B, N, L)."""


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
        out = compiled.create_infer_request().infer([images])  # as fsod does: a shared one refuses a second thread
        return out[0], out[1]

    return run
