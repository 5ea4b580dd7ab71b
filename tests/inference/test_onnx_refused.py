"""ONNX files that are not of fsod, or not what they say, are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fsod.errors import UserError
from fsod.inference.onnx_infer import METADATA_KEY, load_onnx
from tests.command import fsod
from tests.made_onnx import make_onnx
from tests.predicted_scenes import make_scene


def foreign(path: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "foreign", value[:1], value[1:])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)


def of_another_version(path: Path) -> None:
    foreign(path)
    model = onnx.load(path)
    helper.set_model_props(model, {METADATA_KEY: '{"format": "fsod-onnx-1"}'})
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
    make: Callable[[Path], object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.onnx"
    make(path)
    assert fsod("predict", make_scene(tmp_path / "s.tif"), "--bank", path, "--out", tmp_path / "found.geojson") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith(f"fsod: {path}: ")
    assert message in error[0]


@pytest.mark.parametrize(
    "about",
    [
        {"gsd_m": 0},
        {"gsd_m": -0.5},
        {"gsd_m": "half"},
        {"enlargement": 0},
        {"enlargement": -1},
        {"class_names": ("boat", "c" * 10**6)},
        {"scores": (0.2, 2)},
        {"class_names": ("boat",)},
        {"class_names": tuple("abcdefg")},
        {"scores": (0.2,)},
    ],
    ids=lambda about: " ".join(f"{key} {str(value)[:9]}" for key, value in about.items()),
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, about: dict[str, object]) -> None:
    good = load_onnx(make_onnx(tmp_path / "good.onnx"), None)
    assert len(good(np.zeros((1, 64, 64, 3), np.uint8))) == 1
    bad = make_onnx(tmp_path / "bad.onnx", **about)
    with pytest.raises(UserError, match=r"^\S+bad\.onnx: .*; export the bank again$") as caught:
        load_onnx(bad, None)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("damage", ["output name", "input name", "type", (1, 9, 84), (6, 84), (1, 6, 84, 1)], ids=str)
def test_a_network_that_is_not_what_it_says_is_refused(tmp_path: Path, damage: str | tuple[int, ...]) -> None:
    """Other names or types, or an output of another shape."""
    path = make_onnx(tmp_path / "bad.onnx")
    model = onnx.load(path)
    output = model.graph.output[0]
    if damage == "output name":
        model.graph.node[0].output[0] = output.name = "logits"
    elif damage == "input name":
        model.graph.input[0].name = "x"
    elif damage == "type":
        output.type.tensor_type.elem_type = TensorProto.DOUBLE
    else:
        shape = tuple(map(int, damage))
        constant = model.graph.initializer[0]
        zeros = np.zeros(np.prod(shape), np.float32)
        constant.CopyFrom(helper.make_tensor(constant.name, TensorProto.FLOAT, shape, zeros))
        output.type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    with pytest.raises(UserError) as caught:
        load_onnx(path, None)(np.zeros((1, 64, 64, 3), np.uint8))
    assert len(str(caught.value).splitlines()) == 1
