"""`import fsod` as a program uses it: the same results as the commands, on files, arrays and pictures."""

from __future__ import annotations

import subprocess
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from PIL import Image

import fsod
from fsod.band_rule import BandRule
from fsod.steps.handed_over import marks_of
from fsod.store.class_bank import checkpoint_of, read_bank
from tests.command import fsod as command
from tests.labelled_scene import BOXES, make_scene, save_labels
from tests.untrained import make_bank

AS_COMMAND = ("--window-px", "64", "--overlap-px", "32", "--precision", "float32", "--score", "0.02")
SMALL: dict[str, Any] = {"window_px": 64, "overlap_px": 32, "precision": "float32", "score": 0.02}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A scene, its examples, weights by chance with a bank of their classes."""
    folder = tmp_path_factory.mktemp("library")
    scene = make_scene(folder / "port.tif")
    with rasterio.open(scene) as file:
        pixels = np.moveaxis(file.read(), 0, -1)
    return SimpleNamespace(
        scene=scene, examples=save_labels(folder / "examples.geojson", scene), bank=make_bank(folder), pixels=pixels
    )


@pytest.fixture(scope="module")
def enrolled(place: SimpleNamespace) -> fsod.Detector:
    return fsod.load(checkpoint_of(place.bank)).enroll(place.scene, place.examples, native=True)


def boxes_of(found: fsod.Detections) -> list[list[float]]:
    return found.boxes_xyxy_px.tolist()


def test_predict_finds_what_the_command_finds(place: SimpleNamespace, tmp_path: Path) -> None:
    out = tmp_path / "found.gpkg"
    assert command("predict", place.scene, "--bank", place.bank, "--out", out, *AS_COMMAND) == 0
    written, found = geopandas.read_file(out, layer="detections"), fsod.load(place.bank).predict(place.scene, **SMALL)
    assert found.crs == written.crs
    assert found.crs.to_epsg() == 32633
    assert len(found) > 3
    same = ["class", "score", "x1_px", "y1_px", "x2_px", "y2_px", "ask", "scene", "weights", "bank"]
    assert found[same].to_numpy().tolist() == written[same].to_numpy().tolist()
    assert found.geometry.to_wkb().tolist() == written.geometry.to_wkb().tolist()
    found.to_file(tmp_path / "again.gpkg")
    assert len(geopandas.read_file(tmp_path / "again.gpkg")) == len(found)


def test_enroll_makes_what_the_command_makes(place: SimpleNamespace, enrolled: fsod.Detector, tmp_path: Path) -> None:
    out, weights = tmp_path / "by_command.safetensors", checkpoint_of(place.bank)
    files = ("--scene", place.scene, "--examples", place.examples, "--checkpoint", weights, "--out", out)
    assert command("enroll", *files, "--native") == 0
    enrolled.save(tmp_path / "by_library.safetensors")
    by_command, by_library = read_bank(out), read_bank(tmp_path / "by_library.safetensors")
    assert by_command.class_names == by_library.class_names == enrolled.class_names == ("tank", "ship")
    assert (by_command.origins, by_command.gsd_m) == (by_library.origins, by_library.gsd_m)
    for a, b in zip(by_command.rows.kernels, by_library.rows.kernels, strict=True):
        assert torch.equal(a, b)
    again = fsod.load(tmp_path / "by_library.safetensors")
    assert (again.class_names, again.scores, again.gsd_m) == (enrolled.class_names, enrolled.scores, enrolled.gsd_m)


def test_arrays_of_any_stride_and_pictures_are_scenes(place: SimpleNamespace, tmp_path: Path) -> None:
    detector, picture = fsod.load(place.bank), Image.fromarray(place.pixels)
    picture.save(tmp_path / "port.png")
    with pytest.warns(UserWarning, match=r"port\.png: has no CRS"):
        of_file = detector.predict(tmp_path / "port.png", **SMALL)
    found = detector.predict(place.pixels, **SMALL)
    assert found.class_names == ("boat", "car")
    assert np.allclose(of_file[["x1_px", "y1_px", "x2_px", "y2_px"]], boxes_of(found), atol=0.006)
    strided = np.asfortranarray(place.pixels)[::-1, ::-1][::-1, ::-1]
    assert not strided.flags["C_CONTIGUOUS"]
    assert boxes_of(detector.predict(strided, **SMALL)) == boxes_of(found)
    assert boxes_of(detector.predict(picture, **SMALL)) == boxes_of(found)
    grey = detector.predict(place.pixels[..., 0], **SMALL)
    assert len(grey)


@pytest.mark.filterwarnings("ignore:array. ")
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_pictures_of_more_than_8_bits_are_seen_as_their_arrays(place: SimpleNamespace, dtype: type) -> None:
    detector, pixels = fsod.load(place.bank), place.pixels[..., 0].astype(dtype) * 200
    found = detector.predict(pixels, **SMALL)
    assert len(found)
    assert boxes_of(detector.predict(Image.fromarray(pixels), **SMALL)) == boxes_of(found)


def test_nothing_is_seen_where_a_picture_is_transparent_or_an_array_masked(
    place: SimpleNamespace, tmp_path: Path
) -> None:
    detector, there = fsod.load(place.bank), np.full(place.pixels.shape[:2], 255, np.uint8)
    there[:, 60:] = 0
    picture = Image.fromarray(np.dstack([place.pixels, there]))
    picture.save(tmp_path / "cut.png")
    with pytest.warns(UserWarning, match="has no CRS"):
        of_file = detector.predict(tmp_path / "cut.png", **SMALL)
    expected = of_file[["x1_px", "y1_px", "x2_px", "y2_px"]]
    masked = np.ma.masked_array(place.pixels, mask=np.dstack([there == 0] * 3))
    for scene in (picture, masked):
        assert np.allclose(expected, boxes_of(detector.predict(scene, **SMALL)), atol=0.006)
    assert len(expected) < len(detector.predict(place.pixels, **SMALL))
    assert not len(detector.predict(np.ma.masked_all_like(place.pixels), **SMALL))


def test_boxes_in_pixels_are_examples(place: SimpleNamespace, enrolled: fsod.Detector, tmp_path: Path) -> None:
    given = {"tank": BOXES[:2], "ship": BOXES[2:].tolist()}
    of_file = fsod.load(checkpoint_of(place.bank)).enroll(place.scene, given, native=True)
    assert of_file.scores == enrolled.scores
    of_array = fsod.load(checkpoint_of(place.bank)).enroll(place.pixels, given, native=True)
    assert of_array.gsd_m is None
    spaced = {f" {name} ": of_class for name, of_class in given.items()}  # as verdicts on a layer would read them
    assert fsod.load(checkpoint_of(place.bank)).enroll(place.pixels, spaced).class_names == of_array.class_names
    of_array.save(tmp_path / "of_array.safetensors")
    assert read_bank(tmp_path / "of_array.safetensors").origins["tank"]["scene"] == "array"
    assert boxes_of(of_array.predict(place.pixels, **SMALL)) == boxes_of(of_file.predict(place.pixels, **SMALL))


def test_weights_are_never_written_over(place: SimpleNamespace, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(checkpoint_of(place.bank).read_bytes())
    detector = fsod.load(weights).enroll(place.scene, place.examples, native=True)
    detector.save(weights)
    assert (tmp_path / "w.weights.safetensors").read_bytes() == checkpoint_of(place.bank).read_bytes()
    assert fsod.load(weights).class_names == ("tank", "ship")


def test_what_cannot_be_done_is_said(place: SimpleNamespace, tmp_path: Path) -> None:
    bank = fsod.load(place.bank)
    with pytest.raises(fsod.UserError, match="knows no class yet"):
        fsod.load().predict(place.scene)
    with pytest.raises(fsod.UserError, match=r"'overlap' .*did you mean 'overlap_px'"):
        bank.predict(place.scene, overlap=32)
    with pytest.raises(fsod.UserError, match="goes with the command"):
        bank.predict(place.scene, engine="ray")
    with pytest.raises(fsod.UserError, match=r"array: of shape \(4, 5, 7\)"):
        bank.predict(np.zeros((4, 5, 7), np.uint8))
    with pytest.raises(fsod.UserError, match="less than a pixel"):
        bank.enroll(place.pixels, {"boat": [[200, 0, 300, 50]]})
    with pytest.raises(fsod.UserError, match="boxes: none given"):
        bank.enroll(place.pixels, {"boat": []})
    with pytest.raises(fsod.UserError, match="'' cannot be the name of a class"):
        bank.enroll(place.pixels, {"": BOXES[:1]})
    with pytest.raises(fsod.UserError, match=r"of 1 scenes .* for 2"):
        bank.enroll([place.pixels, place.pixels], {"boat": BOXES[0]})
    with pytest.raises(fsod.UserError, match=r"ends in \.safetensors"):
        bank.save(tmp_path / "x.bin")
    for way in (bank.save, bank.export):
        with pytest.raises(fsod.UserError, match="is a folder; name the file to write"):
            way(tmp_path)
    for size, why in (({"window_px": 32}, "64 at least"), ({"window_px": 64.0}, "whole"), ({"batch": "2"}, "whole")):
        with pytest.raises(fsod.UserError, match=why):
            bank.export(tmp_path / "x.onnx", **size)
    with pytest.raises(fsod.UserError, match="'minutes' and 'budget' contradict each other"):
        bank.predict(place.pixels, minutes=1, budget=0.5)
    with pytest.raises(fsod.UserError, match="'native' and 'gsd_m' contradict each other"):
        bank.predict(place.pixels, native=True, gsd_m=2)
    with pytest.raises(fsod.UserError, match="goes with the command"):
        bank.predict(place.pixels, together=True)
    wrong: list[tuple[Any, Any, str]] = [
        ([], place.examples, "no scene"), (place.scene, [], "no examples"), (place.scene, None, "boxes: give a mapping")
    ]  # fmt: skip
    for scenes, examples, why in wrong:
        with pytest.raises(fsod.UserError, match=why):
            bank.enroll(scenes, examples)
    with pytest.raises(fsod.UserError, match="weights go with a class bank"):
        fsod.load(weights=checkpoint_of(place.bank))
    with pytest.raises(fsod.UserError, match="holds its own weights"):
        fsod.load(checkpoint_of(place.bank), weights=tmp_path / "x.safetensors")


def test_a_part_of_a_scene_is_searched_where_that_is_asked_for(place: SimpleNamespace, tmp_path: Path) -> None:
    bank, whole = fsod.load(place.bank), fsod.load(place.bank).predict(place.pixels, **SMALL)
    with pytest.warns(UserWarning, match=r"^array: searched \d+% of the windows, likeliest first$"):
        assert 0 < len(bank.predict(place.pixels, budget=0.3, **SMALL)) < len(whole)
    with pytest.raises(fsod.UserError, match="'aoi_layer' says which layer of 'aoi', which is not given"):
        bank.predict(place.pixels, aoi_layer="x", **SMALL)
    away = tmp_path / "away.geojson"
    geopandas.GeoDataFrame(geometry=[shapely.box(500, 500, 600, 600)]).to_file(away)
    with pytest.raises(fsod.UserError, match=r"^array: lies outside .*away.geojson; nothing was searched"):
        bank.predict(place.pixels, aoi=away, **SMALL)
    with pytest.warns(UserWarning, match=r"^array: .*--scales 4 has no effect"):
        bank.predict(place.pixels, scales=(4,), **{**SMALL, "window_px": 640})


def test_what_is_taken_for_nodata_can_be_declared_to_be_something(place: SimpleNamespace) -> None:
    bank, pixels = fsod.load(place.bank), place.pixels.astype(np.int16)
    pixels[:40] = -9999
    with pytest.warns(UserWarning, match="-9999 fills .* --nodata nan if it is something"):
        bank.predict(pixels, **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bank.predict(pixels, nodata=float("nan"), **SMALL)


def test_areas_are_polygons_on_the_scene(place: SimpleNamespace) -> None:
    detector, given = fsod.load(checkpoint_of(place.bank)), {"tank": BOXES[:2]}
    wrong: list[tuple[Any, str]] = [
        (shapely.box(900, 0, 950, 50), r"area: lies outside array \(130x100 px\)"),
        ("a", "not both"),
        (shapely.LineString([(0, 0), (9, 9)]), "area: give a polygon .* not LineString"),
    ]
    for area, why in wrong:
        with pytest.raises(fsod.UserError, match=why):
            detector.finetune(place.pixels, given, area=area)


def test_bands_are_those_that_the_detector_was_shown(tmp_path: Path, place: SimpleNamespace) -> None:
    scene = tmp_path / "four.tif"
    with rasterio.open(scene, "w", driver="GTiff", width=130, height=100, count=4, dtype="uint8") as file:
        file.write(np.moveaxis(np.dstack([place.pixels, place.pixels[..., 0]]), -1, 0))
    rule = BandRule(bands=(4, 3, 2), count=4, chosen="option")
    with ExitStack() as stack:
        (given,) = marks_of(scene, {"tank": BOXES[:2]}, None, "class", stack, (rule,))
    assert given.shown is not None
    assert given.shown.bands == (4, 3, 2)


def test_supervision_is_imported_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fsod.Detections(BOXES, np.array([0.9, 0.5, 0.1], np.float32), np.array([1, 0, 1]), class_names=("a", "b"))
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(fsod.UserError, match="pip install supervision"):
        found.to_supervision()
    stand_in = SimpleNamespace(Detections=lambda xyxy, **others: SimpleNamespace(xyxy=xyxy, **others))
    monkeypatch.setitem(sys.modules, "supervision", stand_in)
    theirs = found.select(np.array([2, 0])).to_supervision()
    assert theirs.data["class_name"].tolist() == ["b", "b"]
    assert theirs.xyxy.dtype == np.float32
    assert theirs.xyxy.tolist() == BOXES[[2, 0]].tolist()


def test_importing_it_takes_no_library() -> None:
    program = "import sys, fsod; print(*sorted(set(sys.modules) & {'numpy', 'torch', 'typer', 'pydantic', 'rasterio'}))"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout.strip() == b""
    assert set(fsod.__all__) <= set(dir(fsod))
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        fsod.predict  # noqa: B018  # type: ignore[attr-defined]
