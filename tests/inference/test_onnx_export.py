"""A class bank as ONNX: what the file holds, that onnxruntime finds with it what torch finds, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import geopandas
import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from fsod.errors import UserError
from fsod.inference import onnx_infer
from fsod.inference.infer import BatchDetector
from fsod.inference.onnx_export import _prove
from fsod.inference.onnx_infer import load_onnx
from fsod.model.baked import bake
from fsod.model.one_output import OneOutput
from fsod.steps.export_bank import export_files
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import learned_bank, load_bank
from tests import untrained
from tests.command import fsod
from tests.inference.exported_network import FLOOR, NAMES, SCORES, SETTINGS, WINDOW_PX, assert_same, windows


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
