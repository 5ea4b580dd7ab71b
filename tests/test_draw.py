from __future__ import annotations

from pathlib import Path
from string import ascii_letters, digits

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import FontEntry, fontManager
from numpy.typing import NDArray
from PIL import Image

from fsod import marks
from fsod.boxes import Detections
from fsod.draw import (
    contact_sheet,
    draw_detections,
    draw_truth_and_found,
    scene_preview,
    write_png,
)
from fsod.marks import FALSE_ALARM, HIT, MISS, class_colour, font_with

CLASSES = ("airplane", "ship", "storage tank")


def ground(height: int = 200, width: int = 300, value: int = 90) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def detections(*rows: tuple[tuple[float, float, float, float], float, int]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float64).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


def count(rgb: NDArray[np.uint8], colour: tuple[int, ...]) -> int:
    return int((rgb == np.array(colour, np.uint8)).all(axis=-1).sum())


def test_classes_have_colours_of_their_own_to_colour_blind_eyes_too() -> None:
    colours = np.array([class_colour(i) for i in range(16)]) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    # Machado, Oliveira and Fernandes 2009, severity 1: deuteranopia, protanopia
    deutan = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    protan = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    for eye in (np.eye(3), np.array(deutan), np.array(protan)):
        seen = np.clip(linear @ eye.T, 0, 1) ** (1 / 2.2)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        assert distance[~np.eye(16, dtype=bool)].min() > 0.1
    assert class_colour(16) == class_colour(0)


def test_boxes_are_drawn_around_their_object_in_the_colour_of_its_class() -> None:
    rgb = ground()
    drawn = draw_detections(rgb, detections(((50, 60, 90, 100), 0.8, 1)), CLASSES)
    assert (rgb == 90).all()
    assert (drawn[60:100, 50:90] == 90).all()
    assert tuple(drawn[80, 49]) == tuple(drawn[80, 90]) == tuple(drawn[59, 70]) == class_colour(1)
    assert tuple(drawn[100, 70]) == class_colour(1)


def test_a_box_at_or_over_the_edge_of_the_image_still_shows() -> None:
    drawn = draw_detections(ground(), detections(((0, 0, 300, 200), 0.5, 0), ((280, 150, 340, 260), 0.5, 2)), CLASSES)
    for row, column in ((0, 150), (199, 150), (100, 0), (100, 299)):
        assert tuple(drawn[row, column]) == class_colour(0)
    assert count(drawn, class_colour(2)) > 50
    assert (draw_detections(ground(), detections(((400, 10, 420, 30), 0.5, 0)), CLASSES) == 90).all()


def test_lines_grow_with_the_image_but_not_over_small_objects() -> None:
    def line_px(side: int, box: tuple[float, float, float, float]) -> int:
        drawn = draw_detections(ground(side, side), detections((box, 0.5, 0)), CLASSES, labels=False)
        return count(drawn[int((box[1] + box[3]) / 2), :, None][: int(box[0]) + 1], class_colour(0))

    assert line_px(2000, (500, 500, 900, 900)) > line_px(300, (50, 50, 150, 150)) >= 1
    assert line_px(2000, (500, 500, 504, 504)) == 1


def test_labels_hide_no_other_box() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 500, (60, 2))
    boxes = np.hstack([corner, corner + rng.uniform(15, 40, (60, 2))]).round()
    crowd = Detections(boxes, rng.uniform(0.1, 1, 60).astype(np.float32), rng.integers(0, 3, 60))
    plain = draw_detections(ground(550, 550), crowd, CLASSES, labels=False)
    labelled = draw_detections(ground(550, 550), crowd, CLASSES)
    changed = (plain != labelled).any(axis=-1)
    assert changed.sum() > 1000
    for left, top, right, bottom in boxes.astype(int):
        assert not changed[top:bottom, left:right].any()


def test_no_detections_leave_the_image_as_it_is() -> None:
    assert (draw_detections(ground(), Detections.empty(), CLASSES) == ground()).all()
    preview = scene_preview(ground(), Detections.empty(), 0.5, CLASSES)
    assert (preview[:200] == 90).all()
    assert preview.shape[0] > 200


