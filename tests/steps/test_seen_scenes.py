"""Scenes are seen alike by enroll, finetune, data labels and predict: bands, nodata, north up, square pixels, any GDAL name."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import ColorInterp

from data_prep.check import check_folder
from data_prep.fix import write_fixed
from data_prep.label_files import LabelSettings
from data_prep.tile import tile_folder
from data_prep.vector_labels import prepare_labels
from fsod.boxes import Detections
from fsod.data.coco_folder import load_folder, read_image
from fsod.errors import UserError
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer, corners_px
from fsod.geo.scene_list import is_gone, kept_name, short_name
from fsod.geo.scene_opening import open_scene
from fsod.geo.verdicts import read_verdicts
from fsod.steps.example_files import examples_in_folder, examples_on_scenes
from fsod.steps.folder_shots import marks_in_folder, shots_in_folder
from fsod.steps.kept_marks import joined_marks, kept_marks, marks_kept
from fsod.steps.mark_files import MarkFiles, Seen, marks_on_scenes
from fsod.steps.scene_marks import SceneMarks, band_rules
from fsod.steps.scene_views import read_views

BOXES = np.array([[30, 40, 60, 50], [100, 20, 110, 44.0]])
UTM = Affine(1, 0, 500_000, 0, -1, 5_000_000)
RED, GROUND = (200, 60, 20), (90, 100, 110)


@pytest.fixture(autouse=True)
def no_tone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours are compared as they are; tests/geo/test_tone.py tells of the tone."""
    monkeypatch.setattr("fsod.geo.scene_opening.tone_of", lambda squares: None)


def pixels() -> np.ndarray:
    """Red, green, blue and infrared of a scene of 160 x 120 px with two red ships."""
    rgbi = np.tile(np.array([*GROUND, 150], np.uint8)[:, None, None], (1, 120, 160))
    for x1, y1, x2, y2 in BOXES.astype(int):
        rgbi[:3, y1:y2, x1:x2] = np.array(RED)[:, None, None]
    return rgbi


def write(path: Path, bands: np.ndarray, transform: Affine = UTM, crs: str = "EPSG:32633", **more: Any) -> Path:
    names = more.pop("names", None)
    profile = {"driver": "GTiff", "width": bands.shape[2], "height": bands.shape[1], "count": len(bands)} | more
    with rasterio.open(
        path, "w", dtype=bands.dtype, crs=crs, transform=transform, photometric="minisblack", **profile
    ) as file:
        file.colorinterp = [ColorInterp.undefined] * len(bands)
        if names:
            file.descriptions = names
        file.write(bands)
    return path


def write_labels(path: Path, transform: Affine = UTM, crs: str = "EPSG:32633") -> Path:
    corners = corners_px(BOXES)
    a, b, c, d, e, f = transform[:6]
    x, y = corners[..., 0], corners[..., 1]
    xy = np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)
    geopandas.GeoDataFrame({"class": ["ship", "ship"]}, geometry=shapely.polygons(xy), crs=crs).to_file(path)
    return path


def shown_by_all(scene: str | Path, labels: Path, out: Path, seen: Seen) -> list[np.ndarray]:
    """What is to be seen in the boxes of both ships, (h, w, 3), by enroll, finetune and data labels; in that order."""
    pieces = []
    files = examples_on_scenes([scene], MarkFiles([labels]), seen)
    for i, box_id in files.marked.places["ship"]:
        pieces.append(cut(files.marked.pixels[i], files.marked.box_xyxy_px(i, box_id)))
    marks = marks_on_scenes([scene], MarkFiles([labels]), seen)
    (view,) = read_views(marks, ["ship"], 1.0).views
    pieces += [cut(view.rgb, box) for box in view.boxes_xyxy_px]
    if Path(scene).exists():
        prepare_labels(Path(scene), labels, out, LabelSettings("class", bands=seen.bands, nodata=seen.nodata))
        (image,) = load_folder(out).images
        pieces += [cut(read_image(image), box) for box in image.boxes_xyxy_px]
    return pieces


