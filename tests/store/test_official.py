from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from fsod.errors import UserError
from fsod.model.yolov7 import build_trunk
from fsod.store.checkpoint import SHIPPED
from fsod.store.official import import_official, initialise_trunk, match_trunk, registration_order
from tests.command import fsod
from tests.model.test_yolov7 import official_shapes, reference_folder


class OfficialConv(nn.Module):
    def __init__(self, like: Conv) -> None:
        super().__init__()
        self.conv, self.bn = copy.deepcopy(like.conv), copy.deepcopy(like.bn)
        self.act = nn.LeakyReLU(0.1)


class IDetect(nn.Module):
    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.ones(3, 3, 2))
        self.m = nn.ModuleList(nn.Conv2d(c, 255, 1) for c in channels)
        self.ia = nn.ParameterList(nn.Parameter(torch.zeros(1, c, 1, 1)) for c in channels)


class Model(nn.Module):
    """Layers in the published order, numbered below ``model``, and what else a released model carries."""

    def __init__(self, size: str) -> None:
        super().__init__()
        trunk = build_trunk(size)
        layers: list[nn.Module] = [OfficialConv(module) for module in trunk.modules() if isinstance(module, Conv)]
        self.model = nn.Sequential(*layers, IDetect(trunk.channels))
        self.stride = torch.tensor([8.0, 16.0, 32.0])
        self.hyp = {"lr0": 0.01, "best": np.float64(0.5)}
        self.names = ["plane", "ship"]
        with torch.no_grad():
            for value in self.state_dict().values():
                if value.is_floating_point():
                    value.copy_(torch.rand_like(value))


@pytest.fixture
def official_code() -> Iterator[None]:
    """The modules of the official repository, for as long as a pickle is being made."""
    package, common, yolo = ModuleType("models"), ModuleType("models.common"), ModuleType("models.yolo")
    homes = {OfficialConv: common, IDetect: yolo, Model: yolo}
    with pytest.MonkeyPatch.context() as patch:
        for module in (package, common, yolo):
            patch.setitem(sys.modules, module.__name__, module)
        for kind, home in homes.items():
            patch.setattr(kind, "__module__", home.__name__)
            setattr(home, kind.__name__, kind)
        yield


@pytest.fixture
def checkpoint(official_code: None, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, dict[str, Tensor]]:
    """A released file of size nano, and the weights that should be found in it."""
    path = tmp_path / "official.pt"
    torch.manual_seed(0)
    content: dict[str, Any] = {"epoch": -1, "best_fitness": np.array([0.5]), "device": torch.device("cpu")}
    content |= {"optimizer": None, "model": Model("nano").half(), "ema": Model("nano").half(), "updates": 7}
    wanted = getattr(request, "param", "ema")
    if wanted == "model":
        content["ema"] = None
    torch.save(content, path)
    return path, content[wanted].state_dict()


def trunk_values(weights: dict[str, Tensor]) -> list[Tensor]:
    last = max(int(name.split(".")[1]) for name in weights)
    return [value for name, value in weights.items() if not name.startswith(f"model.{last}.")]


def assert_taken(out: Path, weights: dict[str, Tensor]) -> None:
    trunk = build_trunk("nano")
    initialise_trunk(trunk, "nano", out)
    for value, official in zip(trunk.state_dict().values(), trunk_values(weights), strict=True):
        assert value.dtype == (torch.float32 if official.is_floating_point() else torch.int64)
        assert torch.equal(value, official.to(value.dtype))


