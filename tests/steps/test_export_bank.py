"""Items of STAC catalogues: as pystac reads them, without any network, and as they say which files they are of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from fsod.band_rule import BandRule
from fsod.config import EvaluateSettings
from fsod.inference.model_item import model_item
from fsod.inference.onnx_infer import OnnxHeader
from tests import untrained
from tests.command import fsod

NAMES = ("café", "storage tank", "storage_tank", "船")
HEADER = OnnxHeader(
    class_names=NAMES,
    scores=(0.1, 0.2, 0.3, 0.4),
    weights_sha256="w" * 64,
    bank_sha256="b" * 64,
    gsd_m=None,
    shown=(BandRule(bands=(4, 3, 2), count=4, chosen="option"),),
    window_px=64,
    suppression=EvaluateSettings(),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank and, in a folder below, its item."""
    folder = tmp_path_factory.mktemp("item")
    bank = untrained.make_bank(folder, NAMES)
    assert fsod("export", "--bank", bank, "--stac", folder / "catalogue" / "item.json") == 0
    return folder


def item_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def of_a_network(folder: Path, header: OnnxHeader = HEADER) -> dict[str, Any]:
    (folder / "7 ünits.onnx").write_bytes(b"any")
    return model_item(header, [folder / "7 ünits.onnx"], folder, 1)


def test_an_item_names_its_files_as_seen_from_its_folder(made: Path) -> None:
    item = item_of(made / "catalogue" / "item.json")
    assert list(item["assets"]) == ["bank.safetensors", "weights.safetensors"]
    for name, asset in item["assets"].items():
        content = (made / name).read_bytes()
        assert asset["href"] == f"../{name}"
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert asset["file:size"] == len(content)
    assert item["properties"]["gsd"] == 0.5


def test_classes_have_names_for_machines_and_for_people(made: Path) -> None:
    (output,) = item_of(made / "catalogue" / "item.json")["properties"]["mlm:output"]
    assert [one["name"] for one in output["classification:classes"]] == [
        "caf",
        "storage-tank-1",
        "storage-tank-2",
        "class",
    ]
    assert [one["description"] for one in output["classification:classes"]] == list(NAMES)


def test_a_network_is_described_as_it_is(tmp_path: Path) -> None:
    item = of_a_network(tmp_path)
    (taken,), (given,) = item["properties"]["mlm:input"], item["properties"]["mlm:output"]
    assert taken["input"]["shape"] == [1, 3, 64, 64]
    assert "bands 4,3,2 of 4" in taken["description"]
    assert given["result"]["shape"] == [1, 8, 84]
    assert "gsd" not in item["properties"]
    assert item["id"] == f"7-nits-{'b' * 12}"
    assert item["assets"]["7 ünits.onnx"]["href"] == "7%20%C3%BCnits.onnx"


def test_whoever_runs_a_network_is_told_of_the_tone(tmp_path: Path) -> None:
    toned = HEADER.model_copy(update={"shown": tuple(rule.model_copy(update={"toned": True}) for rule in HEADER.shown)})
    said = [of_a_network(tmp_path, one)["properties"]["mlm:input"][0]["description"] for one in (HEADER, toned)]
    assert ["in the tone of fsod.geo.tone" in one for one in said] == [False, True]


@pytest.mark.parametrize("of", ["bank", "network"])
def test_pystac_finds_the_item_right(made: Path, tmp_path: Path, of: str) -> None:
    """Its schemas of the core lie beside its code; of the extension it has classes, and these know 1.4 yet, which asks for more."""
    pystac = pytest.importorskip("pystac", reason="pystac is not installed")
    from pystac.extensions.mlm import AssetGeneralMLMExtension, MLMExtension
    from pystac.validation.local_validator import get_local_schema_cache
    from referencing import Registry, Resource

    content = of_a_network(tmp_path) if of == "network" else item_of(made / "catalogue" / "item.json")
    schemas = get_local_schema_cache()
    registry = Registry().with_resources([(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()])
    jsonschema = pytest.importorskip("jsonschema")
    core = jsonschema.Draft7Validator(
        next(s for uri, s in schemas.items() if uri.endswith("/item.json")), registry=registry
    )
    assert not [error.message for error in core.iter_errors(content)]
    assert [error.message for error in core.iter_errors({**content, "id": 3})]

    mlm = "https://stac-extensions.github.io/mlm/v1.{}.0/schema.json".format
    assert mlm(5) in content["stac_extensions"]
    content["stac_extensions"] = [mlm(4) if uri == mlm(5) else uri for uri in content["stac_extensions"]]
    item = pystac.Item.from_dict(content)
    assert (item.datetime, item.common_metadata.start_datetime.year) == (None, 1900)
    said = MLMExtension.ext(item)
    assert said.tasks == ["object-detection"]
    (taken,), (given,) = said.input, said.output
    assert (taken.bands, taken.input.data_type) == (["red", "green", "blue"], "float32")
    assert "bands" in taken.input.dim_order, "as the schema of MLM 1.5 wants where bands are named"
    # a list to the extension, which divides by its value; pystac 1.15 takes it for one object
    assert taken.to_dict()["value_scaling"] == [{"type": "scale", "value": 255}]
    assert [one.value for one in given.classes] == [0, 1, 2, 3]
    assert len(given.result.shape) == len(given.result.dim_order)
    assert set(said.hyperparameters.to_dict()["shown_from"]) == set(NAMES)
    for asset in item.assets.values():
        assert "mlm:model" in asset.roles
        assert AssetGeneralMLMExtension.ext(asset).artifact_type in ("onnx", "safetensors.torch.save_file")


def test_an_item_replaces_its_like_and_nothing_else(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank, mine = made / "bank.safetensors", made / "mine.json"
    assert fsod("export", "--bank", bank, "--stac", made / "catalogue" / "item.json") == 0
    mine.write_text('{"properties": {}}')
    assert fsod("export", "--bank", bank, "--stac", mine) == 2
    assert "mine.json: already exists and was not written by `fsod export`" in capsys.readouterr().err
    assert fsod("export", "--bank", bank, "--stac", bank, "--overwrite") == 2
