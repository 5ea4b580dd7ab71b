"""A class bank as ONNX: what the file holds, that onnxruntime finds with it what torch finds, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin
from ultralytics import YOLO
from ultralytics.nn.autobackend import AutoBackend
from ultralytics.utils.nms import non_max_suppression

from fsod.boxes import Detections, iou
from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from fsod.errors import UserError
from fsod.inference import onnx_infer
from fsod.inference.infer import BatchDetector, batch_detector, to_batch
from fsod.inference.onnx_export import _prove
from fsod.inference.onnx_infer import load_onnx
from fsod.model.baked import bake
from fsod.model.one_output import OneOutput
from fsod.steps.export_bank import export_files
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import learned_bank, load_bank, read_bank, save_bank
from tests import untrained
from tests.command import fsod

NAMES = ("café", "ship", "storage tank")


SCORES = 0.6, 0.78, 0.3


WINDOW_PX = 96


FLOAT32 = Machine(torch.device("cpu"), torch.float32)


FLOOR = 0.02


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


SETTINGS = untrained.SETTINGS.model_copy(update={"evaluate": EvaluateSettings(nms_iou=0.5)})


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With another proposed score for each class."""
    path = untrained.make_bank(tmp_path_factory.mktemp("export"), NAMES, settings=SETTINGS)
    scored = read_bank(path).with_scores(dict(zip(NAMES, SCORES, strict=True)))
    save_bank(path, scored, path.parent / "weights.safetensors")
    return path


@pytest.fixture(scope="module")
def exported(bank: Path) -> Path:
    """Exporting takes many seconds: all tests share this file."""
    out = bank.parent / "new" / "bank.onnx"
    item = bank.parent / "item.json"
    options = "--format", "onnx", "--window-px", WINDOW_PX
    assert fsod("export", "--bank", bank, "--out", out, "--stac", item, *options) == 0
    assert "torchvision" not in sys.modules
    return out


@pytest.fixture(scope="module")
def by_torch(bank: Path) -> BatchDetector:
    loaded = load_checkpoint(bank.parent / "weights.safetensors")
    return batch_detector(loaded, load_bank(bank, loaded.detector), FLOAT32, SETTINGS.evaluate, FLOOR)


def windows(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (count, WINDOW_PX, WINDOW_PX, 3)).astype(np.uint8)


def assert_same(ours: Detections, theirs: Detections) -> None:
    assert len(ours) == len(theirs) > 3
    overlap = iou(ours.boxes_xyxy_px, theirs.boxes_xyxy_px)
    difference = np.abs(ours.scores[:, None] - theirs.scores[None])
    same = (overlap > 0.99) & (difference < 1e-3) & (ours.class_ids[:, None] == theirs.class_ids[None])
    assert same.any(0).all()
    assert same.any(1).all()


