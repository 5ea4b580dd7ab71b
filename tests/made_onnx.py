"""A network as ``fsod export`` makes them, but for what it computes: the same boxes of whatever it is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from fsod.inference.onnx_infer import INPUT, METADATA_KEY, OUTPUT, OnnxHeader
from tests.untrained import SETTINGS


def make_onnx(path: Path, **about: object) -> Path:
    """Two classes; ``about`` replaces values of the header."""
    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, 64, 64])
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 6, 84])
    rows = np.repeat([15.0, 20, 30, 40, 0.5, 0.5], 84)  # centre, size, a score for each class
    value = helper.make_tensor("value", TensorProto.FLOAT, [1, 6, 84], rows)
    graph = helper.make_graph([helper.make_node("Identity", ["value"], [OUTPUT])], "made", [image], [output], [value])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
    header = OnnxHeader(
        class_names=("boat", "car"),
        scores=(0.2, 0.3),
        weights_sha256="w",
        bank_sha256="b",
        gsd_m=0.5,
        window_px=64,
        suppression=SETTINGS.evaluate,
    )
    helper.set_model_props(model, {METADATA_KEY: header.model_copy(update=about).model_dump_json()})
    onnx.save(model, path)
    return path
