"""Scenes that STAC names, map tiles, and layers that catalogues take, as typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest

from tests.command import fsod
from tests.map_tiles import make_mbtiles, make_scene, unpacked
from tests.untrained import make_bank

SMALL = ("--window-px", "128", "--overlap-px", "32", "--precision", "float32", "--score", "0.3", "--native")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bank, a scene, and what was found in it by way of a STAC item."""
    folder = tmp_path_factory.mktemp("made")
    make_bank(folder)
    make_scene(folder / "scene.tif", 1, 1)
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "a",
        "links": [],
        "assets": {"image": {"href": "scene.tif"}},
    }
    (folder / "item.json").write_text(json.dumps(item))
    assert predict(folder, folder / "item.json", folder / "found.geojson", "--stac") == 0
    return folder


def predict(folder: Path, scene: Path, out: Path, *more: str) -> int:
    return fsod("predict", scene, "--bank", folder / "bank.safetensors", "--out", out, *SMALL, *more)


def label_item(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "found.stac.json").read_text())
    return content


def test_the_layer_is_an_item_of_the_label_extension(made: Path) -> None:
    found, item = geopandas.read_file(made / "found.geojson"), label_item(made)
    said = item["properties"]
    assert said["label:classes"] == [{"name": "class", "classes": ["boat", "car"]}]
    counts = {one["name"]: one["count"] for one in said["label:overviews"][0]["counts"]}
    assert counts == {name: int((found["class"] == name).sum()) for name in ("boat", "car")}
    assert sum(counts.values()) > 0
    (link,) = item["links"]
    assert (link["rel"], link["href"], link["label:assets"]) == ("source", str(made / "item.json"), ["image"])
    assert (made / item["assets"]["labels"]["href"]).samefile(made / "found.geojson")
    west, south, east, north = item["bbox"]
    assert (found.total_bounds >= [west - 1e-6, south - 1e-6, west, south]).all()
    assert (found.total_bounds <= [east, north, east + 1e-6, north + 1e-6]).all()


def test_pystac_takes_the_item(made: Path) -> None:
    pystac = pytest.importorskip("pystac", reason="pystac is not installed")
    extension = pytest.importorskip("pystac.extensions.label", reason="pystac is not installed")
    item = pystac.Item.from_file(str(made / "found.stac.json"))
    labels = extension.LabelExtension.ext(item)
    assert (labels.label_type, labels.label_properties, labels.label_tasks) == ("vector", ["class"], ["detection"])
    # as the schema of 1.0.1 has it, although it is not what it says of itself
    assert (
        "https://stac-extensions.github.io/label/v1.0.0/schema.json"
        in json.loads((made / "found.stac.json").read_text())["stac_extensions"]
    )
    item.stac_extensions = []  # their schemas are on a server; that of items pystac has itself
    item.validate()


def test_it_is_replaced_and_says_what_it_cannot_be(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(made, made / "item.json", made / "found.geojson", "--stac") == 0
    assert predict(made, made / "item.json", made / "found.csv", "--stac") == 2
    assert "found.csv: --stac goes with a layer of .geojson" in capsys.readouterr().err
    own = label_item(made)
    (made / "found.stac.json").write_text(json.dumps({**own, "properties": {"datetime": None}}))
    assert predict(made, made / "item.json", made / "found.geojson", "--stac") == 2
    assert "found.stac.json: already exists and was not written by" in capsys.readouterr().err
    (made / "found.stac.json").write_text(json.dumps(own))


def test_tiles_give_what_the_raster_gives(made: Path, tmp_path: Path) -> None:
    mbtiles = make_mbtiles(tmp_path / "area.mbtiles", made / "scene.tif")
    unpacked(tmp_path / "tiles", mbtiles)
    wanted = geopandas.read_file(made / "found.geojson")
    for scene in (mbtiles, tmp_path / "tiles"):
        out = tmp_path / "found.gpkg"
        assert predict(made, scene, out) == 0
        found = geopandas.read_file(out)
        assert found.crs == 3857
        assert found["scene"].unique().tolist() == ["area.mbtiles" if scene == mbtiles else "tiles"]
        for frame in (found, wanted):
            frame.sort_values(["score", "x1_px", "y1_px"], inplace=True, ignore_index=True)
        np.testing.assert_allclose(found[["x1_px", "y1_px"]], wanted[["x1_px", "y1_px"]], atol=0.02)
        np.testing.assert_allclose(found.to_crs(4326).total_bounds, wanted.total_bounds, atol=1e-7)
