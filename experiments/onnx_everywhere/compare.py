"""One exported file in fsod, in Deepness's way, in ultralytics, SAHI and supervision, on windows of the NWPU test images.

    fsod data prepare nwpu /path/to/nwpu_vhr10 runs/nwpu/data
    python -m experiments.onnx_everywhere.compare --data runs/nwpu/data

Needs sahi, supervision, and a torchvision that fits torch. Writes results.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import sahi
import supervision
import torch
from numpy.typing import NDArray
from ultralytics import YOLO

from fsod.boxes import Detections, iou
from fsod.compute.device import Machine
from fsod.data.coco_folder import load_folder, read_ids, read_image, write_json
from fsod.inference.infer import batch_detector
from fsod.inference.onnx_infer import load_onnx
from fsod.model.one_output import SHOWN_FROM
from fsod.steps.export_bank import export_files
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import learned_bank, load_bank, save_bank

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "nwpu_fewshot" / "weights" / "all-k10-seed0.safetensors"
WINDOW_PX = 640
SAME_IOU, SAME_SCORE = 0.99, 1e-3
LEAST, MOST = 0.15, 0.6  # proposed scores, spread over the classes: what one threshold for all would get wrong

Window = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared folder of NWPU VHR-10")
    parser.add_argument("--images", type=int, default=60)
    asked = parser.parse_args()
    test = load_folder(asked.data).select(read_ids(asked.data / "splits" / "test.txt"))
    windows = [window(read_image(image)) for image in test.images[: asked.images]]
    loaded = load_checkpoint(WEIGHTS)
    learned = learned_bank(loaded)
    scores = dict(zip(learned.class_names, np.linspace(LEAST, MOST, len(learned.class_names)).tolist(), strict=True))
    with tempfile.TemporaryDirectory() as place:
        bank, network = Path(place) / "bank.safetensors", Path(place) / "bank.onnx"
        save_bank(bank, learned.with_scores(scores), WEIGHTS)
        export_files(bank, None, network, None, WINDOW_PX, 1)
        classes = load_bank(bank, loaded.detector)
        settings = load_onnx(network, None).header.suppression
        by_torch = batch_detector(loaded, classes, Machine(torch.device("cpu"), torch.float32), settings, None)
        readers: dict[str, Callable[[Window], Detections]] = {
            "fsod predict": in_fsod(network),
            "Deepness's way": in_deepness(network),
            "Deepness's way, whole pixels": cut_to_pixels(in_deepness(network)),
            "ultralytics": in_ultralytics(network, settings.nms_iou),
            "supervision": in_supervision(network, settings.nms_iou),
            "SAHI": in_sahi(network),
        }
        ours = [by_torch(image[None])[0] for image in windows]
        rescaled = [with_rescaled_scores(found, classes.scores) for found in ours]
        result = {
            "windows": len(windows),
            "detections_torch": sum(map(len, ours)),
            "readers": {
                name: compare(ours if name == "fsod predict" else rescaled, [reader(image) for image in windows])
                for name, reader in readers.items()
            },
            "machine": platform.machine(),
            "versions": {
                name: version(name) for name in ("torch", "onnxruntime", "ultralytics", "sahi", "supervision")
            },
        }
    print(json.dumps(result, indent=1))
    write_json(HERE / "results.json", result)


def window(image: Window) -> Window:
    """The image's first window, 0 beyond the image as in a scene."""
    part = image[:WINDOW_PX, :WINDOW_PX]
    return np.pad(part, ((0, WINDOW_PX - part.shape[0]), (0, WINDOW_PX - part.shape[1]), (0, 0)))


def with_rescaled_scores(found: Detections, shown_from: tuple[float, ...]) -> Detections:
    """With the scores that others are to show: each class has one threshold, the same."""
    least = np.array(shown_from)[found.class_ids]
    scores = [np.interp(score, [0, own, 1], [0, SHOWN_FROM, 1]) for score, own in zip(found.scores, least, strict=True)]
    return Detections(found.boxes_xyxy_px, np.array(scores, np.float32), found.class_ids)


def in_fsod(network: Path) -> Callable[[Window], Detections]:
    detect = load_onnx(network, None)
    return lambda image: detect(image[None])[0]


