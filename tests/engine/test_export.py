"""A class bank as ONNX: what the file holds, that onnxruntime finds with it what torch finds, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
import torch
from onnx import TensorProto, helper
from rasterio.transform import from_origin

from fsod.boxes import Detections, iou
from fsod.config import EvaluateSettings
from fsod.engine import onnx_infer
from fsod.engine.device import Machine
from fsod.engine.export import _prove, export_bank
from fsod.engine.infer import batch_detector
from fsod.engine.onnx_infer import INPUT, METADATA_KEY, OUTPUTS, load_onnx
from fsod.errors import UserError
from fsod.model.baked import bake
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import learned_bank, load_bank
from tests import untrained
from tests.command import fsod

NAMES = ("café", "ship", "storage tank")
FLOAT32 = Machine(torch.device("cpu"), torch.float32)
FLOOR = 0.02
SETTINGS = untrained.SETTINGS.model_copy(update={"evaluate": EvaluateSettings(nms_iou=0.5)})


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make_bank(tmp_path_factory.mktemp("export"), NAMES, settings=SETTINGS)


@pytest.fixture(scope="module")
def exported(bank: Path) -> Path:
    """Exporting takes many seconds: all tests share this file."""
    out = bank.parent / "new" / "bank.onnx"
    assert fsod("export", "--bank", bank, "--format", "onnx", "--out", out, "--window-px", "96") == 0
    assert "torchvision" not in sys.modules
    return out


@pytest.fixture(scope="module")
def by_torch(bank: Path) -> Callable[[np.ndarray], list[Detections]]:
    loaded = load_checkpoint(bank.parent / "weights.safetensors")
    return batch_detector(loaded, load_bank(bank, loaded.detector), FLOAT32, SETTINGS.evaluate, FLOOR)


@pytest.mark.parametrize("shape", [(1, 128, 128, 3), (3, 64, 96, 3), (2, 100, 140, 3)])
def test_onnxruntime_finds_what_torch_finds(
    exported: Path, by_torch: Callable[[np.ndarray], list[Detections]], shape: tuple[int, ...]
) -> None:
    images = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    by_onnx = load_onnx(exported, FLOOR)
    assert str(by_onnx) == "cpu float32, onnxruntime"
    found = by_onnx(images)
    assert len(found) == len(images)
    for ours, theirs in zip(by_torch(images), found, strict=True):
        assert len(ours) == len(theirs) > 3
        overlap = iou(ours.boxes_xyxy_px, theirs.boxes_xyxy_px)
        difference = np.abs(ours.scores[:, None] - theirs.scores[None])
        same = (overlap > 0.99) & (difference < 1e-3) & (ours.class_ids[:, None] == theirs.class_ids[None])
        assert same.any(0).all()
        assert same.any(1).all()


def test_the_file_says_what_it_is_and_not_where_it_was_made(exported: Path, bank: Path) -> None:
    header = load_onnx(exported, FLOOR).header
    assert header.class_names == NAMES
    assert (header.gsd_m, header.window_px, header.suppression.nms_iou) == (0.5, 96, 0.5)
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
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == [INPUT, *OUTPUTS]
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input]
    assert sizes == [["batch", 3, "32*rows", "32*columns"]]


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
        window = [] if source is exported else ["--window-px", "96"]
        options = ["--score", str(FLOOR), "--overlap-px", "32", "--precision", "float32", *window]
        assert fsod("predict", scene, "--bank", source, "--out", out, *options) == 0
        assert "windows of 96 px" in capsys.readouterr().err
        layers.append(geopandas.read_file(out).sort_values("score", ascending=False))
    ours, theirs = layers
    assert len(ours) == len(theirs) > 3
    np.testing.assert_allclose(ours["score"], theirs["score"], atol=1e-3)
    assert sorted(ours["class"]) == sorted(theirs["class"])
    np.testing.assert_allclose(ours.total_bounds, theirs.total_bounds, atol=1e-6)


def foreign(path: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "foreign", value[:1], value[1:])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)


def of_another_version(path: Path) -> None:
    foreign(path)
    model = onnx.load(path)
    helper.set_model_props(model, {METADATA_KEY: '{"format": "fsod-onnx-2"}'})
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "not of this version's `fsod export`"),
        (of_another_version, "not of this version's `fsod export`"),
        (lambda path: path.write_text("no network"), "not a readable ONNX file"),
        (lambda path: path.write_bytes(b""), "not a readable ONNX file"),
        (lambda path: None, "no such file"),
    ],
    ids=["foreign", "another version", "text", "empty", "absent"],
)
def test_what_is_not_of_fsod_is_refused_in_one_line(
    make: Callable[[Path], object], message: str, tmp_path: Path, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.onnx"
    make(path)
    assert fsod("predict", scene, "--bank", path, "--out", tmp_path / "found.geojson") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith(f"fsod: {path}: ")
    assert message in error[0]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(exported: Path, tmp_path: Path, share: float) -> None:
    content = exported.read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"cut\.onnx: (not a readable ONNX file|an ONNX file, but not)"):
        load_onnx(cut, FLOOR)


def test_mistakes_in_exporting_leave_no_file(bank: Path, tmp_path: Path) -> None:
    other = untrained.make_bank(tmp_path, NAMES, seed=1, settings=SETTINGS)
    with pytest.raises(UserError, match="made for weights"):
        export_bank(bank, other.parent / "weights.safetensors", tmp_path / "a.onnx", 640)
    with pytest.raises(UserError, match="multiple of 32"):
        export_bank(bank, None, tmp_path / "a.onnx", 100)
    with pytest.raises(UserError, match=r"ends in \.onnx"):
        export_bank(bank, None, tmp_path / "a.pt", 640)
    assert fsod("export", "--bank", bank, "--format", "tflite", "--out", tmp_path / "a.onnx") == 2
    assert not list(tmp_path.glob("a.*"))


def test_an_exported_bank_has_its_weights_inside(exported: Path, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.geojson"
    assert fsod("predict", scene, "--bank", exported, "--checkpoint", exported, "--out", out) == 2


def test_a_file_that_computes_something_else_is_not_kept(exported: Path, tmp_path: Path) -> None:
    other = untrained.make_bank(tmp_path, NAMES, seed=1, settings=SETTINGS)
    loaded = load_checkpoint(other.parent / "weights.safetensors")
    with pytest.raises(UserError, match="not kept, onnxruntime's scores differ from torch's by"):
        _prove(bake(loaded.detector, load_bank(other, loaded.detector).rows), exported)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_one_line_says_so(
    missing: str, bank: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(onnx_infer, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(UserError, match=rf"'{missing}', which is not installed: pip install 'fsod\[onnx\]'"):
        export_bank(bank, None, tmp_path / "a.onnx", 640)
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
