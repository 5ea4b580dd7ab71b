"""Detection with a network of ``fsod export``, and what such a file says of itself.

onnxruntime opens and checks the file. OpenVINO computes, where it is installed and there is no GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from fsod.band_rule import BandRule
from fsod.boxes import Detections
from fsod.config import EvaluateSettings, Settings, Share, SidePx
from fsod.errors import UserError, one_line
from fsod.inference.infer import filled, postprocess, to_batch
from fsod.inference.openvino_infer import open_openvino, openvino_is_there
from fsod.model.one_output import boxes_and_scores
from fsod.model.yolov7 import STRIDES
from fsod.store.checkpoint import ClassName, Enlargement, Metres, Origins

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

METADATA_KEY = "fsod"
INPUT = "images"
OUTPUT = "output0"
MOST_AT_ONCE = 64
"""Images that a network may take at once; each has to lie in memory."""
PROVIDERS = {"CUDAExecutionProvider": "cuda", "CPUExecutionProvider": "cpu"}  # best first


class OnnxHeader(Settings):
    """What an exported network says of itself to fsod: JSON in the model's metadata, under ``METADATA_KEY``.

    Attributes:
        format: tells the files of ``fsod export`` from others.
        class_names: a detection's class id is a position in them.
        scores: for each class, the least score that is worth showing. The network's own scores are rescaled by these, see
            ``OneOutput``.
        weights_sha256: hash of the weights, as class banks name it.
        bank_sha256: hash of the class bank's file.
        gsd_m: ground size of a pixel that scenes are searched at, None when unknown.
        enlargement: how many times as large as it is a scene of unknown GSD is searched.
        shown: which bands the examples were shown in, see ``ClassBank``.
        known: class name -> what its bank says of how well it is found, see ``fsod.evidence``.
        window_px: side of the windows that the network takes.
        precision: what its convolutions compute in, see ``fsod.inference.onnx_int8``.
        suppression: what follows the network.
    """

    format: Literal["fsod-onnx-2"] = "fsod-onnx-2"
    class_names: tuple[ClassName, ...]
    scores: tuple[Share, ...]
    weights_sha256: str
    bank_sha256: str
    gsd_m: Metres | None
    enlargement: Enlargement = 1.0
    shown: tuple[BandRule, ...] = ()
    known: Origins = Field(default_factory=dict)
    window_px: SidePx
    precision: Literal["float32", "int8"] = "float32"
    suppression: EvaluateSettings


@dataclass(frozen=True)
class OnnxDetector:
    """An exported network, ready to be shown batches of images.

    Attributes:
        compute: the network, (B, 3, S, S) in 0..1 -> (B, 4 + N, L), see ``OneOutput``.
        machine: what computes, in words.
        header: what the file says of it.
        at_once: how many images it takes at once, None for any number.
        score_floor: detections below this are dropped; one number, or one per class.
        class_ids: of the classes that are looked for; None: all of them.
    """

    compute: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    machine: str
    header: OnnxHeader
    at_once: int | None
    score_floor: float | tuple[float, ...]
    class_ids: tuple[int, ...] | None = None

    def asked_for(self, class_ids: tuple[int, ...]) -> OnnxDetector:
        """The same detector, as if it had no other classes."""
        return replace(self, class_ids=class_ids)

    def __call__(self, images: NDArray[np.uint8]) -> list[Detections]:
        """(B, H, W, 3) uint8 RGB, no side longer than the network's own -> one Detections an image, in its pixel frame, best first."""
        side_px = self.header.window_px
        height, width = images.shape[1:3]
        if max(height, width) > side_px:
            raise UserError(
                f"the exported network takes windows of {side_px} x {side_px} px, not of {width} x {height}"
            )
        at_once = self.at_once or len(images)
        whole = filled(images, (-(-len(images) // at_once) * at_once, side_px, side_px))
        batch = to_batch(whole, torch.device("cpu")).numpy()
        parts = [self._compute(part) for part in np.split(batch, len(batch) // at_once)]
        output = np.concatenate(parts)[: len(images)]
        boxes, scores = boxes_and_scores(torch.from_numpy(output), self.header.scores)
        rules = self.header.suppression
        return postprocess(boxes, scores, (side_px, side_px), self.score_floor, rules, self.class_ids)

    def _compute(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, 3, S, S) -> (B, 4 + N, L); UserError if the network gives anything else."""
        try:
            output = self.compute(batch)
        except Exception as error:  # errors of onnxruntime and OpenVINO have no other base
            raise UserError(
                f"the exported network does not compute ({one_line(error)}); export the bank again"
            ) from error
        wanted = expected_shape(len(batch), self.header)
        if output.shape != wanted:
            raise UserError(
                f"the exported network gives an output of shape {output.shape}, not {wanted}; export the bank again"
            )
        return output

    def __str__(self) -> str:
        return self.machine


def load_onnx(path: Path, score_floor: float | None) -> OnnxDetector:
    """Opens an exported network, on a GPU where onnxruntime has one, else on the CPU: in OpenVINO where it is installed.

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
    at_once = _images_at_once(path, session, header)
    if header.precision == "int8" and not openvino_is_there():
        raise UserError(f"{path}: 8-bit networks need the package 'openvino': pip install 'fsod[openvino]'")
    device = "cpu" if header.precision == "int8" else PROVIDERS[session.get_providers()[0]]
    if device == "cpu" and openvino_is_there():
        compute, engine = open_openvino(path), "OpenVINO"
    else:
        compute, engine = partial(_by_onnxruntime, session), "onnxruntime"
    floor = header.scores if score_floor is None else score_floor
    return OnnxDetector(compute, f"{device} {header.precision}, {engine}", header, at_once, floor)


def cpu_detector(path: Path, header: OnnxHeader, at_once: int | None) -> OnnxDetector:
    """A network through onnxruntime on the CPU, whatever its header says, from the proposed scores on."""
    session = open_session(path, ["CPUExecutionProvider"])
    return OnnxDetector(partial(_by_onnxruntime, session), "cpu, onnxruntime", header, at_once, header.scores)


def _by_onnxruntime(session: InferenceSession, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    (output,) = session.run([OUTPUT], {INPUT: batch})
    return output


def expected_shape(images: int | None, header: OnnxHeader) -> tuple[int | None, int, int]:
    """Of the output for so many images: boxes and a score of each class at every location of every level."""
    locations = sum((header.window_px // stride) ** 2 for stride in STRIDES)
    return images, 4 + len(header.class_names), locations


def _images_at_once(path: Path, session: InferenceSession, header: OnnxHeader) -> int | None:
    """How many images the network takes at once, None for any number; UserError unless it is as its header says."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [one.name for one in inputs] != [INPUT] or [one.name for one in outputs] != [OUTPUT]:
        names = (", ".join(one.name for one in ends) for ends in (inputs, outputs))
        raise UserError(
            "{}: its inputs are {} and its outputs {}, not those of `fsod export`; export the bank again".format(
                path, *names
            )
        )
    if other := [one.type for one in (*inputs, *outputs) if one.type != "tensor(float)"]:
        raise UserError(f"{path}: computes in {other[0]}, not in 32-bit floats; export the bank again")
    taken, given = tuple(inputs[0].shape), tuple(outputs[0].shape)
    # a size that the file leaves open is a name
    images = taken[0] if taken and isinstance(taken[0], int) else None
    fits = taken[1:] == (3, header.window_px, header.window_px) and given[1:] == expected_shape(images, header)[1:]
    if not fits or images not in (None, *range(1, MOST_AT_ONCE + 1)) or len(header.scores) != len(header.class_names):
        raise UserError(
            f"{path}: names {len(header.class_names)} classes, {len(header.scores)} scores and windows of {header.window_px} px, "
            f"and its network makes {given} of {taken}; export the bank again"
        )
    return images


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
