"""`fsod predict` replaces what it wrote itself, and nothing that anybody needs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.transform import from_origin

from fsod.errors import UserError
from fsod.geo.searched_layer import searched_path
from fsod.steps import predict_alone
from fsod.steps.predict_outputs import check_layers
from tests.command import fsod
from tests.untrained import make_bank

SMALL = ("--window-px", "96", "--overlap-px", "32", "--precision", "float32", "--score", "0.02")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bank(tmp_path_factory.mktemp("bank"))


def make_scene(path: Path, driver: str = "GTiff") -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 96, 96)).astype(np.uint8)
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
    with rasterio.open(path, "w", driver=driver, width=96, height=96, count=3, dtype="uint8", **place) as file:
        file.write(pixels)
    return path


def predict(bank: Path, out: object, *arguments: object) -> int:
    return fsod("predict", *map(str, arguments), "--bank", str(bank), "--out", str(out), *SMALL)


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}


def refused(bank: Path, folder: Path, capsys: pytest.CaptureFixture[str], out: object, *arguments: object) -> str:
    """The message; nothing in the folder has changed."""
    before = contents(folder)
    capsys.readouterr()
    assert predict(bank, out, *arguments) == 2
    said = capsys.readouterr().err
    assert contents(folder) == before
    assert len(said.strip().splitlines()) == 1, said
    return said


def digitised(path: Path, layer: str | None = None) -> Path:
    options = {} if layer is None else {"layer": layer}
    geopandas.GeoDataFrame({"class": ["mine"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326").to_file(
        path, **options
    )
    return path


@pytest.mark.parametrize("name", ["f.geojson", "f.gpkg", "f.fgb", "f.parquet", "f.csv", "f.json"])
def test_the_same_command_again_replaces_its_own(bank: Path, tmp_path: Path, name: str) -> None:
    scene = make_scene(tmp_path / "scene.tif")
    for _ in range(2):
        assert predict(bank, tmp_path / name, scene) == 0


def test_inputs_are_never_replaced(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raster = make_scene(tmp_path / "r.gpkg", "GPKG")
    for more in ((), ("--overwrite",)):
        assert "this command reads it" in refused(bank, tmp_path, capsys, raster, raster, *more)
    area = digitised(tmp_path / "area.geojson")
    scene = make_scene(tmp_path / "scene.tif")
    said = refused(bank, tmp_path, capsys, area, scene, "--aoi", area, "--overwrite")
    assert "area.geojson: would be overwritten, but this command reads it" in said


def test_a_source_of_a_scene_is_never_replaced(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_scene(tmp_path / "f.png", "PNG")
    (tmp_path / "scene.vrt").write_text(
        '<VRTDataset rasterXSize="96" rasterYSize="96"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">f.png</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    said = refused(bank, tmp_path, capsys, tmp_path / "f.geojson", tmp_path / "scene.vrt", "--overwrite")
    assert "f.png: would be overwritten, but this command reads it" in said


def test_another_scene_of_the_call_is_never_replaced(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = [make_scene(tmp_path / name, "PNG") for name in ("a.png", "x-a.png")]
    said = refused(bank, tmp_path, capsys, tmp_path / "x-{scene}.geojson", *scenes)
    assert "x-a.png: would be overwritten, but this command reads it" in said


@pytest.mark.parametrize(
    "theirs",
    [
        "f.geojson",
        "f.searched.geojson",
        "f.searched.qml",
        "f.png",
        "f.qml",
        "f.overview.jpg",
        "f.geojson.journal",
        "f.geojson.journal.lock",
    ],
)
def test_what_a_user_made_stays(bank: Path, tmp_path: Path, theirs: str, capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(tmp_path / "scene.tif")
    path = tmp_path / theirs
    if path.suffix == ".geojson":
        digitised(path)
    elif path.suffix in (".png", ".jpg"):
        Image.new("RGB", (20, 20)).save(path)
    else:
        path.write_text("my own notes, without an end of line")
    for more in ((), ("--restart",)):
        said = refused(bank, tmp_path, capsys, tmp_path / "f.geojson", scene, *more)
        assert f"{theirs}: already exists and was not written by `fsod predict`" in said


def test_overwrite_replaces_what_is_not_read(bank: Path, tmp_path: Path) -> None:
    scene, out = make_scene(tmp_path / "scene.tif"), digitised(tmp_path / "f.geojson")
    assert predict(bank, out, scene, "--overwrite") == 0
    assert "mine" not in out.read_text()


@pytest.mark.parametrize("name", ["f.geojson", "f.gpkg", "f.fgb", "f.parquet", "f.csv"])
def test_verdicts_are_never_lost(bank: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = make_scene(tmp_path / "scene.tif"), tmp_path / name
    assert predict(bank, out, scene) == 0
    if name == "f.geojson":
        out.write_text(out.read_text().replace('"verdict": ""', '"verdict": "no"', 1))
    elif name == "f.csv":
        rows = out.read_text().splitlines(keepends=True)
        column = rows[0].strip().split(",").index("verdict")
        cells = rows[1].split(",")
        cells[column] = "no"
        out.write_text("".join([rows[0], ",".join(cells), *rows[2:]]))
    elif name == "f.parquet":
        table = geopandas.read_parquet(out)
        table.loc[0, "verdict"] = "no"
        table.to_parquet(out)
    else:
        import pyogrio

        layer = {"layer": "detections"} if name == "f.gpkg" else {}
        info = pyogrio.read_info(out)["layer_metadata"]
        table = pyogrio.read_dataframe(out)
        table.loc[0, "verdict"] = "no"
        extra = {"layer_metadata": info} if info else {}
        pyogrio.write_dataframe(table, out, **layer, **extra)
    assert "holds verdicts" in refused(bank, tmp_path, capsys, out, scene)


def test_a_checkbox_that_says_no_is_a_verdict(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = make_scene(tmp_path / "scene.tif"), tmp_path / "f.parquet"
    assert predict(bank, out, scene) == 0
    table = geopandas.read_parquet(out)
    table["verdict"] = pd.array([False, *[None] * (len(table) - 1)], dtype="boolean")
    table.to_parquet(out)
    assert "holds verdicts" in refused(bank, tmp_path, capsys, out, scene)


def test_what_was_drawn_by_hand_is_never_lost(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = make_scene(tmp_path / "scene.tif"), tmp_path / "f.geojson"
    assert predict(bank, out, scene) == 0
    content = json.loads(out.read_text())
    content["features"].append({**content["features"][0], "properties": {"class": "ship"}})
    out.write_text(json.dumps(content))
    assert "drawn by hand" in refused(bank, tmp_path, capsys, out, scene)


def test_a_layer_of_thousands_of_scenes_knows_its_own(tmp_path: Path) -> None:
    out = tmp_path / "f.geojson"
    run = {"scene": ", ".join(f"tile-{i:06d}.tif" for i in range(20_000)), "weights": "a", "bank": "b"}
    out.write_text(json.dumps({"type": "FeatureCollection", "run": run, "features": []}))
    check_layers({"s.tif": out}, [], overwrite=False)
    out.write_text(json.dumps({"type": "FeatureCollection", "run": {**run, "bank": "x"}, "features": []})[:200_000])
    with pytest.raises(UserError, match="was not written by"):
        check_layers({"s.tif": out}, [], overwrite=False)


def test_a_picture_and_an_item_of_an_earlier_layer_go(bank: Path, tmp_path: Path) -> None:
    scene, out = make_scene(tmp_path / "scene.tif"), tmp_path / "f.geojson"
    assert predict(bank, out, scene, "--stac") == 0
    assert {"f.png", "f.overview.jpg", "f.stac.json"} <= set(contents(tmp_path))
    assert predict(bank, out.with_suffix(".gpkg"), scene, "--no-pictures", "--overwrite") == 0
    assert {"f.png", "f.overview.jpg", "f.stac.json"} <= set(contents(tmp_path)), "they are about the other layer"
    out.with_suffix(".gpkg").unlink()
    assert predict(bank, out, scene, "--no-pictures") == 0
    assert set(contents(tmp_path)) == {"scene.tif", "f.geojson", "f.qml", "f.searched.geojson", "f.searched.qml"}


@pytest.mark.parametrize("name", ["f.geojson", "f.parquet"])
def test_a_layer_never_lies_beside_what_another_run_has_searched(
    bank: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, out = make_scene(tmp_path / "scene.tif"), tmp_path / name
    assert predict(bank, out, scene) == 0

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict_alone, "write_searched", end)
    assert predict(bank, out, scene) == 130
    assert out.exists()
    assert not searched_path(out).exists()


def test_other_layers_of_a_geopackage_stay(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = make_scene(tmp_path / "scene.tif"), digitised(tmp_path / "project.gpkg", "roads")
    assert "was not written by" in refused(bank, tmp_path, capsys, out, scene)
    assert predict(bank, out, scene, "--overwrite") == 0
    assert predict(bank, out, scene) == 0
    assert set(geopandas.list_layers(out)["name"]) == {"roads", "detections", "searched", "layer_styles"}
    assert geopandas.read_file(out, layer="roads")["class"].tolist() == ["mine"]
    alone = tmp_path / "alone.gpkg"
    shutil.copy(scene, tmp_path / "again.tif")
    assert predict(bank, alone, tmp_path / "again.tif") == 0
    assert len(geopandas.read_file(out, layer="detections")) == len(geopandas.read_file(alone, layer="detections"))


def test_the_result_may_not_take_an_outputs_place(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_scene(tmp_path / "scene.tif")
    said = refused(bank, tmp_path, capsys, tmp_path / "f.json", scene, "--json", tmp_path / "f.json")
    assert "would be written twice" in said
    said = refused(bank, tmp_path, capsys, tmp_path / "f.json", scene, "--json", scene)
    assert "this command reads it" in said


def test_coco_results_of_others_stay(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results cannot say who wrote them, so those count as fsod's own that the layer beside them has."""
    scene, results = make_scene(tmp_path / "scene.tif"), tmp_path / "f.results.json"
    results.write_text('[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]')
    said = refused(bank, tmp_path, capsys, tmp_path / "f.json", scene)
    assert "f.results.json: already exists and was not written by `fsod predict`" in said
    (tmp_path / "f.json.journal").touch()  # a run that was killed between the two had been allowed to replace them
    assert predict(bank, tmp_path / "f.json", scene) == 0
    results.write_text(results.read_text().replace('"image_id": 1', '"image_id": 2', 1))
    assert "f.results.json: already exists" in refused(bank, tmp_path, capsys, tmp_path / "f.json", scene)
