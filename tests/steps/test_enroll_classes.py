"""Enrolling from scenes and from prepared folders; weights are untrained, what is compared are the rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from pydantic import ValidationError
from rasterio.transform import from_origin

from fsod.band_rule import BandRule
from fsod.boxes import Detections
from fsod.config import EpisodeSettings, PredictSettings
from fsod.data.coco_folder import read_ids
from fsod.data.shots import draw_shots
from fsod.errors import UserError
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from fsod.inference.onnx_export import describe
from fsod.model.detector import Detector
from fsod.steps import enroll_classes as enrolling
from fsod.steps.enroll_classes import enroll, refine_files
from fsod.steps.example_files import examples_in_folder, examples_on_scenes
from fsod.steps.export_bank import seen_coarser
from fsod.steps.folder_shots import marks_in_folder, shots_in_folder
from fsod.steps.mark_files import MarkFiles, Seen
from fsod.steps.scene_search import scene_plan
from fsod.steps.searcher import load_searcher
from fsod.store.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fsod.store.class_bank import ClassBank, checkpoint_of, load_bank, read_bank, save_bank
from tests.made_folder import make_folder
from tests.made_onnx import make_onnx
from tests.untrained import SETTINGS, make_bank

EAST, NORTH, GSD_M = 500000, 5000000, 0.5
OBJECTS = {"red": [(40, 40), (120, 40)], "green": [(40, 120), (200, 120), (280, 40)]}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    settings = SETTINGS.model_copy(
        update={"episodes": EpisodeSettings(support_px=64, queries=2, query_px=96)}
    ).model_dump(mode="json")
    save_checkpoint(path, Checkpoint(Detector("nano", 1).eval(), "nano", ("disc",), "meta-train", settings))
    return path


def write_scene(path: Path, left_px: int, right_px: int, gsd_m: float = GSD_M, crs: str | None = "EPSG:32633") -> Path:
    """Columns left..right of one made scene of 320 x 160 px."""
    rgb = np.random.default_rng(0).integers(80, 100, (3, 160, 320)).astype(np.uint8)
    for name, places in OBJECTS.items():
        for x, y in places:
            rgb[0 if name == "red" else 1, y : y + 24, x : x + 24] = 230
    part = rgb[:, :, left_px:right_px]
    place = from_origin(EAST + left_px * gsd_m, NORTH, gsd_m, gsd_m) if crs else rasterio.Affine.identity()
    with rasterio.open(path, "w", driver="GTiff", width=part.shape[2], height=160, count=3, dtype="uint8",
                       crs=crs, transform=place) as file:  # fmt: skip
        file.write(part)
    return path


def write_labels(path: Path, objects: dict[str, list[tuple[int, int]]]) -> Path:
    features = []
    for name, places in objects.items():
        for x, y in places:
            corners = [(x, y), (x + 24, y), (x + 24, y + 24), (x, y + 24), (x, y)]
            ring = [[EAST + GSD_M * cx, NORTH - GSD_M * cy] for cx, cy in corners]
            polygon = {"type": "Polygon", "coordinates": [ring]}
            features.append({"type": "Feature", "properties": {"class": name}, "geometry": polygon})
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def assert_same_rows(one: ClassBank, two: ClassBank) -> None:
    assert one.class_names == two.class_names
    for a, b in zip([*one.rows.kernels, one.rows.biases], [*two.rows.kernels, two.rows.biases], strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_a_class_whose_examples_do_not_find_each_other_is_said(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(enrolling, "left_out_scores", lambda *_: {"red": [0.0, 0.0], "green": [0.0, 0.4, 0.3]})
    whole = write_scene(tmp_path / "whole.tif", 0, 320)
    every = write_labels(tmp_path / "every.geojson", OBJECTS)
    result = enroll(weights, examples_on_scenes([whole], MarkFiles([every])), tmp_path / "b.safetensors", native=True)
    (warning,) = result["warnings"]
    assert warning.startswith("red: none of its examples was found when it was left out")
    assert warning in " ".join(capsys.readouterr().err.split())


def test_scenes_in_parts_and_labels_in_files_give_the_rows_of_the_whole(weights: Path, tmp_path: Path) -> None:
    """The second object of red lies on both parts, and counts once. The tone is left alone: each part has its own."""
    untoned = Seen(like=(BandRule(bands=(1, 2, 3), count=3, chosen="tags"),))
    whole = write_scene(tmp_path / "whole.tif", 0, 320)
    every = write_labels(tmp_path / "every.geojson", OBJECTS)
    result = enroll(
        weights, examples_on_scenes([whole], MarkFiles([every]), untoned), tmp_path / "one.safetensors", native=True
    )
    assert result["examples"] == {"red": 2, "green": 3}
    parts = [write_scene(tmp_path / "west.tif", 0, 180), write_scene(tmp_path / "east.tif", 80, 320)]
    files = [write_labels(tmp_path / f"{name}.geojson", {name: places}) for name, places in OBJECTS.items()]
    result = enroll(
        weights, examples_on_scenes(parts, MarkFiles(files), untoned), tmp_path / "two.safetensors", native=True
    )
    assert result["examples"] == {"red": 2, "green": 3}
    assert result["gsd_m"] == pytest.approx(GSD_M, rel=0.01)
    one, two = read_bank(tmp_path / "one.safetensors"), read_bank(tmp_path / "two.safetensors")
    assert_same_rows(one, two)
    assert not torch.allclose(one.rows.kernels[0][0], one.rows.kernels[0][1], atol=1e-2)
    said = {"row": "predicted", "examples": 2, "scene": "west.tif, east.tif", "gsd_m": two.gsd_m}
    assert said.items() <= two.origins["red"].items()
    for name, places in OBJECTS.items():  # each is left out once, and found or not
        trials = two.origins[name]["trials"]
        assert len(trials) == len(places)
        hits = sum(score >= two.scores[two.class_names.index(name)] for score in trials)
        assert result["left_out_found"][name].startswith(f"{hits} of {len(places)} trials (")
    sheet = np.asarray(Image.open(result["contact_sheet"]).convert("RGB"))
    assert (sheet[..., 0] > 200).any()


def test_scenes_that_do_not_go_together_are_refused(weights: Path, tmp_path: Path) -> None:
    west = write_scene(tmp_path / "west.tif", 0, 180)
    labels, out = write_labels(tmp_path / "every.geojson", OBJECTS), tmp_path / "bank.safetensors"
    coarse = write_scene(tmp_path / "coarse.tif", 80, 320, gsd_m=0.7)
    with pytest.raises(UserError, match=r"coarse\.tif: 0\.7 m per pixel, but .*west\.tif has 0\.5 m"):
        enroll(weights, examples_on_scenes([west, coarse], MarkFiles([labels])), out, native=True)
    bare = write_scene(tmp_path / "bare.tif", 80, 320, crs=None)
    with pytest.raises(UserError, match=r"bare\.tif: has no usable CRS, but .*west\.tif has one"):
        enroll(weights, examples_on_scenes([west, bare], MarkFiles([labels])), out, native=True)
    middle = write_scene(tmp_path / "middle.tif", 100, 250)
    with pytest.raises(UserError, match="feature 5: lies on none of the scenes"):
        enroll(weights, examples_on_scenes([west, middle], MarkFiles([labels])), out, native=True)
    assert not out.exists()


def test_neither_bank_nor_picture_replaces_a_scene(weights: Path, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "harbour.png", 0, 320)
    before = scene.read_bytes()
    files = examples_on_scenes([scene], MarkFiles([write_labels(tmp_path / "every.geojson", OBJECTS)]))
    with pytest.raises(UserError, match=r"harbour\.safetensors: the picture beside it would overwrite the scene"):
        enroll(weights, files, tmp_path / "harbour.safetensors", native=True)
    with pytest.raises(UserError, match=r"harbour\.png: the name of a class bank ends in \.safetensors"):
        refine_files(weights, files, scene)
    assert scene.read_bytes() == before


def test_a_folder_gives_the_same_rows_by_list_and_by_number(weights: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "made")
    train = folder.root / "splits" / "train.txt"
    draw_shots(folder.select(read_ids(train)), ["square", "cross"], 3, 1).save(tmp_path / "shots.json")
    listed, drawn = tmp_path / "listed.safetensors", tmp_path / "drawn.safetensors"
    result = enroll(
        weights,
        examples_in_folder(shots_in_folder(folder.root, tmp_path / "shots.json", [], [], 10, 0)),
        listed,
        learned=True,
    )
    assert result["examples"] == {"cross": 3, "square": 3}
    assert read_bank(listed).class_names == ("disc", "cross", "square")
    assert read_bank(listed).origins["square"]["data"] == "made"
    enroll(
        weights,
        examples_in_folder(shots_in_folder(folder.root, None, ["cross", "square"], [], 3, 1, train)),
        drawn,
        learned=True,
    )
    assert_same_rows(read_bank(listed), read_bank(drawn))
    assert Path(result["contact_sheet"]).is_file()
    enroll(
        weights,
        examples_in_folder(shots_in_folder(folder.root, tmp_path / "shots.json", ["square"], [], 10, 0)),
        drawn,
        native=True,
    )
    assert_same_rows(read_bank(drawn), read_bank(listed).select(["square"]))


def test_mistakes_with_a_folder(weights: Path, tmp_path: Path) -> None:
    folder, out = make_folder(tmp_path / "made"), tmp_path / "bank.safetensors"
    shots, train = tmp_path / "shots.json", folder.root / "splits" / "train.txt"
    draw_shots(folder, ["square"], 3, 1).save(shots)
    with pytest.raises(UserError, match="--class"):
        enroll(weights, examples_in_folder(shots_in_folder(folder.root, None, [], [], 3, 0)), out, native=True)
    with pytest.raises(UserError, match=r"shots\.json: no shots of 'squares' \(did you mean 'square'\?\)"):
        enroll(
            weights, examples_in_folder(shots_in_folder(folder.root, shots, ["squares"], [], 3, 0)), out, native=True
        )
    with pytest.raises(UserError, match="99 shots of 'cross' asked for"):
        enroll(
            weights,
            examples_in_folder(shots_in_folder(folder.root, None, ["cross"], [], 99, 0, train)),
            out,
            native=True,
        )
    with pytest.raises(UserError, match="already among the learned"):
        enroll(
            weights,
            examples_in_folder(shots_in_folder(folder.root, None, ["disc"], [], 2, 0, train)),
            out,
            learned=True,
        )
    with pytest.raises(UserError, match=r"has test images, from which no example may come; .* --ids .*train\.txt"):
        examples_in_folder(shots_in_folder(folder.root, None, ["cross"], [], 2, 0))
    draw_shots(folder.select(["005", "006"]), ["square"], 3, 1).save(shots)
    with pytest.raises(UserError, match=r"shots\.json: box \d+ is not a 'square' among the images chosen"):
        examples_in_folder(shots_in_folder(folder.root, shots, [], [], 3, 0, train))
    with pytest.raises(UserError, match="has test images, from which no example may come"):
        marks_in_folder(shots_in_folder(folder.root, None, ["cross"], [], 2, 0))
    marks = marks_in_folder(shots_in_folder(folder.root, None, ["cross"], [], 8, 0, train))
    assert {Path(one.scene).stem for one in marks} == set(read_ids(train))
    assert not out.exists()


def test_scenes_are_searched_at_the_size_that_suits_the_class(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "scene.tif", 0, 320)
    marks = write_labels(tmp_path / "red.geojson", {"red": OBJECTS["red"]})
    monkeypatch.setattr(enrolling, "best_enlargement", lambda marked, names, detect: 2.0)
    out = tmp_path / "b.safetensors"
    for native, enlargement in ((False, 2.0), (True, 1.0)):
        result = enroll(weights, examples_on_scenes([scene], MarkFiles([marks])), out, native=native)
        bank = load_bank(out, load_checkpoint(weights).detector)
        assert bank.enlargement == enlargement
        assert bank.gsd_m == pytest.approx(GSD_M / enlargement, rel=1e-3)
        assert result["enlargement"] == enlargement


def test_a_class_of_large_objects_has_the_rows_of_smaller_ones(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "scene.tif", 0, 320)
    files = examples_on_scenes([scene], MarkFiles([write_labels(tmp_path / "both.geojson", OBJECTS)]))
    out, halved = tmp_path / "both.safetensors", tmp_path / "halved.safetensors"
    monkeypatch.setattr(enrolling, "reductions_of", lambda marked, names: {"red": 1.0, "green": 2.0})
    monkeypatch.setattr(enrolling, "best_enlargement", lambda marked, names, detect: 1.0)
    result = enroll(weights, files, out)
    bank = read_bank(out)
    assert result["reductions"] == {"green": 2.0}
    assert bank.reductions == (1.0, 2.0)
    assert read_bank(out).select(["green"]).reductions == (2.0,)
    monkeypatch.setattr(enrolling, "reductions_of", lambda marked, names: dict.fromkeys(names, 1.0))
    enroll(weights, replace(files, marked=files.marked.enlarged(0.5)), halved)
    assert_same_rows(bank.select(["green"]), read_bank(halved).select(["green"]))
    plan = PredictSettings()
    header, *_ = describe(out, weights, 96)
    (said,) = seen_coarser(header)
    assert said.startswith("green: is looked for in pixels 2 times coarser")
    exported = make_onnx(tmp_path / "both.onnx", class_names=header.class_names, known=header.known)
    for file in (out, exported):
        searcher = load_searcher(file, weights if file is out else None, plan)
        assert scene_plan(searcher, plan).reductions == (1.0, 2.0)


@pytest.mark.parametrize("reduction", [0.5, 65, "half", float("nan")])
def test_a_reduction_that_makes_no_sense_is_refused(tmp_path: Path, reduction: object) -> None:
    bank = read_bank(make_bank(tmp_path, ("red",)))
    with pytest.raises(ValidationError, match="reduction"):
        save_bank(tmp_path / "out.safetensors", bank.with_origins({"red": {"reduction": reduction}}), tmp_path / "w")


def test_rivals_are_told_apart_and_never_reported(weights: Path, tmp_path: Path) -> None:
    """Their rows are in the bank, and take part, but no detection has their name."""
    whole = write_scene(tmp_path / "whole.tif", 0, 320)
    red, green = (write_labels(tmp_path / f"{name}.geojson", {name: places}) for name, places in OBJECTS.items())
    files = examples_on_scenes([whole], MarkFiles([red], distractors=[green]))
    assert files.distractors == ("green",)
    out = tmp_path / "bank.safetensors"
    enroll(weights, files, out, native=True)
    bank = read_bank(out)
    assert bank.class_names == ("red", "green")
    assert bank.reported.class_names == ("red",)
    assert len(bank.distractors) == 1
    with pytest.raises(UserError, match="--not: 'red' is one of the classes"):
        examples_on_scenes([whole], MarkFiles([red], distractors=[red]))
    folder = make_folder(tmp_path / "made")
    train = folder.root / "splits" / "train.txt"
    assert examples_in_folder(shots_in_folder(folder.root, None, ["square"], ["disc"], 2, 0, train)).distractors == (
        "disc",
    )
    with pytest.raises(UserError, match="--not: 'square' is one of the classes"):
        examples_in_folder(shots_in_folder(folder.root, None, ["square"], ["square"], 2, 0, train))


def test_refined_rows_are_for_the_same_weights(weights: Path, tmp_path: Path) -> None:
    whole = write_scene(tmp_path / "whole.tif", 0, 320)
    files = examples_on_scenes([whole], MarkFiles([write_labels(tmp_path / "every.geojson", OBJECTS)]))
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    enroll(weights, files, one, native=True)
    result = refine_files(weights, files, two, steps=2)
    start, refined = read_bank(one), load_bank(two, load_checkpoint(weights).detector)
    assert {origin["row"] for origin in refined.origins.values()} == {"refined"}
    assert not torch.allclose(start.rows.kernels[0], refined.rows.kernels[0])
    assert result["examples"] == {"red": 2, "green": 3}
    assert checkpoint_of(two).resolve() == weights.resolve()


def test_verdicts_are_examples_and_rivals(weights: Path, tmp_path: Path) -> None:
    """What is judged in the layer of an earlier search counts as if it had been marked, or given with --not."""
    scene, out = write_scene(tmp_path / "whole.tif", 0, 320), tmp_path / "bank.safetensors"
    red, green = (write_labels(tmp_path / f"{name}.geojson", {name: places}) for name, places in OBJECTS.items())
    layer = judge(tmp_path / "found.gpkg", scene, "green", {(40, 120): "no", (200, 120): "yes", (280, 40): ""})
    enroll(weights, examples_on_scenes([scene], MarkFiles([red], verdicts=[layer])), out, native=True)
    bank = read_bank(out)
    assert bank.class_names == ("red", "green", "not green")
    assert bank.reported.class_names == ("red", "green")
    assert bank.origins["green"]["judged"] == [1, 1]
    assert "judged" not in bank.origins["red"]
    alone = judge(tmp_path / "alone.gpkg", scene, "green", dict.fromkeys(OBJECTS["green"], "yes"))
    for name, files in {"marks": ([green], []), "verdicts": ([], [alone])}.items():
        marks, verdicts = files
        bank_path = tmp_path / f"{name}.safetensors"
        enroll(weights, examples_on_scenes([scene], MarkFiles(marks, verdicts=verdicts)), bank_path, native=True)
    assert_same_rows(read_bank(tmp_path / "marks.safetensors"), read_bank(tmp_path / "verdicts.safetensors"))
    nothing = judge(tmp_path / "nothing.gpkg", scene, "green", {(40, 120): "no"})
    with pytest.raises(UserError, match=r"nothing.gpkg: no verdict is yes, so there is no example"):
        examples_on_scenes([scene], MarkFiles(verdicts=[nothing]))


def judge(path: Path, scene: Path, name: str, verdicts: dict[tuple[int, int], str]) -> Path:
    boxes = np.array([[x, y, x + 24, y + 24] for x, y in verdicts], np.float64)
    found = Detections(boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int64))
    with open_scene(scene) as opened:
        ask = np.arange(1, len(boxes) + 1)
        write_layer(path, Layer(found, [name], opened.georeference, scene.name, (320, 160), {}, ask))
    frame = geopandas.read_file(path)
    frame["verdict"] = list(verdicts.values())
    frame.to_file(path, layer="detections")
    return path
