"""An exported network through OpenVINO: on a CPU it takes less time than onnxruntime, and finds the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError, one_line

PLAIN = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""OpenVINO would compute in bfloat16 where the hardware has it; an exported network's scores are those of float32."""


def openvino_is_there() -> bool:
    """Whether the extra ``openvino`` is installed."""
    return find_spec("openvino") is not None


def open_openvino(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The network of a file, on the CPU, with as many threads as torch has: its input -> its only output.

    Raises:
        UserError: OpenVINO cannot read the file or lacks what it computes.
    """
    import openvino

    settings = {**PLAIN, "INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"])}
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", settings)
    except Exception as error:  # OpenVINO's errors have no other base
        raise UserError(
            f"{path}: OpenVINO does not open it ({one_line(error)}); `pip uninstall openvino` leaves it to onnxruntime"
        ) from error

    def compute(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        request = compiled.create_infer_request()  # of this call alone: one that is shared refuses a second thread
        return request.infer([batch])[0]

    return compute