def test_truth_and_found_stand_side_by_side_in_the_colours_of_their_fate() -> None:
    truth = np.array([[50, 60, 90, 100], [200, 60, 240, 100]], np.float64)
    guesses = detections(((50, 60, 90, 100), 0.9, 0), ((130, 140, 160, 170), 0.6, 2))
    sheet = draw_truth_and_found(ground(), truth, np.array([0, 0]), guesses, CLASSES)
    assert sheet.shape[1] >= 600
    picture = sheet[-200:]  # below the header
    left, right = picture[:, :300], picture[:, -300:]
    assert tuple(left[80, 49]) == tuple(right[80, 49]) == HIT
    assert tuple(left[80, 199]) == MISS
    assert tuple(right[155, 129]) == FALSE_ALARM
    assert count(left, FALSE_ALARM) == count(right, MISS) == 0
    assert count(right[60:100, 195:245], HIT) == 0


def test_a_scenes_preview_scales_boxes_keeps_tiny_ones_visible_and_counts_classes() -> None:
    found = detections(((1000, 500, 1200, 700), 0.9, 0), ((2000, 1000, 2004, 1004), 0.9, 2))
    preview = scene_preview(ground(), found, 0.1, CLASSES)
    assert tuple(preview[60, 99]) == class_colour(0)
    assert count(preview[90:110, 190:210], class_colour(2)) >= 12
    legend = preview[200:]
    assert count(legend, class_colour(0)) > 50
    assert count(legend, class_colour(2)) > 50
    assert count(legend, class_colour(1)) == 0


def test_a_long_name_does_not_push_its_count_out_of_the_legend() -> None:
    names = ("high-voltage transmission tower of lattice, with its foundations and guy wires",)
    boxes = [((20.0 * i, 10.0, 20.0 * i + 10, 20.0), 0.5, 0) for i in range(7)]
    one, seven = (scene_preview(ground(), detections(*boxes[:n]), 1, names) for n in (1, 7))
    assert one.shape == seven.shape
    assert (one[-17:] != seven[-17:]).any()  # the line of the class, below that of the sum


def test_a_contact_sheet_fits_every_image_into_its_cell() -> None:
    colours = [(10, 60, 120), (60, 120, 10), (120, 10, 60)]
    sizes = [(20, 40), (300, 100), (64, 64)]
    images = [np.full((*size, 3), colour, np.uint8) for size, colour in zip(sizes, colours, strict=True)]
    sheet = contact_sheet(
        images, ["a", "b\nsecond line", "a caption far too long for its cell"], columns=2, cell_px=100
    )
    assert sheet.shape[1] < 3 * 100
    assert [count(sheet, colour) for colour in colours] == [100 * 50, 33 * 100, 100 * 100]
    with pytest.raises(ValueError, match="captions"):
        contact_sheet(images, ["a"])


def test_pictures_are_written_whole(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    path = tmp_path / "new" / "picture.png"
    write_png(path, rgb)
    assert (np.asarray(Image.open(path)) == rgb).all()
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]
    with pytest.raises(ValueError, match="uint8"):
        write_png(path, rgb.astype(np.float32))
    assert (np.asarray(Image.open(path)) == rgb).all()


def write_font(path: Path, letters: str) -> Path:
    """A font in which each of these letters is a square."""
    font = FontBuilder(1000, isTTF=True)
    names = {ord(letter): f"u{ord(letter):x}" for letter in letters}
    font.setupGlyphOrder([".notdef", *names.values()])
    font.setupCharacterMap(names)
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    font.setupGlyf(dict.fromkeys([".notdef", *names.values()], square))
    font.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (900, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    font.setupPost()
    font.save(path)
    return path


def test_letters_that_dejavu_lacks_are_of_another_font_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ships, squares = "\N{CJK UNIFIED IDEOGRAPH-8239}", write_font(tmp_path / "a.ttf", ascii_letters + digits + "\u8239")
    listed = [FontEntry(fname=str(path)) for path in (tmp_path / "gone.ttf", squares)]
    last = [entry for entry in fontManager.ttflist if entry.name.startswith("Last Resort")]
    monkeypatch.setattr(fontManager, "ttflist", [*last, *listed])
    marks._system_font.cache_clear()
    assert font_with([f"{ships} 1"]) == squares
    assert font_with(["bateau, Schiff, πλοίο, корабль"]).name == "DejaVuSans-Bold.ttf"
    assert contact_sheet([ground()], [ships]).shape[2] == 3
    assert capsys.readouterr().err == ""
    for _ in range(2):
        assert font_with(["\N{SHIP}"]).name == "DejaVuSans-Bold.ttf"
    said = capsys.readouterr().err
    assert said.count("pictures show empty boxes for \N{SHIP}: no font of this system has such letters") == 1
    marks._system_font.cache_clear()
