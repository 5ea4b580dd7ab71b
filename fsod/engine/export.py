"""Exporting: a class bank with its weights as one ONNX file, a plain network whose outputs are decoded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from fsod.config import common_settings
from fsod.engine.onnx_infer import INPUT, METADATA_KEY, OUTPUTS, OnnxHeader, need_extra, open_session
from fsod.errors import UserError
from fsod.files import sha256_of, whole
from fsod.model.baked import BakedDetector, bake
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import checkpoint_of, load_bank

SCORE_TOLERANCE = 1e-3
BOX_TOLERANCE = 1e-3  # in pixels and as a share of the coordinate


def export_bank(bank: Path, checkpoint: Path | None, out: Path, window_px: int) -> dict[str, Any]:
    """Writes a bank and its weights as ONNX.

    Args:
        bank: enrolled or finetuned.
        checkpoint: the weights, where the bank says if None; refused if the bank was made for others.
        out: the file to write, .onnx.
        window_px: side of the windows that the network is meant for; it takes any multiple of 32.

    Raises:
        UserError: bank and weights do not belong together, or see ``write_onnx``.
    """
    if out.suffix.lower() != ".onnx":
        raise UserError(f"{out}: give a name that ends in .onnx")
    if window_px % 32:
        raise UserError(f"--window-px {window_px}: the side of a window must be a multiple of 32")
    loaded = load_checkpoint(checkpoint or checkpoint_of(bank))
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
        window_px=window_px,
        suppression=common_settings(loaded.settings).evaluate,
    )
    proof = write_onnx(bake(loaded.detector, reported.rows, rivals=classes.rivals), header, out)
    return {"onnx": str(out), **header.model_dump(mode="json", exclude={"suppression", "shown"}), **proof}


def write_onnx(network: BakedDetector, header: OnnxHeader, out: Path) -> dict[str, float]:
    """Writes a network for any number and size of images, under a temporary name; renames it once it has proved itself.

    The file's input is ``images``, (B, 3, H, W) float32 in 0..1, sides multiples of 32; its outputs are
    ``boxes_xyxy_px``, (B, L, 4), and ``scores``, (B, N, L), as of ``BakedDetector``.

    Args:
        network: float32, on the CPU.
        header: goes into the file's metadata.
        out: the file to write.

    Returns:
        The largest differences between onnxruntime and torch: of a score, and of a box's coordinate in pixels.

    Raises:
        UserError: the extra ``onnx`` is not installed, or onnxruntime does not compute what torch does.
    """
    need_extra("onnx", "onnxscript", "onnxruntime")
    sizes = {0: Dim("batch"), 2: 32 * Dim("rows"), 3: 32 * Dim("columns")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's, about itself
        program = torch.onnx.export(
            network,
            (torch.rand(2, 3, 128, 160),),
            input_names=[INPUT],
            output_names=OUTPUTS,
            dynamic_shapes=(sizes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None for the exporter before dynamo
    # the exporter's notes, stack traces with paths of this machine among them
    program.model.graph.metadata_props.clear()
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.model.metadata_props[METADATA_KEY] = header.model_dump_json()
    with whole(out) as temporary:
        program.save(temporary, external_data=False)
        return _prove(network, temporary)


@torch.inference_mode()
def _prove(network: BakedDetector, path: Path) -> dict[str, float]:
    """Compares on noise, in another number and size than the network was traced with."""
    noise = torch.rand(3, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    boxes, scores = (expected.numpy() for expected in network(noise))
    written_boxes, written_scores = open_session(path, ["CPUExecutionProvider"]).run(OUTPUTS, {INPUT: noise.numpy()})
    score_difference = float(np.abs(scores - written_scores).max())
    box_difference_px = float(np.abs(boxes - written_boxes).max())
    same_boxes = np.allclose(boxes, written_boxes, rtol=BOX_TOLERANCE, atol=BOX_TOLERANCE)
    if score_difference > SCORE_TOLERANCE or not same_boxes:
        raise UserError(
            f"{path}: not kept, onnxruntime's scores differ from torch's by {score_difference:.2g} and boxes by "
            f"{box_difference_px:.2g} px; install the versions of configs/constraints.txt"
        )
    return {"score_difference": score_difference, "box_difference_px": box_difference_px}
