from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
from PIL import Image

from fsod.boxes import Detections
from fsod.draw import PREVIEW_MARK, write_png
from fsod.geo.geopackage_file import NAME
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_scene import scene_of_layer, scenes_judged
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene

BOXES = np.array([[10.0, 20, 50, 60], [70, 5, 90, 25]])


def write_picture(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (120, 90)).save(path)
    return path


def write_judged(path: Path, picture: Path, verdicts: list[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    found = Detections(BOXES, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64))
    with open_scene(picture) as scene:
        write_layer(path, Layer(found, ["car"], scene.georeference, picture.name, (120, 90), {}, np.arange(1, 3)))
    frame = geopandas.read_file(path)
    frame["verdict"] = verdicts
    frame.to_file(path, layer=NAME)
    return path


def test_a_scene_is_looked_for_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = tmp_path / "layers" / "found.gpkg"
    marked = str(write_picture(tmp_path / "images" / "marked.png"))
    monkeypatch.chdir(tmp_path)
    assert scene_of_layer(layer, "b.png", [marked]) is None
    # the last one that is there comes first
    for folder, name in (("images", None), ("", "b.png"), ("layers", None)):
        write_picture(tmp_path / folder / "b.png")
        assert scene_of_layer(layer, "b.png", [marked]) == (Path(name) if name else tmp_path / folder / "b.png")
    assert scene_of_layer(layer, "marked.png", [marked]) == Path(marked)


@pytest.mark.parametrize("name", ["../images/a.png", "/etc/hostname", "", "..", "https://example.org/a.tif"])
def test_what_a_layer_says_leads_into_no_other_folder(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / "images" / "a.png")
    assert scene_of_layer(tmp_path / "layers" / "found.gpkg", name) is None


def test_scenes_with_verdicts_are_found_once_beyond_those_marked(tmp_path: Path) -> None:
    pictures = [write_picture(tmp_path / "images" / f"{name}.png") for name in ("marked", "a", "b")]
    layers = [write_judged(tmp_path / "layers" / f"{picture.stem}.gpkg", picture, ["yes", ""]) for picture in pictures]
    marked = [str(pictures[0])]
    assert scenes_judged(layers, None, marked) == [str(pictures[1]), str(pictures[2])]
    assert scenes_judged([layers[1], layers[1]], None, marked) == [str(pictures[1])]
    pictures[1].unlink()
    assert scenes_judged(layers[1:], None, marked) == [str(pictures[2])]


def test_a_scene_beside_its_layer_is_another_one_than_a_marked_one_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked, picture = (write_picture(tmp_path / folder / "001.png") for folder in ("a", "b"))
    layer = write_judged(tmp_path / "b" / "found.gpkg", picture, ["yes", ""])
    assert scenes_judged([layer], None, [str(marked)]) == [str(picture)]
    away = write_judged(tmp_path / "c" / "found.gpkg", picture, ["yes", ""])
    monkeypatch.chdir(tmp_path / "b")  # where another one of that name lies
    assert scenes_judged([away], None, [str(marked)]) == []


def test_the_picture_of_a_scene_is_not_the_scene(tmp_path: Path) -> None:
    layer, marked = tmp_path / "found" / "s.gpkg", str(write_picture(tmp_path / "images" / "m.png"))
    scene = write_picture(tmp_path / "images" / "s.png")
    layer.parent.mkdir()
    write_png(layer.with_suffix(".png"), np.zeros((90, 120, 3), np.uint8), PREVIEW_MARK)
    assert scene_of_layer(layer, "s.png", [marked]) == scene
    assert scene_of_layer(layer, "s.png") is None