def cut(rgb: np.ndarray, box_xyxy_px: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = box_xyxy_px.round().astype(int)
    return rgb[y1:y2, x1:x2]


def are_ships(pieces: list[np.ndarray], colour: tuple[int, ...] = RED) -> bool:
    """Whether boxes hold nothing but the ships, in turn 30 x 10 and 10 x 24 px large."""
    sizes = [piece.shape[:2] for piece in pieces]
    return sizes == [(10, 30), (24, 10)] * (len(sizes) // 2) and all((piece == colour).all() for piece in pieces)


def test_bands_by_option_and_by_name(tmp_path: Path) -> None:
    bgri = pixels()[[2, 1, 0, 3]]
    labels = write_labels(tmp_path / "l.gpkg")
    named = write(tmp_path / "named.tif", bgri, names=("Blue", "Green", "Red", "NIR"))
    silent = write(tmp_path / "silent.tif", bgri)
    pieces = shown_by_all(named, labels, tmp_path / "a", Seen())
    assert len(pieces) == 6
    assert are_ships(pieces)
    assert are_ships(shown_by_all(silent, labels, tmp_path / "b", Seen((3, 2, 1))))
    assert are_ships(shown_by_all(silent, labels, tmp_path / "c", Seen()), RED[::-1])
    assert examples_on_scenes([named], MarkFiles([labels])).shown[0].chosen == "descriptions"
    (rule,) = examples_on_scenes([silent], MarkFiles([labels]), Seen((3, 2, 1))).shown
    assert (rule.bands, rule.count, rule.chosen) == ((3, 2, 1), 4, "option")
    with pytest.raises(UserError, match=r"bands \[9\]: give one or three numbers from 1 to 4"):
        marks_on_scenes([silent], MarkFiles([labels]), Seen((9,)))


def test_nodata_by_option(tmp_path: Path) -> None:
    grey = np.full((1, 120, 160), 100, np.int16)
    grey[0, 60:] = 300
    grey[0, :, :12] = -9  # no value that programs write for nothing, so it is not recognised
    labels = write_labels(tmp_path / "l.gpkg")
    scene = write(tmp_path / "s.tif", grey)
    for seen, ground in ((Seen(nodata=-9), 0), (Seen(nodata=float("nan")), round(255 * (100 + 9) / (300 + 9)))):
        pieces = shown_by_all(scene, labels, tmp_path / f"out-{ground}", seen)
        assert len(pieces) == 6
        assert {int(value) for piece in pieces for value in np.unique(piece)} == {ground}
    assert marks_on_scenes([scene], MarkFiles([labels]), Seen(nodata=-9))[0].shown.nodata == -9  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "turn", [Affine(1, 0, 0, 0, -1, 120), Affine(-1, 0, 160, 0, -1, 120), Affine(0, 1, 0, 1, 0, 0)]
)
def test_north_is_up_for_all(tmp_path: Path, turn: Affine) -> None:
    """South up, half a turn, transposed."""
    stored = pixels()[:3].transpose(0, 2, 1) if turn.a == 0 else pixels()[:3, ::-1, :: int(turn.a)]
    scene = write(tmp_path / "s.tif", np.ascontiguousarray(stored), UTM @ turn)
    assert are_ships(shown_by_all(scene, write_labels(tmp_path / "l.gpkg"), tmp_path / "o", Seen()))


def test_pixels_are_square_for_all(tmp_path: Path) -> None:
    """At 60 degrees north a pixel of as many degrees is half as wide as high, and the scene seen by all has the ratio of the ground."""
    degrees = Affine(1e-5, 0, 15, 0, -1e-5, 60)
    scene = write(tmp_path / "s.tif", pixels()[:3], degrees, "EPSG:4326")
    for piece in shown_by_all(scene, write_labels(tmp_path / "l.gpkg", degrees, "EPSG:4326"), tmp_path / "o", Seen()):
        height, width = piece.shape[:2]
        assert width / height == pytest.approx(30 / 10 / 2 if width > height else 10 / 24 / 2, rel=0.15)


def test_a_scene_in_an_archive_is_named_as_gdal_does(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(write(tmp_path / "s.tif", pixels()[:3]), "in/s.tif")
        archive.write(write_labels(tmp_path / "l.geojson"), "l.geojson")
    (tmp_path / "s.tif").unlink()
    inside = f"/vsizip/{tmp_path}/z.zip/in/s.tif"
    assert "//" in inside
    assert are_ships(shown_by_all(inside, tmp_path / "l.geojson", tmp_path / "o", Seen()))
    (one,) = marks_on_scenes([inside], MarkFiles([f"/vsizip/{tmp_path}/z.zip/l.geojson"]))
    assert one.name == "s.tif"
    (kept,) = marks_kept(kept_marks([one]), tmp_path / "d.safetensors")
    assert kept.scene == inside
    assert kept.shown == one.shown
    assert joined_marks([kept], [one])[0].class_names == ("ship", "ship")
    with pytest.raises(UserError, match="vector files are not fetched from servers"):
        marks_on_scenes([inside], MarkFiles(["https://example.org/l.geojson"]))


def test_what_is_kept_of_a_name(tmp_path: Path) -> None:
    url = "https://example.org/a/scene.tif?key=secret"
    assert kept_name(url) == "https://example.org/a/scene.tif"
    assert kept_name("/vsicurl/" + url) == "/vsicurl/https://example.org/a/scene.tif"
    assert short_name(url) == "scene.tif"
    assert not is_gone(kept_name(url))
    assert is_gone(str(tmp_path / "gone.tif"))


def test_earlier_scenes_are_seen_as_they_were_marked(tmp_path: Path) -> None:
    """finetune --from reads them again, by what its detector remembers."""
    scene, labels = write(tmp_path / "s.tif", pixels()[[2, 1, 0, 3]]), write_labels(tmp_path / "l.gpkg")
    marks = marks_on_scenes([scene], MarkFiles([labels]), Seen((3, 2, 1)))
    (view,) = read_views(marks_kept(kept_marks(marks), Path("d")), ["ship"], 1.0).views
    assert are_ships([cut(view.rgb, box) for box in view.boxes_xyxy_px])
    older = [{key: value for key, value in kept_marks(marks)[0].items() if key != "shown"}]
    assert marks_kept(older, Path("d"))[0].shown is None


def test_a_folder_of_labels_knows_which_bands_it_shows(tmp_path: Path) -> None:
    """So a bank or a detector that is made of it, or of its tiles, is searched with in the same."""
    scene, labels = write(tmp_path / "s.tif", pixels()[[2, 1, 0, 3]]), write_labels(tmp_path / "l.gpkg")
    prepare_labels(scene, labels, tmp_path / "folder", LabelSettings("class", bands=(3, 2, 1), nodata=float("nan")))
    tile_folder(load_folder(tmp_path / "folder"), tmp_path / "tiles", window_px=128, overlap_px=64)
    write_fixed(check_folder(tmp_path / "tiles"), tmp_path / "fixed")
    for folder in ("folder", "fixed"):
        shots = shots_in_folder(tmp_path / folder, None, ["ship"], [], 2, 0)
        (rule,) = examples_in_folder(shots).shown
        assert (rule.bands, rule.count, rule.chosen, str(rule.nodata)) == ((3, 2, 1), 4, "option", "nan")
        marks = marks_in_folder(shots)
        assert are_ships(
            [cut(view.rgb, box) for view in read_views(marks, ["ship"], 1.0).views for box in view.boxes_xyxy_px]
        )
        kept = marks_kept(kept_marks(marks), Path("d"))
        assert repr(band_rules(kept)) == repr(band_rules(marks)) == repr((rule,))


def test_marks_of_a_folder_are_on_images_as_they_are_stored(tmp_path: Path) -> None:
    """A GeoTIFF among them may lie south up: its annotations count its rows as they come."""
    image = write(tmp_path / "s.tif", pixels()[:3], UTM @ Affine(1, 0, 0, 0, -1, 120))
    with open_scene(image, north_up=False) as stored:
        marks = replace(SceneMarks.on(stored, BOXES, ("ship", "ship")), gsd_m=None, shown=None)
    (view,) = read_views([marks], ["ship"], 1.0).views
    assert are_ships([cut(view.rgb, box) for box in view.boxes_xyxy_px])


def test_a_table_of_verdicts_on_a_turned_scene(tmp_path: Path) -> None:
    """Its boxes count in the file's pixels, and marks in those that are seen."""
    scene = write(tmp_path / "s.tif", pixels()[:3, ::-1], UTM @ Affine(1, 0, 0, 0, -1, 120))
    with open_scene(scene) as opened:
        stored = opened.upright.boxes_in_file(BOXES)
        found = Detections(stored, np.array([0.5, 0.4], np.float32), np.zeros(2, np.int64))
        layer = Layer(found, ["ship"], opened.file_georeference, "s.tif", (160, 120), {}, np.array([1, 2]))
        for name in ("v.csv", "v.gpkg"):
            write_layer(tmp_path / name, layer)
        table = (tmp_path / "v.csv").read_text().splitlines()
        place = table[0].split(",").index("verdict")
        rows = [[*row.split(",")[:place], "yes", *row.split(",")[place + 1 :]] for row in table[1:]]
        (tmp_path / "v.csv").write_text("\n".join([table[0], *(",".join(row) for row in rows)]))
        (verdicts,) = read_verdicts(tmp_path / "v.csv", [opened])
    assert verdicts.yes.boxes_xyxy_px == pytest.approx(BOXES)


def test_warnings_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write(tmp_path / "s.tif", pixels())
    frame = geopandas.read_file(write_labels(tmp_path / "l.gpkg"))
    frame["class"] = "Schlepper-Ü"
    frame.to_file(tmp_path / "l.shp", encoding="latin1")
    (tmp_path / "l.cpg").unlink(missing_ok=True)
    files = examples_on_scenes([scene], MarkFiles([tmp_path / "l.shp"]))
    said = capsys.readouterr().err
    assert f"warning: {scene}: has 4 bands and does not say which are red, green, blue" in said
    assert f"warning: {tmp_path / 'l.shp'}: does not say how its texts are encoded" in said
    assert len(files.warnings) == 1
    marks_on_scenes([scene], MarkFiles([tmp_path / "l.gpkg"]))
    assert "warning: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("metres", "such as 500030, 4999950 were taken for degrees"),
        ("exchanged", "taken for the longitude, and would be on"),
    ],
)
def test_coordinates_that_are_meant_otherwise(tmp_path: Path, kind: str, said: str) -> None:
    scene, labels = write(tmp_path / "s.tif", pixels()[:3]), tmp_path / "l.gpkg"
    frame = geopandas.read_file(write_labels(tmp_path / "right.gpkg"))
    if kind == "metres":
        frame = frame.set_crs("EPSG:4326", allow_override=True)
    else:
        frame = frame.to_crs("EPSG:4326")
        frame["geometry"] = shapely.transform(np.asarray(frame.geometry), lambda xy: xy[:, ::-1])
    frame.to_file(labels)
    for examples, areas in (([labels], []), ([tmp_path / "right.gpkg"], [labels])):
        with pytest.raises(UserError, match=said):
            marks_on_scenes([scene], MarkFiles(examples, areas=areas))
    with pytest.raises(UserError, match=said):
        prepare_labels(scene, labels, tmp_path / "out", LabelSettings("class"))
    good = replace(LabelSettings("class"), bands=(1, 2, 3))
    assert prepare_labels(scene, tmp_path / "right.gpkg", tmp_path / "out", good)["boxes"] == 2