@pytest.mark.parametrize("checkpoint", ["ema", "model"], indirect=True)
def test_a_pickled_model_of_classes_that_do_not_exist_here_is_taken(
    checkpoint: tuple[Path, dict[str, Tensor]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path, weights = checkpoint
    with pytest.MonkeyPatch.context() as patch:
        for name in ("models", "models.common", "models.yolo"):
            patch.delitem(sys.modules, name)
        report = import_official(path, tmp_path / "trunk.safetensors")
    assert_taken(tmp_path / "trunk.safetensors", weights)
    assert report["size"] == "nano"
    assert report["read_from"] == request.node.callspec.params["checkpoint"]
    assert report["taken"] == len(trunk_values(weights))
    assert report["parameters"] == sum(p.numel() for p in build_trunk("nano").parameters())
    left = [name.split(" ")[0] for name in report["left"]]
    assert left == list(weights)[report["taken"] :]


def test_plain_state_dicts_and_safetensors_are_taken(tmp_path: Path) -> None:
    weights = Model("nano").state_dict()
    torch.save(weights, tmp_path / "plain.pt")
    torch.save({"state_dict": weights}, tmp_path / "below.pt")
    save_file(weights, tmp_path / "weights.safetensors")
    for name in ("plain.pt", "below.pt", "weights.safetensors"):
        import_official(tmp_path / name, tmp_path / "trunk.safetensors")
        assert_taken(tmp_path / "trunk.safetensors", weights)


@pytest.mark.parametrize("size", ["yolov7", "yolov7-tiny"])
def test_official_names_of_both_sizes_are_matched_and_their_order_is_known(size: str) -> None:
    shapes = {name: tuple(shape) for name, shape in official_shapes(reference_folder(), size).items()}
    found, names = match_trunk(Path("official.pt"), shapes)
    assert (found, list(names.values())) == (size, list(shapes))
    assert sorted(sorted(shapes), key=registration_order) == list(shapes)


def test_the_first_mismatch_is_named(tmp_path: Path) -> None:
    weights = dict(Model("nano").state_dict())
    torch.save({**weights, "model.3.conv.weight": torch.zeros(1, 16, 1, 1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"nano has stage2.right.conv.weight .*'model.3.conv.weight' \[1, 16, 1, 1\]"):
        import_official(tmp_path / "other.pt", tmp_path / "out.safetensors")
    torch.save(dict(list(weights.items())[:20]), tmp_path / "short.pt")
    with pytest.raises(UserError, match="as its tensor 21, where the file ends"):
        import_official(tmp_path / "short.pt", tmp_path / "out.safetensors")
    first, second = "model.0.bn.running_mean", "model.0.bn.running_var"  # of one shape: only the names tell
    swapped = {{first: second, second: first}.get(name, name): value for name, value in weights.items()}
    torch.save(swapped, tmp_path / "swapped.pt")
    with pytest.raises(UserError, match=r"running_mean .*running_var"):
        import_official(tmp_path / "swapped.pt", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_of_fsod_itself_need_no_import(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nano.safetensors: was written by fsod, so there is nothing to import"):
        import_official(SHIPPED, tmp_path / "out.safetensors")


def test_weights_of_another_size_or_kind_do_not_initialise(
    checkpoint: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    path, _ = checkpoint
    import_official(path, tmp_path / "trunk.safetensors")
    with pytest.raises(UserError, match="of size 'nano', but the run's size is 'yolov7-tiny'"):
        initialise_trunk(build_trunk("yolov7-tiny"), "yolov7-tiny", tmp_path / "trunk.safetensors")
    with pytest.raises(UserError, match="imported weights"):
        initialise_trunk(build_trunk("nano"), "nano", path)
    damaged = tmp_path / "damaged.safetensors"
    save_file({"x": torch.zeros(1)}, damaged, metadata={"fsod": '{"format": "fsod-trunk-1"}'})
    with pytest.raises(UserError, match="with a damaged header: size: Field required"):
        initialise_trunk(build_trunk("nano"), "nano", damaged)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    weights = Model("nano").state_dict()
    weights["model.5.bn.weight"][0] = torch.nan
    torch.save(weights, tmp_path / "nan.pt")
    with pytest.raises(UserError, match=r"model\.5\.bn\.weight holds numbers that are not finite"):
        import_official(tmp_path / "nan.pt", tmp_path / "out.safetensors")


def test_the_command_writes_weights_and_report(checkpoint: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path, _ = checkpoint
    out, report = tmp_path / "trunk.safetensors", tmp_path / "report.json"
    assert fsod("weights", "import", path, "--out", out, "--json", report) == 0
    assert json.loads(report.read_text())["taken"] == len(load_file(out))
