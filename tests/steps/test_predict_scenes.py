"""`fsod predict` as a user types it: one scene, many, interrupted, resampled, in an area, by other bands."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.io import DatasetReader
from rasterio.transform import from_origin

from fsod.band_rule import BandRule
from fsod.config import PredictSettings
from fsod.geo.features import read_frame
from fsod.geo.searched_layer import PART_COLOURS
from fsod.steps.predict_scenes import predict_files
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import checkpoint_of, load_bank, read_bank, save_bank
from tests.command import fsod
from tests.predicted_scenes import SMALL, make_scene, predict
from tests.untrained import make_bank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bank(tmp_path_factory.mktemp("bank"))


def test_a_scene_is_seen_at_the_size_of_the_examples(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, out = make_scene(tmp_path / "s.tif", gsd_m=1.0, size=192), tmp_path / "o.geojson"
    resampled = predict(bank, out, scene)
    assert resampled["gsd_m"] == pytest.approx(0.5, rel=1e-3)
    assert "s.tif: 192x192 px, of 1 m resampled to 0.5 m, bands 1,2,3 as they are" in capsys.readouterr().err
    boxes = geopandas.read_file(out)[["x1_px", "y1_px", "x2_px", "y2_px"]].to_numpy()
    # boxes are in the scene's own pixels, however it was read
    assert 150 < boxes.max() <= 192
    native = predict(bank, out, scene, "--native")
    assert native["gsd_m"] == pytest.approx(1.0, rel=1e-3)
    assert "192x192 px, of 1 m, bands" in capsys.readouterr().err
    assert resampled["windows_run"] > 3 * native["windows_run"]
    assert predict(bank, out, scene, "--gsd-m", "2")["gsd_m"] == pytest.approx(2.0, rel=1e-3)
    # a bank cannot be asked for what the scene does not tell
    unplaced = make_scene(tmp_path / "u.tif", crs=None, size=192)
    assert "read at its own, not at 0.5 m" in predict(bank, out, unplaced)["warnings"][1]
    assert list(tmp_path.glob("*.journal")) == []


def test_windows_are_looked_at_as_the_bank_or_the_user_says(bank: Path, tmp_path: Path) -> None:
    scene, turned = make_scene(tmp_path / "s.tif", size=192), tmp_path / "turned.safetensors"
    sized, weights = tmp_path / "sized.safetensors", bank.parent / "weights.safetensors"
    as_enrolled = read_bank(bank)
    save_bank(turned, replace(as_enrolled, turned=True, sized=False), weights)
    save_bank(sized, replace(as_enrolled, turned=True, sized=True), weights)

    def scores(of: Path, *option: str) -> list[float]:
        out = tmp_path / f"{of.stem}{''.join(option)}.geojson"
        predict(of, out, scene, *option)
        return geopandas.read_file(out)["score"].tolist()

    as_it_lies = scores(bank)
    assert scores(turned) == scores(bank, "--turns") != as_it_lies
    assert scores(turned) != scores(sized) == scores(sized, "--turns") != as_it_lies
    assert scores(turned, "--no-turns") == scores(sized, "--no-turns") == as_it_lies


def test_bands_and_area(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out, aoi = make_scene(tmp_path / "s.tif", bands=4), tmp_path / "o.gpkg", tmp_path / "aoi.geojson"
    square = shapely.box(500_000, 5_000_000 - 70, 500_070, 5_000_000)
    geopandas.GeoSeries([square], crs=32633).to_crs(4326).to_file(aoi)
    result = predict(bank, out, scene, "--bands", "4,3,2", "--aoi", aoi)
    assert "bands 4,3,2 as they are" in capsys.readouterr().err
    assert result["windows_outside"] > result["windows_run"] > 0
    layer = geopandas.read_file(out)
    assert len(layer) > 0
    assert layer.centroid.distance(square).max() < 0.1
    parts = geopandas.read_file(out, layer="searched").set_index("status")
    assert parts.geometry["searched"].symmetric_difference(square).area < 0.01 * square.area
    assert parts["area_km2"].sum() == pytest.approx(160**2 / 1e6, rel=1e-3)
    assert result["searched"].startswith("searched 0.0049 of 0.0256 km2; boat: ")
    overview = np.asarray(Image.open(out.with_suffix(".overview.jpg")), np.int64)
    hatched = np.abs(overview - PART_COLOURS["outside the area of interest"]).sum(axis=2) < 60
    assert hatched[:135, :135].mean() < 0.01 < hatched[150:, 150:].mean()
    assert fsod("report", out) == 0
    page = out.with_suffix(".html").read_text()
    assert "searched 0.0049 of 0.0256 km2" in page
    assert "outside the area of interest 80.9%" in page
    red_first, green_first = (predict(bank, out, scene, "--bands", bands) for bands in ("1,2,3", "2,1,3"))
    assert red_first["found"] != green_first["found"]


def test_further_passes_at_reduced_scales(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = make_scene(tmp_path / "s.tif"), tmp_path / "o.geojson"
    one, two = (predict(bank, out, scene, *scales)["windows_run"] for scales in ((), ("--scales", "2")))
    assert (one, two) == (25, 25 + 4)
    for wrong in ("4,2", "two"):
        assert fsod("predict", scene, "--bank", bank, "--out", out, "--scales", wrong, *SMALL) == 2
        assert re.search(r"scales .*: give rising numbers", capsys.readouterr().err)


def test_nothing_found_says_how_much_was_missing(bank: Path, tmp_path: Path) -> None:
    scene, out, report = make_scene(tmp_path / "s.tif"), tmp_path / "o.geojson", tmp_path / "r.json"

    def predict_from(score: str) -> dict[str, Any]:
        command = ("predict", scene, "--bank", bank, "--out", out, *SMALL, "--score", score, "--json", report)
        assert fsod(*command) == 0
        return json.loads(report.read_text())

    shown_from = "0.999"
    for _ in range(10):  # what windows see in parts is not shown, so that one try may not do
        result = predict_from(shown_from)
        if not result["warnings"]:
            break
        told = re.fullmatch(
            r".*s\.tif: nothing found in 25 windows; the best score is ([\d.]+), of (boat|car), which is shown from "
            rf"{float(shown_from):g} on \(try --score ([\d.]+)\)",
            *result["warnings"],
        )
        assert told
        assert 0.85 * float(told[1]) < float(told[3]) < float(told[1])
        shown_from = told[3]
    assert sum(result["found"].values()) >= 1
    assert geopandas.read_file(out)["score"].max() >= float(shown_from)
    empty = make_scene(tmp_path / "e.tif")
    with rasterio.open(empty, "r+") as file:
        file.write(np.zeros((3, 320, 320), np.uint8))
    of_nothing = predict(bank, out, empty)
    assert of_nothing["warnings"] == [f"{empty}: nothing found, as all of its 25 windows are empty"]
    assert of_nothing["searched"].endswith("; there is nothing to be seen")
    aoi = tmp_path / "aoi.gpkg"
    geopandas.GeoSeries([shapely.box(500_010, 4_999_950, 500_020, 4_999_960)], crs=32633).to_file(aoi)
    assert predict(bank, out, empty, "--aoi", aoi)["searched"].endswith("; there is nothing to be seen")


@pytest.mark.parametrize(("option", "size"), [("--gsd-m=1.5", "smaller"), ("--gsd-m=0.25", "larger")])
def test_what_left_out_examples_say_holds_for_the_size_they_were_seen_at(
    bank: Path, tmp_path: Path, option: str, size: str
) -> None:
    known = tmp_path / "known.safetensors"
    plain = read_bank(bank)
    save_bank(known, plain.with_origins({"boat": {"trials": [0.9] * 4}}), checkpoint_of(bank))
    scene, out = make_scene(tmp_path / "s.tif"), tmp_path / "s.gpkg"
    assert "found in 4 of 4 trials" in predict(known, out, scene)["searched"]
    told = predict(known, out, scene, option)
    assert f"so objects are seen {size}" in told["warnings"][0]
    assert "trials" not in told["searched"]
    assert "unknown, as objects were not seen at the size that they were learned at" in told["searched"]
    (classes,) = read_frame(out, "searched")["classes"].unique()
    assert "recall" not in classes


def test_an_area_of_interest_on_no_scene_is_refused_and_nothing_written(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, aoi = make_scene(tmp_path / "s.tif"), tmp_path / "far.geojson"
    geopandas.GeoSeries([shapely.box(0, 0, 1, 1)], crs=4326).to_file(aoi)
    before = sorted(tmp_path.iterdir())
    assert fsod("predict", scene, "--bank", bank, "--out", tmp_path / "o.gpkg", *SMALL, "--aoi", aoi) == 2
    assert "s.tif: lies outside" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_of_a_scene_beside_the_area_of_interest_nothing_is_claimed(bank: Path, tmp_path: Path) -> None:
    scenes = [make_scene(tmp_path / "s.tif"), make_scene(tmp_path / "t.tif")]
    aoi = tmp_path / "far.geojson"
    geopandas.GeoSeries([shapely.box(0, 0, 1, 1)], crs=4326).to_file(aoi)
    assert fsod("predict", *scenes, "--bank", bank, "--out", tmp_path / "out", *SMALL, "--aoi", aoi) == 0
    parts = geopandas.read_file(tmp_path / "out" / "s.searched.geojson")
    assert "; so whatever is there was missed" in parts["summary"][0]


def test_what_holds_for_several_classes_is_said_once(bank: Path, tmp_path: Path) -> None:
    result = predict(bank, tmp_path / "o.geojson", make_scene(tmp_path / "s.tif", size=96))
    boat, car = (result["found"][name] for name in ("boat", "car"))
    assert result["searched"].endswith(
        f" km2; boat: {boat}, car: {car} found; what would have been missed is unknown, as no example was left out"
    )


def test_what_would_have_been_missed_is_said_by_the_score_in_use(bank: Path, tmp_path: Path) -> None:
    scene, out, told = make_scene(tmp_path / "s.tif", size=96), tmp_path / "o.geojson", tmp_path / "told.safetensors"
    weights = checkpoint_of(bank)
    known = {"boat": {"examples": 12, "trials": [0.9] * 9 + [0.2, 0.0, 0.0], "judged": [7, 3]}}
    save_bank(told, load_bank(bank, load_checkpoint(weights).detector).with_origins(known), weights)
    for score, hits in (("0.02", "10 of 12 trials (51 to 98 %)"), ("0.999", "0 of 12 trials (0 to 27 %)")):
        report = tmp_path / "r.json"
        command = ("predict", scene, "--bank", told, "--out", out, *SMALL, "--score", score, "--json", report)
        assert fsod(*command) == 0
        result = json.loads(report.read_text())
        assert result["searched"] == (
            f"searched 0.00231 of 0.00231 km2; boat: {result['found']['boat']} found; an object like your 12 examples would "
            f"have been found in {hits}; 7 of 10 judged detections were right (34 to 94 %); car: {result['found']['car']} "
            "found; what would have been missed is unknown, as no example was left out"
        )
        parts = geopandas.read_file(out.with_suffix(".searched.geojson"))
        assert parts["summary"].tolist() == [result["searched"]]
        content = json.loads(out.with_suffix(".searched.geojson").read_text())
        numbers = json.loads(content["run"]["classes"])
        assert numbers["boat"]["recall"]["trials"] == 12
        assert numbers["car"] == {"found": result["found"]["car"], "examples": 0, "score": float(score)}


def test_a_bank_is_searched_in_the_bands_of_its_examples(bank: Path, tmp_path: Path) -> None:
    """Unless the user says others; a scene that has no such bands says so."""
    scene, other = (make_scene(tmp_path / f"{bands}.tif", bands=bands, size=192) for bands in (4, 3))
    shown = BandRule(bands=(4, 2, 1), count=4, chosen="option", names=("", "", ""))
    as_shown = tmp_path / "shown.safetensors"
    weights = checkpoint_of(bank)
    save_bank(as_shown, replace(load_bank(bank, load_checkpoint(weights).detector), shown=(shown,)), weights)
    layers = {}
    for name, (own, options) in {
        "followed": (as_shown, ()),
        "asked": (bank, ("--bands", "4,2,1")),
        "default": (bank, ()),
        "overruled": (as_shown, ("--bands", "1,2,3")),
    }.items():
        out = tmp_path / f"{name}.geojson"
        result = predict(own, out, scene, *options)
        assert len(result["warnings"]) == (name == "default")
        layers[name] = geopandas.read_file(out)[["score", "x1_px", "y1_px", "x2_px", "y2_px"]].to_numpy().tolist()
    assert layers["followed"] == layers["asked"] != layers["default"]
    assert layers["overruled"] == layers["default"]
    (said,) = predict(as_shown, tmp_path / "o.geojson", other)["warnings"]
    assert (
        "the examples were shown in bands 4,2,1 of 4, which it is not known to have; it is seen in red, green" in said
    )


def test_a_damaged_scene_gives_what_is_left(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = make_scene(tmp_path / "s.tif"), tmp_path / "o.geojson"
    with scene.open("r+b") as file:
        file.truncate(scene.stat().st_size - 3 * 64 * 64)
    assert fsod("predict", scene, "--bank", bank, "--out", out, *SMALL) == 2
    assert re.search(
        r"^fsod: .*s.tif: damaged or cut short: pixels of columns \d+", capsys.readouterr().err, re.MULTILINE
    )
    result = predict(bank, out, scene, "--skip-damaged")
    assert len(result["damaged"]) == 4
    assert result["preview"] is None
    assert "no picture: " in result["warnings"][-1]
    assert len(geopandas.read_file(out)) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bands", "4;3;2"), "--bands 4;3;2: give one or three numbers"),
        (("--bands", "1,2,9"), "from 1 to 3"),
        (("--native", "--gsd-m", "1"), "contradict"),
        (("--gsd-m", "0.01"), "too coarse to look for objects at 0.01 m; run at the scene's own (--native)"),
        (("--aoi", "gone.gpkg"), "gone.gpkg: no such vector file"),
        (("--minutes", "0"), "--minutes 0: give a time above 0"),
        (("--minutes", "-3"), "--minutes -3: give a time above 0"),
        (("--budget", "0"), "--budget 0: give a share of the windows, above 0 and up to 1"),
        (("--budget", "1.5"), "--budget 1.5: give a share of the windows, above 0 and up to 1"),
        (("--minutes", "3", "--budget", "0.5"), "--minutes 3 and --budget 0.5 contradict each other"),
    ],
)
def test_a_mistake_is_one_line(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    scene = make_scene(tmp_path / "s.tif", size=96)
    assert fsod("predict", scene, "--bank", bank, "--out", tmp_path / "o.geojson", *SMALL, *arguments) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_part_of_the_windows_is_searched_and_more_goes_on(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, out = make_scene(tmp_path / "s.tif"), tmp_path / "out.gpkg"
    part = predict(bank, out, scene, "--budget", "0.5")
    assert "s.tif: searched 32% of the windows, likeliest first" in capsys.readouterr().err
    assert part["parts"]["not reached"] == pytest.approx(1 - part["parts"]["searched"], abs=1e-5)
    assert part["windows_run"] + part["windows_glanced"] == 12  # of 25
    turned = predict(bank, tmp_path / "turned.gpkg", scene, "--budget", "0.5", "--turns")
    assert turned["windows_run"] == int(12.5 - turned["windows_glanced"] / 4), "one turn of four is enough for the look"
    more = predict(bank, out, scene, "--minutes", "10")
    assert (more["windows_resumed"], more["windows_left"]) == (part["windows_run"], 0)
    assert not out.with_name("out.gpkg.journal").exists()


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "collar"])
def test_of_a_scene_all_is_read_once_beside_its_windows(
    tmp_path: Path, bank: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (3, 192, 192)).astype("uint16" if kind == "collar" else kind)
    if kind == "collar":
        pixels[:, :, :60] = 0  # which no tag says
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
    scene = tmp_path / "scene.tif"
    with rasterio.open(scene, "w", driver="GTiff", width=192, height=192, count=3, dtype=pixels.dtype, **place) as file:
        file.write(pixels)
    reads: list[tuple[int, int]] = []
    read = DatasetReader.read

    def counted(self: DatasetReader, *arguments: Any, **options: Any) -> Any:
        reads.append((options["window"].width, options["window"].height))
        return read(self, *arguments, **options)

    monkeypatch.setattr(DatasetReader, "read", counted)
    plan = PredictSettings.model_validate({"window_px": 96, "overlap_px": 32, "precision": "float32"})
    predict_files([str(scene)], None, bank, tmp_path / "found.gpkg", plan)
    assert reads.count((192, 192)) == 1
    pictures = [tmp_path / "found.png", tmp_path / "found.overview.jpg"]
    assert all(path.is_file() for path in pictures)
    reads.clear()
    plan = plan.model_copy(update={"pictures": False})
    predict_files([str(scene)], None, bank, tmp_path / "found.gpkg", plan)
    assert reads.count((192, 192)) == (kind != "uint8")
    assert not any(path.exists() for path in pictures), "they show what an earlier command found"
