"""Exporting: a class bank with its weights as one ONNX file that fsod and others' software open.

The file is a plain network with one output, see ``OneOutput``. Its metadata say what it is in three tongues: fsod's own,
that of Deepness (a QGIS plugin, JSON values) and that of ultralytics (Python literals), which SAHI and supervision share.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from fsod.compute.device import Machine
from fsod.config import PredictSettings
from fsod.config_file import common_settings
from fsod.errors import UserError
from fsod.files import atomic_write, sha256_of
from fsod.inference.infer import bank_network
from fsod.inference.onnx_infer import INPUT, METADATA_KEY, OUTPUT, OnnxHeader, need_extra, open_session
from fsod.model.one_output import SHOWN_FROM, OneOutput
from fsod.model.yolov7 import STRIDES
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import ClassBank, load_bank

SCORE_TOLERANCE = 1e-3
BOX_TOLERANCE = 1e-3  # in pixels and as a share of the coordinate
IR_VERSION, OPSET = 9, 18
"""Of ONNX: the newest that Deepness's onnxruntime, at most 1.17, reads."""


def describe(bank: Path, weights: Path, window_px: int) -> tuple[OnnxHeader, OneOutput, ClassBank]:
    """What an exported bank will say of itself, its network (float32, on the CPU), and the bank.

    Args:
        bank: enrolled or finetuned.
        weights: refused if the bank was made for others.
        window_px: side of the windows that the network shall take, a multiple of 32.

    Raises:
        UserError: not such files, or they do not belong together.
    """
    loaded = load_checkpoint(weights)
    classes = load_bank(bank, loaded.detector)
    reported = classes.reported
    header = OnnxHeader(
        class_names=reported.class_names,
        scores=reported.scores,
        weights_sha256=classes.weights_sha256,
        bank_sha256=sha256_of(bank),
        gsd_m=classes.gsd_m,
        enlargement=classes.enlargement,
        shown=classes.shown,
        known={
            name: {key: own[key] for key in ("examples", "trials", "judged", "look", "reduction") if key in own}
            for name, own in reported.origins.items()
        },
        window_px=window_px,
        suppression=common_settings(loaded.settings).evaluate,
    )
    network = bank_network(loaded, classes, Machine(torch.device("cpu"), torch.float32))
    return header, OneOutput(network, reported.scores).eval(), classes


def write_onnx(network: OneOutput, header: OnnxHeader, out: Path, at_once: int | None) -> dict[str, float]:
    """Writes a network for windows of one size, under a temporary name; renames it once it has proved itself.

    The file's input is ``images``, (B, 3, S, S) float32 in 0..1; its output is ``output0``, (B, 4 + N, L), as of
    ``OneOutput``.

    Args:
        network: float32, on the CPU.
        header: goes into the file's metadata; says S.
        out: the file to write.
        at_once: B, None for any number.

    Returns:
        The largest differences between onnxruntime and torch: of a score as the file gives it, and of a box's number in
        pixels.

    Raises:
        UserError: the extra ``onnx`` is not installed, or onnxruntime does not compute what torch does.
    """
    need_extra("onnx", "onnxscript", "onnxruntime")
    noise = torch.rand(at_once or 2, 3, header.window_px, header.window_px, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's, about itself
        program = torch.onnx.export(
            network,
            (noise,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({} if at_once else {0: Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None for the exporter before dynamo
    program.model.ir_version = IR_VERSION
    # the exporter's notes, stack traces with paths of this machine among them
    program.model.graph.metadata_props.clear()
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.model.metadata_props[METADATA_KEY] = header.model_dump_json()
    program.model.metadata_props.update(deepness_metadata(header) | ultralytics_metadata(header, at_once))
    with atomic_write(out) as temporary:
        program.save(temporary, external_data=False)
        return _prove(network, noise if at_once else noise[:1], temporary)


def deepness_metadata(header: OnnxHeader) -> dict[str, str]:
    """What Deepness reads of a Detector: each value JSON, lengths in cm, shares in percent."""
    overlap = round(100 * PredictSettings().overlap_px / header.window_px)
    told: dict[str, Any] = {
        "model_type": "Detector",
        "det_type": "YOLO_v9",  # of the layouts without objectness the one whose windows are not mixed up
        "class_names": dict(enumerate(header.class_names)),
        "tile_size": header.window_px,
        "tiles_size": header.window_px,  # as its documentation spells it
        "tiles_overlap": min(50, overlap),
        "det_conf": SHOWN_FROM,
        "det_iou_thresh": header.suppression.nms_iou,
        "standardization_mean": [0.0] * 3,
        "standardization_std": [1.0] * 3,
    }
    if header.gsd_m is not None:
        told["resolution"] = 100 * header.gsd_m
    return {key: json.dumps(value, ensure_ascii=False) for key, value in told.items()}


def ultralytics_metadata(header: OnnxHeader, at_once: int | None) -> dict[str, str]:
    """What ultralytics reads of a detector, and SAHI and supervision through it: Python literals, texts as they are."""
    told = {
        "task": "detect",
        "names": dict(enumerate(header.class_names)),
        "stride": max(STRIDES),
        "batch": at_once or 1,
        "imgsz": [header.window_px] * 2,
        "channels": 3,
    }
    return {key: str(value) for key, value in told.items()}


@torch.inference_mode()
def _prove(network: OneOutput, noise: torch.Tensor, path: Path) -> dict[str, float]:
    """Compares on noise."""
    expected = network(noise).numpy()
    (written,) = open_session(path, ["CPUExecutionProvider"]).run([OUTPUT], {INPUT: noise.numpy()})
    (boxes, scores), (written_boxes, written_scores) = ((all_[:, :4], all_[:, 4:]) for all_ in (expected, written))
    score_difference = float(np.abs(scores - written_scores).max())
    box_difference_px = float(np.abs(boxes - written_boxes).max())
    same_boxes = np.allclose(boxes, written_boxes, rtol=BOX_TOLERANCE, atol=BOX_TOLERANCE)
    if score_difference > SCORE_TOLERANCE or not same_boxes:
        raise UserError(
            f"{path}: not kept, onnxruntime's scores differ from torch's by {score_difference:.2g} and boxes by "
            f"{box_difference_px:.2g} px; install the versions of configs/constraints.txt"
        )
    return {"score_difference": score_difference, "box_difference_px": box_difference_px}