@pytest.mark.parametrize("engine", ["onnxruntime", "OpenVINO"])
def test_it_finds_what_torch_finds(
    engine: str, exported: Path, by_torch: BatchDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the scores of torch, though those in the file are rescaled; one window after the other."""
    if engine == "OpenVINO":
        pytest.importorskip("openvino")
    monkeypatch.setattr(onnx_infer, "openvino_is_there", lambda: engine == "OpenVINO")
    by_onnx, images = load_onnx(exported, FLOOR), windows(3)
    assert str(by_onnx) == f"cpu float32, {engine}"
    found = by_onnx(images)
    assert len(found) == len(images)
    for ours, theirs in zip(by_torch(images), found, strict=True):
        assert_same(ours, theirs)


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
    except Exception as error:  # noqa: BLE001 - a build for another torch raises whatever it meets first
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


def test_the_file_says_what_it_is_and_not_where_it_was_made(exported: Path, bank: Path) -> None:
    header = load_onnx(exported, FLOOR).header
    assert header.class_names == NAMES
    assert (header.gsd_m, header.window_px, header.suppression.nms_iou, header.scores) == (0.5, WINDOW_PX, 0.5, SCORES)
    assert (
        header.weights_sha256 == learned_bank(load_checkpoint(bank.parent / "weights.safetensors"), None).weights_sha256
    )
    assert header.bank_sha256 == hashlib.sha256(bank.read_bytes()).hexdigest()
    assert [path.name for path in exported.parent.iterdir()] == ["bank.onnx"]
    content = exported.read_bytes()
    for folder in (Path.cwd(), Path(torch.__file__).parents[1]):
        assert str(folder).encode() not in content
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, [(one.domain, one.version) for one in model.opset_import]) == (9, [("", 18)])


def test_the_item_of_a_catalogue_names_the_network_that_lies_elsewhere(exported: Path) -> None:
    item = json.loads((exported.parents[1] / "item.json").read_text())
    assert item["assets"]["bank.onnx"]["href"] == "new/bank.onnx"
    assert item["properties"]["mlm:output"][0]["result"]["shape"] == [1, 4 + len(NAMES), 21 * (WINDOW_PX // 32) ** 2]


@pytest.fixture(scope="module")
def scene(bank: Path) -> Path:
    path = bank.parent / "scene.tif"
    rgb = np.random.default_rng(1).integers(0, 255, (3, 150, 130)).astype(np.uint8)
    with rasterio.open(path, "w", driver="GTiff", width=130, height=150, count=3, dtype="uint8",
                       crs="EPSG:32633", transform=from_origin(500000, 5000000, 0.5, 0.5)) as file:  # fmt: skip
        file.write(rgb)
    return path


def test_predict_takes_an_exported_bank_as_it_takes_the_bank(
    exported: Path, bank: Path, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = []
    for source in (bank, exported):
        out = bank.parent / f"{source.suffix[1:]}.geojson"
        window = [] if source is exported else ["--window-px", WINDOW_PX]
        options = ["--score", str(FLOOR), "--overlap-px", "32", "--precision", "float32", *window]
        assert fsod("predict", scene, "--bank", source, "--out", out, *options) == 0
        assert f"windows of {WINDOW_PX} px" in capsys.readouterr().err
        layers.append(geopandas.read_file(out).sort_values("score", ascending=False))
    ours, theirs = layers
    assert len(ours) == len(theirs) > 3
    np.testing.assert_allclose(ours["score"], theirs["score"], atol=1e-3)
    assert sorted(ours["class"]) == sorted(theirs["class"])
    np.testing.assert_allclose(ours.total_bounds, theirs.total_bounds, atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(exported: Path, tmp_path: Path, share: float) -> None:
    content = exported.read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"cut\.onnx: (not a readable ONNX file|an ONNX file, but not)"):
        load_onnx(cut, FLOOR)


def test_mistakes_in_exporting_leave_no_file(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    untrained.make_bank(tmp_path, NAMES, seed=1, settings=SETTINGS)
    for options, message in (
        (("--out", "a.onnx", "--checkpoint", tmp_path / "weights.safetensors"), "made for weights"),
        (("--out", "a.onnx", "--window-px", 100), "multiple of 32"),
        (("--out", "a.pt"), "ends in .onnx"),
        (("--out", "a.onnx", "--format", "tflite"), "known: onnx"),
        (("--out", "a.onnx", "--batch", "0"), "give 1 to 64, or dynamic"),
        (("--out", "a.onnx", "--int8"), "--int8 needs --calibrate SCENE"),
        (("--out", "a.onnx", "--calibrate", "a.tif"), "--calibrate goes with --int8"),
        (("--out", "a.onnx", "--int8", "--calibrate", "a.tif"), "a.tif"),
        (("--out", "a.onnx", "--batch", "many"), "give a number, or dynamic"),
        ((), "nothing to write"),
    ):
        assert fsod("export", "--bank", bank, *options) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("a.*"))


def test_an_exported_bank_has_its_weights_inside_and_windows_of_its_own(
    exported: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "predict", scene, "--bank", exported, "--out", tmp_path / "found.geojson"
    assert fsod(*arguments, "--checkpoint", exported) == 2
    assert fsod(*arguments, "--window-px", 64) == 2
    assert "takes windows of 96 px; leave out --window-px" in capsys.readouterr().err
    assert fsod("export", "--bank", exported, "--out", tmp_path / "b.onnx") == 2
    assert "is exported already; give --stac alone" in capsys.readouterr().err


def test_a_file_that_computes_something_else_is_not_kept(exported: Path, tmp_path: Path) -> None:
    other = untrained.make_bank(tmp_path, NAMES, seed=1, settings=SETTINGS)
    loaded = load_checkpoint(other.parent / "weights.safetensors")
    network = OneOutput(bake(loaded.detector, load_bank(other, loaded.detector).rows), SCORES).eval()
    with pytest.raises(UserError, match="not kept, onnxruntime's scores differ from torch's by"):
        _prove(network, torch.rand(1, 3, WINDOW_PX, WINDOW_PX), exported)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_one_line_says_so(
    missing: str, bank: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(onnx_infer, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(UserError, match=rf"'{missing}', which is not installed: pip install 'fsod\[onnx\]'"):
        export_files(bank, None, tmp_path / "a.onnx", None, 64, 1)
    if missing == "onnxruntime":
        with pytest.raises(UserError, match="fsod"):
            load_onnx(exported, FLOOR)
    else:
        assert load_onnx(exported, FLOOR).header.class_names == NAMES


def test_a_gpu_comes_before_the_cpu(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    session = onnx_infer.open_session

    def open_on_cpu(path: Path, providers: list[str]) -> onnxruntime.InferenceSession:
        asked.append(providers)
        return session(path, ["CPUExecutionProvider"])

    monkeypatch.setattr(onnx_infer, "open_session", open_on_cpu)
    there = ["TensorrtExecutionProvider", "CPUExecutionProvider", "CUDAExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    load_onnx(exported, FLOOR)
    assert asked == [["CUDAExecutionProvider", "CPUExecutionProvider"]]
