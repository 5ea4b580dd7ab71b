"""The step that hands a class bank on: as one network that others' software opens, as an item of a STAC catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fsod.config import LEAST_SIDE_PX
from fsod.data.coco_folder import write_json
from fsod.errors import UserError
from fsod.inference.model_item import ONNX, model_item
from fsod.inference.onnx_export import describe, write_onnx
from fsod.inference.onnx_infer import MOST_AT_ONCE, OnnxHeader, load_onnx
from fsod.inference.onnx_int8 import write_int8
from fsod.model.one_output import OneOutput
from fsod.progress import warn
from fsod.steps.calibrating_windows import calibrating_windows
from fsod.store.checkpoint import SHIPPED
from fsod.store.class_bank import checkpoint_of, reduction_in

ONE_SIZE = (
    "the exported network looks at windows in four quarter turns, all at one size; fsod with the bank itself looks at three sizes "
    "and raises fewer false alarms at the proposed score, so give a higher --score"
)


def export_files(
    bank: Path,
    checkpoint: Path | None,
    out: Path | None,
    stac: Path | None,
    window_px: int,
    at_once: int | None,
    calibrate: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes a bank and its weights as ONNX, or as an item of a STAC catalogue, or both.

    Args:
        bank: enrolled or finetuned; for an item alone also what was exported (.onnx).
        checkpoint: the weights, where the bank says if None; refused if the bank was made for others.
        out: the network to write, .onnx.
        stac: the item to write; it names the other files as seen from its folder.
        window_px: side of the windows that the network takes.
        at_once: how many windows it takes at once, None for any number; Deepness, ultralytics and SAHI want 1.
        calibrate: scenes that ranges are taken from: the network is written in 8-bit integers; none: in 32-bit floats.

    Raises:
        UserError: nothing to write, bank and weights do not belong together, or see ``write_onnx``.
    """
    if out is None and stac is None:
        raise UserError("nothing to write: give --out bank.onnx, --stac item.json, or both")
    if out is not None and out.suffix.lower() != ONNX:
        raise UserError(f"{out}: give a name that ends in .onnx")
    if window_px < LEAST_SIDE_PX or window_px % 32:
        raise UserError(
            f"--window-px {window_px}: the side of a window must be a multiple of 32, {LEAST_SIDE_PX} at least"
        )
    if at_once is not None and not 0 < at_once <= MOST_AT_ONCE:
        raise UserError(f"--batch {at_once}: give 1 to {MOST_AT_ONCE}, or dynamic")
    told: dict[str, Any] = {}
    if bank.suffix.lower() == ONNX:
        if out is not None or checkpoint is not None:
            raise UserError(f"{bank}: is exported already; give --stac alone")
        exported = load_onnx(bank, None)
        header, files, at_once = exported.header, [bank], exported.at_once
    else:
        weights = checkpoint or checkpoint_of(bank)
        header, network, classes = describe(bank, weights, window_px)
        files = [file for file in dict.fromkeys((bank, weights)) if file != SHIPPED]
        if out is not None:
            if calibrate:
                header = header.model_copy(update={"precision": "int8"})
                proof = _write_int8(network, header, out, at_once, calibrate)
            else:
                proof = write_onnx(network, header, out, at_once)
            files.append(out)
            warn([*seen_coarser(header), *([ONE_SIZE] if classes.sized else [])])
            told = {"onnx": str(out), "batch": at_once or "dynamic", **proof}
    if stac is not None:
        write_json(stac, model_item(header, files, stac.parent, at_once))
        told["stac"] = str(stac)
    return {**told, **header.model_dump(mode="json", exclude={"suppression", "shown", "known"})}


def seen_coarser(header: OnnxHeader) -> list[str]:
    """What users of the file in other programs should know, one line each."""
    reductions = {name: reduction_in(own) for name, own in header.known.items()}
    return [
        f"{name}: is looked for in pixels {reduction:.3g} times coarser. fsod does so by itself; another program that opens the "
        "network has to show it such images"
        for name, reduction in reductions.items()
        if reduction > 1
    ]


def _write_int8(
    network: OneOutput, header: OnnxHeader, out: Path, at_once: int | None, scenes: Sequence[str]
) -> dict[str, float]:
    images = calibrating_windows(scenes, header)
    with TemporaryDirectory() as folder:
        float32 = Path(folder) / "float32.onnx"
        write_onnx(network, header, float32, at_once)
        return {"calibrated_on_windows": len(images), **write_int8(float32, images, header, at_once, out)}
