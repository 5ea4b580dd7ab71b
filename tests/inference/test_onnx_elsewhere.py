"""What other programs make of an exported network: Deepness in QGIS, ultralytics, supervision, SAHI."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from ultralytics import YOLO
from ultralytics.nn.autobackend import AutoBackend
from ultralytics.utils.nms import non_max_suppression

from fsod.boxes import Detections
from fsod.inference.infer import BatchDetector, to_batch
from tests.inference.exported_network import NAMES, SCORES, WINDOW_PX, assert_same, windows

DEEPNESS = {
    "model_type": "Detector",
    "det_type": "YOLO_v9",
    "class_names": {"0": "café", "1": "ship", "2": "storage tank"},
    "resolution": 50.0,
    "tile_size": WINDOW_PX,
    "tiles_size": WINDOW_PX,
    "tiles_overlap": 50,
    "det_conf": 0.25,
    "det_iou_thresh": 0.5,
    "standardization_mean": [0.0, 0.0, 0.0],
    "standardization_std": [1.0, 1.0, 1.0],
}


def as_others_see_it(by_torch: BatchDetector, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(4 + N, L) xywh in pixels and rescaled scores, from what torch says of a window."""
    with torch.inference_mode():
        boxes, scores = (one[0].numpy() for one in by_torch.network(to_batch(image[None], torch.device("cpu"))))
    rescaled = [np.interp(own, [0, least, 1], [0, 0.25, 1]) for own, least in zip(scores, SCORES, strict=True)]
    shown = (scores >= np.array(SCORES)[:, None]).any(0)
    assert 10 < shown.sum() < len(shown) - 10
    np.testing.assert_array_equal(np.max(rescaled, 0) >= 0.25, shown)
    return np.concatenate(
        [(boxes[:, :2] + boxes[:, 2:]).T / 2, (boxes[:, 2:] - boxes[:, :2]).T, rescaled], dtype=np.float32
    )


def as_deepness_does(output: NDArray[np.float32], told: dict[str, Any]) -> Detections:
    """The best class of each location from one confidence on, then suppression that does not ask for the class.

    Deepness cuts the boxes to whole pixels after that.
    """
    centre, size, scores = output[:2].T, output[2:4].T, output[4:].T
    corners = np.concatenate([centre - size / 2, centre + size / 2], 1, dtype=np.float64)
    likely = Detections(corners, scores.max(1), scores.argmax(1)).select(scores.max(1) >= told["det_conf"])
    boxes, order, kept = likely.boxes_xyxy_px, np.argsort(-likely.scores), []
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, 1)  # a box from 3 to 5 has three pixels there
    while len(order):
        best, others = order[0], order[1:]
        kept.append(best)
        shared = np.minimum(boxes[best, 2:], boxes[others, 2:]) - np.maximum(boxes[best, :2], boxes[others, :2]) + 1
        both = np.prod(shared.clip(0), 1)
        order = others[both / (area[best] + area[others] - both) < told["det_iou_thresh"]]
    return likely.select(np.array(kept))


def test_deepness_loads_it_as_a_detector(exported: Path, by_torch: BatchDetector) -> None:
    """As the plugin does: what its keys say as JSON, one fixed square, one output of three dimensions, one window a call."""
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    keys = session.get_modelmeta().custom_metadata_map
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    told = {key: json.loads(keys[key]) for key in DEEPNESS}
    assert told == DEEPNESS
    assert taken.shape == [1, 3, told["tile_size"], told["tile_size"]]
    assert given.shape[:2] == [1, 4 + len(told["class_names"])]
    image = windows(1)[0]
    pixels = ((image / 255.0 - told["standardization_mean"]) / told["standardization_std"]).transpose(2, 0, 1)[None]
    (output,) = session.run(None, {taken.name: pixels.astype(np.float32)})
    assert_same(as_deepness_does(as_others_see_it(by_torch, image), told), as_deepness_does(output[0], told))


def test_ultralytics_loads_it(exported: Path, by_torch: BatchDetector) -> None:
    """Its own reading of the file and its own suppression; what is before and after it needs torchvision, see below."""
    model = AutoBackend(str(exported), device=torch.device("cpu"))
    assert (model.task, model.names, model.stride) == ("detect", dict(enumerate(NAMES)), 32)
    assert (model.imgsz, model.batch, model.channels, model.dynamic) == ([WINDOW_PX] * 2, 1, 3, False)
    image = windows(1)[0]
    output = model(to_batch(image[None], torch.device("cpu")))
    raw = torch.from_numpy(as_others_see_it(by_torch, image))[None]
    ours, theirs = (
        Detections(found[:, :4].double().numpy(), found[:, 4].numpy(), found[:, 5].long().numpy())
        for (found,) in (non_max_suppression(raw), non_max_suppression(output))
    )
    assert_same(ours, theirs)


@pytest.fixture(scope="module")
def as_ultralytics_shows(by_torch: BatchDetector) -> Detections:
    """What it shows of a window unless it is told otherwise: cut to the window. Skips where its predictions do not run."""
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # noqa: BLE001 - a torchvision for another torch fails in a way of its own
        pytest.skip(f"predictions of ultralytics, and so SAHI's, need torchvision, which cannot be imported: {error}")
    raw = torch.from_numpy(as_others_see_it(by_torch, windows(1)[0]))[None]
    (found,) = non_max_suppression(raw, iou_thres=0.7)
    corners = found[:, :4].clamp(0, WINDOW_PX).double().numpy()
    return Detections(corners, found[:, 4].numpy(), found[:, 5].long().numpy())


def test_supervision_takes_what_ultralytics_predicts(exported: Path, as_ultralytics_shows: Detections) -> None:
    supervision = pytest.importorskip("supervision")
    (result,) = YOLO(exported)(windows(1)[0][..., ::-1], verbose=False)
    found = supervision.Detections.from_ultralytics(result)
    assert set(found.data["class_name"]) == set(NAMES)
    theirs = Detections(found.xyxy.astype(np.float64), found.confidence, found.class_id.astype(np.int64))
    assert_same(as_ultralytics_shows, theirs)


def test_sahi_loads_it(exported: Path, as_ultralytics_shows: Detections) -> None:
    sahi = pytest.importorskip("sahi")
    model = sahi.AutoDetectionModel.from_pretrained("ultralytics", str(exported), confidence_threshold=0.25)
    model.perform_inference(windows(1)[0])
    model.convert_original_predictions()
    found = model.object_prediction_list
    assert {one.category.name for one in found} == set(NAMES)
    boxes, scores = [one.bbox.to_xyxy() for one in found], [one.score.value for one in found]
    classes = np.array([one.category.id for one in found])
    assert_same(as_ultralytics_shows, Detections(np.array(boxes, np.float64), np.array(scores, np.float32), classes))
