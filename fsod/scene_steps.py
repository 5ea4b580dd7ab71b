"""Steps on scenes: enroll classes from examples marked on a GeoTIFF, and find a bank's classes in another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsod.config import PredictSettings, RunSettings
from fsod.data.support import SupportCrop, support_crop
from fsod.draw import scene_preview, write_png
from fsod.engine.device import choose_machine
from fsod.engine.enroll import Examples, enrolled_bank
from fsod.engine.infer import batch_detector, warm_up
from fsod.engine.onnx_infer import load_onnx
from fsod.errors import UserError
from fsod.geo.labels import LabelledBoxes, read_boxes
from fsod.geo.layer_files import ON_A_MAP, check_layer_path, write_layer
from fsod.geo.predict import Detect, SceneResult, predict_scene
from fsod.geo.qgis_style import write_style
from fsod.geo.scene import Scene, open_scene
from fsod.geo.vector import Layer
from fsod.marks import class_colour
from fsod.progress import console, progress_bar
from fsod.steps import write_examples
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import checkpoint_of, load_bank, save_bank

PREVIEW_PX = 2048
WINDOW_PX = 640


def enroll_scene(
    checkpoint: Path, scene: Path, examples: Path, attribute: str, out: Path, learned: bool
) -> dict[str, Any]:
    """Makes a class bank from example boxes in a vector file.

    Args:
        checkpoint: the weights.
        scene: the raster that the examples lie on.
        examples: vector file in any CRS.
        attribute: of the vector file, holds the class.
        out: the bank; a contact sheet of the examples is written beside it.
        learned: also put in the classes that the checkpoint has learned.
    """
    machine = choose_machine()
    loaded = load_checkpoint(checkpoint, machine.trunk_dtype)
    settings = RunSettings.model_validate(loaded.settings)
    with open_scene(scene) as raster:
        boxes = read_boxes(examples, attribute, raster)
        crops = _crops(raster, boxes, settings.episodes.support_px)
        gsd_m = raster.georeference.gsd_m
    bank = enrolled_bank(loaded, crops, machine, {"scene": scene.name, "gsd_m": gsd_m}, gsd_m, learned=learned)
    save_bank(out, bank, checkpoint)
    sheet = out.with_suffix(".png")
    write_examples(sheet, crops, columns=8)
    counts = {name: len(found) for name, found in crops.items()}
    return {"bank": str(out), "examples": counts, "gsd_m": gsd_m, "contact_sheet": str(sheet), "machine": str(machine)}


def _crops(scene: Scene, boxes: LabelledBoxes, support_px: int) -> Examples:
    """Support crops read window by window: a scene is never in memory whole."""
    crops: Examples = {}
    for box, name in zip(boxes.boxes_xyxy_px, boxes.class_names, strict=True):
        crops.setdefault(name, []).append(_crop(scene, box, support_px))
    return crops


def _crop(scene: Scene, box: NDArray[np.float64], support_px: int) -> SupportCrop:
    margin = support_px + float((box[2:] - box[:2]).max())
    x1, y1 = np.maximum(np.floor(box[:2] - margin), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(box[2:] + margin), [scene.width_px, scene.height_px]).astype(int)
    rgb, _ = scene.read_rectangle((int(x1), int(y1), int(x2), int(y2)))
    return support_crop(rgb, box - [x1, y1, x1, y1], support_px)


@dataclass(frozen=True)
class _Searcher:
    """Classes that are ready to be found, whatever computes."""

    detect: Detect
    class_names: tuple[str, ...]
    weights_sha256: str
    bank_sha256: str
    nms_iou: float
    window_px: int
    machine: str


def _searcher(bank: Path, checkpoint: Path | None, plan: PredictSettings) -> _Searcher:
    """A bank and its weights through torch, or both in one exported file through onnxruntime."""
    if bank.suffix.lower() == ".onnx":
        if checkpoint is not None:
            raise UserError(f"{bank}: an exported bank carries its weights; leave out --checkpoint")
        if plan.precision == "bfloat16":
            raise UserError(f"{bank}: an exported bank computes in float32; leave out --precision")
        exported = load_onnx(bank, plan.score)
        known = exported.header
        nms_iou = known.suppression.nms_iou
        hashes = known.weights_sha256, _sha256(bank)
        return _Searcher(exported, known.class_names, *hashes, nms_iou, known.window_px, str(exported))
    machine = choose_machine(plan.precision)
    loaded = load_checkpoint(checkpoint or checkpoint_of(bank))
    settings = RunSettings.model_validate(loaded.settings).evaluate
    classes = load_bank(bank, loaded.detector)
    detect = batch_detector(loaded, classes, machine, settings, plan.score)
    hashes = classes.weights_sha256, _sha256(bank)
    return _Searcher(detect, classes.class_names, *hashes, settings.nms_iou, WINDOW_PX, str(machine))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def predict_file(scene: Path, checkpoint: Path | None, bank: Path, out: Path, plan: PredictSettings) -> dict[str, Any]:
    """Finds a bank's classes in a scene with the bank's own weights; writes a layer and, beside it, style and picture.

    Args:
        scene: a raster.
        checkpoint: the weights, where the bank says if None.
        bank: a class bank, or what ``fsod export`` made of one (.onnx).
        out: the layer to write; its extension says in which format.
        plan: how to go over the scene.
    """
    check_layer_path(out)
    started = datetime.now(UTC)
    searcher = _searcher(bank, checkpoint, plan)
    names = searcher.class_names
    window_px = plan.window_px or searcher.window_px
    console.print(f"predict: {searcher.machine}, {len(names)} classes, windows of {window_px} px")
    warm_up(searcher.detect, plan.batch, window_px)
    with progress_bar("windows", 0) as bar:
        result = predict_scene(
            scene,
            searcher.detect,
            window_px=window_px,
            overlap_px=plan.overlap_px,
            batch=plan.batch,
            gsd_m=plan.gsd_m,
            skip_damaged=plan.skip_damaged,
            iou_threshold=searcher.nms_iou,
            on_progress=bar.of,
        )
    for warning in result.warnings:
        console.print(f"warning: {warning}")
    attributes = {
        "weights": searcher.weights_sha256[:12],
        "bank": searcher.bank_sha256[:12],
        "gsd_m": result.gsd_m,
        "time": f"{started:%Y-%m-%dT%H:%M:%SZ}",
    }
    size_px = result.width_px, result.height_px
    write_layer(out, Layer(result.detections, names, result.georeference, scene.name, size_px, attributes))
    if out.suffix.lower() in ON_A_MAP:
        write_style(out.with_suffix(".qml"), {name: class_colour(i) for i, name in enumerate(names)})
    picture = out.with_suffix(".png")
    _write_preview(scene, result, names, picture)
    found = [names[c] for c in result.detections.class_ids]
    return {
        "layer": str(out),
        "preview": str(picture),
        "found": {name: found.count(name) for name in names},
        "windows_run": result.windows_run,
        "windows_blank": result.windows_blank,
        "damaged": list(result.damaged),
        "warnings": list(result.warnings),
        "gsd_m": result.gsd_m,
        "seconds": result.seconds,
        "seconds_detecting": result.seconds_detecting,
        "machine": searcher.machine,
    }


def _write_preview(scene: Path, result: SceneResult, class_names: tuple[str, ...], path: Path) -> None:
    with open_scene(scene) as raster:
        rgb, _ = raster.read_reduced(PREVIEW_PX)
    scale = rgb.shape[1] / result.width_px
    write_png(path, scene_preview(rgb, result.detections, scale, list(class_names)))
