"""An exported network in 8-bit integers, for CPUs: its convolutions take a third of the time that they take in floats.

Weights have a range for each channel, maps one that is taken from windows of scenes. What comes out of a convolution is
rounded only where the next one reads it, after the activation: a range of what is before it would be twice as wide. So
OpenVINO computes such a file in integers, and onnxruntime in floats, which is slower than the network in floats.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fsod.boxes import Detections, iou
from fsod.files import atomic_write
from fsod.inference.infer import to_batch
from fsod.inference.onnx_infer import INPUT, OnnxHeader, cpu_detector, need_extra

Pixels = NDArray[np.float32]

IN_FLOATS = re.compile(r"\.(stem|stage2|out[345]|boxes)\.")
"""Layers, by the names of their weights, that would lose most: 0.014 mAP50 with them, none without; see experiments/engines."""

COMPARED = 8
"""Windows on which the two networks are compared."""


def write_int8(
    float32: Path, images: NDArray[np.uint8], header: OnnxHeader, at_once: int | None, out: Path
) -> dict[str, float]:
    """Writes what ``write_onnx`` wrote in 8-bit integers, under a temporary name; renames it when it is whole.

    Args:
        float32: the network as it was exported; its header says ``int8``.
        images: (n, S, S, 3) uint8 RGB, windows that ranges are taken from.
        header: of the file.
        at_once: windows that the network takes at once, None for any number.
        out: the file to write.

    Returns:
        ``agreement``: of what either network finds worth showing in the first windows, the share that both find.

    Raises:
        UserError: the extra ``onnx`` is not installed.
    """
    need_extra("onnx", "onnxruntime")
    windows = to_batch(images, torch.device("cpu")).numpy()
    with atomic_write(out) as temporary:
        quantize(float32, in_batches(windows, at_once or 1), temporary)
        ours, theirs = (cpu_detector(path, header, at_once)(images[:COMPARED]) for path in (float32, temporary))
        return {"agreement": agreement(ours, theirs)}


def quantize(float32: Path, batches: Pixels, out: Path) -> None:
    """Convolutions in integers, but those ``IN_FLOATS``; ranges of maps from batches (m, B, 3, S, S) in 0..1."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Windows(CalibrationDataReader):  # a class of an extra, so it is made where that is known to be there
        def __init__(self) -> None:
            self.left: Iterator[Pixels] = iter(batches)

        def get_next(self) -> dict[str, Pixels] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch}

    convolutions = [node for node in onnx.load(float32).graph.node if node.op_type == "Conv"]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises to fold shapes, which the exporter has done
    try:
        quantize_static(
            float32,
            out,
            Windows(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[node.name for node in convolutions if IN_FLOATS.search(node.input[1])],
            per_channel=True,
            reduce_range=True,  # sums of full 8-bit products overflow on CPUs without VNNI
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
        )
    finally:
        logging.disable(before)


def in_batches(windows: Pixels, at_once: int) -> Pixels:
    """(n, 3, S, S) -> (m, at_once, 3, S, S); the last batch is filled with the first windows."""
    count = -(-len(windows) // at_once) * at_once
    return windows[np.arange(count) % len(windows)].reshape(-1, at_once, *windows.shape[1:])


def agreement(ours: list[Detections], theirs: list[Detections]) -> float:
    """Of all detections of both, window by window, the share that the other has, too: same class, IoU of 0.5; 1 of none."""
    same, total = 0, 0
    for one, other in zip(ours, theirs, strict=True):
        alike = (iou(one.boxes_xyxy_px, other.boxes_xyxy_px) >= 0.5) & (one.class_ids[:, None] == other.class_ids)
        same += int(alike.any(1).sum() + alike.any(0).sum())
        total += len(one) + len(other)
    return same / total if total else 1.0