def in_deepness(network: Path) -> Callable[[Window], Detections]:
    """As its Detector does with ``YOLO_v9``: the best class of a location, suppression that does not ask for the class."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    least, limit = json.loads(told["det_conf"]), json.loads(told["det_iou_thresh"])

    def detect(image: Window) -> Detections:
        pixels = (image / 255.0).transpose(2, 0, 1)[None].astype(np.float32)
        (output,) = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        likely = output[:, output[4:].max(0) >= least].T
        corners = np.concatenate([likely[:, :2] - likely[:, 2:4] / 2, likely[:, :2] + likely[:, 2:4] / 2], 1)
        found = Detections(corners.astype(np.float64), likely[:, 4:].max(1), likely[:, 4:].argmax(1))
        order, kept = np.argsort(-found.scores), []
        area = np.prod(corners[:, 2:] - corners[:, :2] + 1, 1)
        while len(order):
            best, others = order[0], order[1:]
            kept.append(best)
            shared = np.minimum(corners[best, 2:], corners[others, 2:]) - np.maximum(
                corners[best, :2], corners[others, :2]
            )
            both = np.prod((shared + 1).clip(0), 1)
            order = others[both / (area[best] + area[others] - both) < limit]
        return cut_to_window(found.select(np.array(kept, np.intp)))

    return detect


def cut_to_pixels(detect: Callable[[Window], Detections]) -> Callable[[Window], Detections]:
    def cut(image: Window) -> Detections:
        found = detect(image)
        return Detections(np.trunc(found.boxes_xyxy_px), found.scores, found.class_ids)

    return cut


def cut_to_window(found: Detections) -> Detections:
    return Detections(found.boxes_xyxy_px.clip(0, WINDOW_PX), found.scores, found.class_ids)


def in_ultralytics(network: Path, nms_iou: float) -> Callable[[Window], Detections]:
    model = YOLO(network)

    def detect(image: Window) -> Detections:
        (result,) = model(image[..., ::-1], iou=nms_iou, verbose=False)
        boxes = result.boxes
        return Detections(boxes.xyxy.double().numpy(), boxes.conf.numpy(), boxes.cls.long().numpy())

    return detect


def in_supervision(network: Path, nms_iou: float) -> Callable[[Window], Detections]:
    model = YOLO(network)

    def detect(image: Window) -> Detections:
        found = supervision.Detections.from_ultralytics(model(image[..., ::-1], iou=nms_iou, verbose=False)[0])
        return Detections(found.xyxy.astype(np.float64), found.confidence, found.class_id.astype(np.int64))

    return detect


def in_sahi(network: Path) -> Callable[[Window], Detections]:
    """With the suppression that it has ultralytics do, boxes of one class above an IoU of 0.7."""
    model = sahi.AutoDetectionModel.from_pretrained("ultralytics", str(network), confidence_threshold=SHOWN_FROM)

    def detect(image: Window) -> Detections:
        model.perform_inference(image)
        model.convert_original_predictions()
        found = model.object_prediction_list
        boxes = np.array([one.bbox.to_xyxy() for one in found], np.float64).reshape(-1, 4)
        scores = np.array([one.score.value for one in found], np.float32)
        return Detections(boxes, scores, np.array([one.category.id for one in found], np.int64))

    return detect


def compare(ours: list[Detections], theirs: list[Detections]) -> dict[str, float]:
    """Of torch's detections those that a reader has too, and what it has beside them."""
    ious: list[float] = []
    same, alone = 0, 0
    for own, other in zip(ours, theirs, strict=True):
        overlap = iou(own.boxes_xyxy_px, other.boxes_xyxy_px)
        alike = (own.class_ids[:, None] == other.class_ids) & (np.abs(own.scores[:, None] - other.scores) < SAME_SCORE)
        overlap = np.where(alike, overlap, 0)
        best = overlap.max(1, initial=0)
        same += int((best > SAME_IOU).sum())
        ious += best[best > 0.5].tolist()
        alone += int((overlap.max(0, initial=0) <= 0.5).sum())
    return {
        "detections": sum(map(len, theirs)),
        "same": same,
        "same_at_half": len(ious),
        "smallest_iou": min(ious, default=0.0),
        "not_of_torch": alone,
    }


if __name__ == "__main__":
    main()
