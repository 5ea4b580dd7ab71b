"""What is made of marks on scenes sees other scenes in the tone that it saw these in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

from fsod.config import PredictSettings
from fsod.steps.mark_files import MarkFiles, Seen, marks_on_scenes
from fsod.steps.scene_marks import in_one_tone
from fsod.steps.scene_search import scene_plan
from fsod.steps.scene_views import read_views
from fsod.steps.searcher import Searcher, load_searcher
from fsod.store.checkpoint import SHIPPED, LearnedFrom, load_checkpoint, save_checkpoint
from fsod.store.class_bank import read_bank, save_bank
from tests.command import fsod
from tests.untrained import make_bank

PLACES = [(40, 40), (200, 60), (120, 220)]


def write_scene(path: Path, brightness: float) -> Path:
    """320 x 320 px of noise with three roofs."""
    rgb = np.repeat(np.random.default_rng(0).normal(100, 30, (320, 320, 1)), 3, axis=2)
    for x, y in PLACES:
        rgb[y : y + 40, x : x + 24] = (190, 90, 80)
    pixels = np.moveaxis((brightness * rgb).clip(1, 254).astype(np.uint8), 2, 0)
    place = rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.5)
    profile = {"driver": "GTiff", "width": 320, "height": 320, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=place, **profile) as file:
        file.write(pixels)
    return path


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, marks, and the bank that they make."""
    folder = tmp_path_factory.mktemp("marked")
    boxes = [
        shapely.box(500_000 + 0.5 * x, 5_000_000 - 0.5 * (y + 40), 500_000 + 0.5 * (x + 24), 5_000_000 - 0.5 * y)
        for x, y in PLACES
    ]
    geopandas.GeoDataFrame({"class": ["roof"] * len(boxes)}, geometry=boxes, crs="EPSG:32633").to_file(
        folder / "marks.gpkg"
    )
    scene = write_scene(folder / "scene.tif", 1.0)
    assert (
        fsod("enroll", "--scene", scene, "--examples", folder / "marks.gpkg", "--out", folder / "bank.safetensors") == 0
    )
    return folder


def window(searcher: Searcher, scene: Path) -> NDArray[np.int64]:
    """A part of a scene as a search would show it to the network."""
    with scene_plan(searcher, PredictSettings()).open(scene) as opened:
        return opened.read_seen((20, 20, 220, 220))[0].astype(np.int64)


def test_a_dark_scene_is_searched_in_the_tone_of_the_marked_one(marked: Path) -> None:
    searcher = load_searcher(marked / "bank.safetensors", None, PredictSettings())
    dark = write_scene(marked / "dark.tif", 0.5)
    assert np.abs(window(searcher, dark) - window(searcher, marked / "scene.tif")).mean() < 4
    untoned = replace(searcher, shown=tuple(rule.model_copy(update={"toned": False}) for rule in searcher.shown))
    assert np.abs(window(untoned, dark) - window(untoned, marked / "scene.tif")).mean() > 35


def test_training_sees_the_marked_scene_like_that(marked: Path) -> None:
    def seen(how: Seen) -> NDArray[np.uint8]:
        marks = marks_on_scenes([marked / "scene.tif"], MarkFiles([marked / "marks.gpkg"]), how)
        (view,) = read_views(marks, ["roof"], 1.0).views
        return view.rgb

    searcher = load_searcher(marked / "bank.safetensors", None, PredictSettings())
    with scene_plan(searcher, PredictSettings(native=True)).open(marked / "scene.tif") as scene:
        assert (seen(Seen()) == scene.read_seen((0, 0, 320, 320))[0]).all()
        # what goes on from a detector of an earlier version sees scenes as that did
        plain = tuple(rule.model_copy(update={"toned": False}) for rule in searcher.shown)
        assert (seen(Seen(like=plain)) == scene.read_rectangle((0, 0, 320, 320))[0]).all()


def test_what_is_learned_together_is_seen_in_one_tone(marked: Path) -> None:
    files = [marked / "scene.tif"], MarkFiles([marked / "marks.gpkg"])
    (toned,), (plain,) = marks_on_scenes(*files), marks_on_scenes(*files, Seen(toned=False))
    (picture,) = [replace(plain, shown=None)]
    for marks in ([toned, toned], [plain], [picture]):
        assert [one.shown for one in in_one_tone(marks)] == [one.shown for one in marks]
    for other in (plain, picture):
        assert [one.shown for one in in_one_tone([toned, other])] == [plain.shown, other.shown]


def test_beside_learned_classes_scenes_are_seen_as_they_are(marked: Path, tmp_path: Path) -> None:
    make_bank(tmp_path, ("boat",))
    out, weights = tmp_path / "both.safetensors", tmp_path / "weights.safetensors"
    marks = ("--scene", marked / "scene.tif", "--examples", marked / "marks.gpkg")
    assert fsod("enroll", *marks, "--checkpoint", weights, "--learned", "--out", out) == 0
    assert [rule.toned for rule in read_bank(out).shown] == [False]
    # unless these were learned from scenes in the tone
    loaded, shown = load_checkpoint(weights), read_bank(marked / "bank.safetensors").shown
    save_checkpoint(weights, replace(loaded, learned_from=LearnedFrom(origins={}, shown=shown)))
    assert fsod("enroll", *marks, "--checkpoint", weights, "--learned", "--overwrite", "--out", out) == 0
    assert [rule.toned for rule in read_bank(out).shown] == [True]


def test_banks_of_two_tones_are_merged_with_a_word(
    marked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = read_bank(marked / "bank.safetensors")
    earlier = tuple(rule.model_copy(update={"toned": False}) for rule in bank.shown)
    save_bank(tmp_path / "a.safetensors", bank, SHIPPED)
    save_bank(tmp_path / "b.safetensors", replace(bank.rename({"roof": "hut"}), shown=earlier), SHIPPED)
    both = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert fsod("bank", "merge", *both, "--out", tmp_path / "c.safetensors") == 0
    assert "seen in one tone, those of others as they are; enroll them again" in " ".join(
        capsys.readouterr().err.split()
    )
