"""Detection through onnxruntime with a network of ``fsod export``, and what such a file says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fsod.band_rule import BandRule
from fsod.boxes import Detections
from fsod.config import EvaluateSettings, Settings, Share, SidePx
from fsod.engine.infer import settle, to_batch
from fsod.errors import UserError, one_line
from fsod.store.checkpoint import ClassName, Enlargement, Metres

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

METADATA_KEY = "fsod"
INPUT = "images"
OUTPUTS = ("boxes_xyxy_px", "scores")
PROVIDERS = {"CUDAExecutionProvider": "cuda", "CPUExecutionProvider": "cpu"}  # best first


class OnnxHeader(Settings):
    """What an exported network says of itself: JSON in the model's metadata, under ``METADATA_KEY``.

    Attributes:
        format: tells the files of ``fsod export`` from others.
        class_names: a detection's class id is a position in them.
        scores: from which on detections of each class are worth showing.
        weights_sha256: hash of the weights, as class banks name it.
        bank_sha256: hash of the class bank's file.
        gsd_m: ground size of a pixel that scenes are searched at, None when unknown.
        enlargement: how many times as large as it is a scene of unknown GSD is searched.
        shown: which bands the examples were shown in, see ``ClassBank``.
        window_px: side of the windows that the network is meant for; it takes any multiple of 32.
        suppression: what follows the network.
    """

    format: Literal["fsod-onnx-1"] = "fsod-onnx-1"
    class_names: tuple[ClassName, ...]
    scores: tuple[Share, ...]
    weights_sha256: str
    bank_sha256: str
    gsd_m: Metres | None
    enlargement: Enlargement = 1.0
    shown: tuple[BandRule, ...] = ()
    window_px: SidePx
    suppression: EvaluateSettings


@dataclass(frozen=True)
class OnnxDetector:
    """An exported network, ready to be shown batches of images.

    Attributes:
        session: holds the network.
        header: what the file says of it.
        score_floor: detections below this are dropped; one number, or one a class.
    """

    session: InferenceSession
    header: OnnxHeader
    score_floor: float | tuple[float, ...]

    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        """(B, H, W, 3) uint8 RGB of any size -> one Detections an image, in its pixel frame, best first."""
        batch = to_batch(images, torch.device("cpu")).numpy()
        try:
            boxes, scores = self.session.run(OUTPUTS, {INPUT: batch})
        except Exception as error:  # onnxruntime's errors have no other base
            raise UserError(
                f"the exported network does not compute ({one_line(error)}); export the bank again"
            ) from error
        locations = boxes.shape[1] if boxes.ndim == 3 else 0
        wanted = (len(batch), locations, 4), (len(batch), len(self.header.class_names), locations)
        if (boxes.shape, scores.shape) != wanted:
            raise UserError(
                f"the exported network gives boxes of shape {boxes.shape} and scores of shape {scores.shape} for "
                f"{len(batch)} images and {len(self.header.class_names)} classes; export the bank again"
            )
        size_px = images.shape[1:3]
        return settle(
            torch.from_numpy(boxes), torch.from_numpy(scores), size_px, self.score_floor, self.header.suppression
        )

    def __str__(self) -> str:
        return f"{PROVIDERS[self.session.get_providers()[0]]} float32, onnxruntime"


def load_onnx(path: Path, score_floor: float | None) -> OnnxDetector:
    """Opens an exported network, on a GPU where onnxruntime has one, else on the CPU.

    Without ``score_floor`` the scores that the file proposes apply.

    Raises:
        UserError: onnxruntime is not installed, or the file is damaged or not of ``fsod export``.
    """
    need_extra("onnxruntime")
    from onnxruntime import get_available_providers

    session = open_session(path, [name for name in PROVIDERS if name in get_available_providers()])
    try:
        content = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")
        header = OnnxHeader.model_validate_json(content)
    except (ValueError, RecursionError) as error:  # pydantic's is a ValueError
        raise UserError(
            f"{path}: an ONNX file, but not of this version's `fsod export`; export the bank again"
        ) from error
    _check_shapes(path, session, header)
    return OnnxDetector(session, header, header.scores if score_floor is None else score_floor)


def _check_shapes(path: Path, session: InferenceSession, header: OnnxHeader) -> None:
    """UserError unless the network takes and gives what its header says."""
    inputs = {one.name: list(one.shape) for one in session.get_inputs()}
    outputs = {one.name: list(one.shape) for one in session.get_outputs()}
    classes = len(header.class_names)
    if list(inputs) != [INPUT] or len(inputs[INPUT]) != 4 or not set(OUTPUTS) <= set(outputs):
        raise UserError(
            f"{path}: its inputs are {', '.join(inputs)} and its outputs {', '.join(outputs)}, not those of `fsod export`; "
            "export the bank again"
        )
    boxes, scores = (outputs[name] for name in OUTPUTS)
    # a size that the file leaves open is a name
    fits = len(boxes) == len(scores) == 3 and all(
        size == wanted for size, wanted in ((boxes[2], 4), (scores[1], classes)) if isinstance(size, int)
    )
    if other := [one.type for one in (*session.get_inputs(), *session.get_outputs()) if one.type != "tensor(float)"]:
        raise UserError(f"{path}: computes in {other[0]}, not in 32-bit floats; export the bank again")
    if not fits or len(header.scores) != classes:
        raise UserError(
            f"{path}: names {classes} classes and {len(header.scores)} scores, and its network gives boxes of shape {boxes} "
            f"and scores of shape {scores}; export the bank again"
        )


def open_session(path: Path, providers: list[str]) -> InferenceSession:
    """A session with as many threads as torch has; UserError if the file is not there or not ONNX."""
    from onnxruntime import InferenceSession, SessionOptions

    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a network of `fsod export`")
    options = SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    try:
        return InferenceSession(path, options, providers)
    except Exception as error:  # onnxruntime's errors have no other base
        raise UserError(f"{path}: not a readable ONNX file: {one_line(error)}") from error


def need_extra(*packages: str) -> None:
    """UserError where one of these packages of the extra ``onnx`` is not installed."""
    for package in packages:
        if find_spec(package) is None:
            raise UserError(f"ONNX needs the package {package!r}, which is not installed: pip install 'fsod[onnx]'")
