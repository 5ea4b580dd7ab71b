from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from fsod.boxes import Detections
from fsod.marks import FALSE_ALARM, HIT, MISS
from fsod.report.evaluation_pictures import FOUND, NUMBERS, write_pictures
from tests.made_folder import NAMES, make_folder


def test_pictures_and_numbers_of_an_evaluation(tmp_path: Path) -> None:
    """All squares found, with a low score; every disc taken for a cross; no cross."""
    folder = make_folder(tmp_path / "folder", images=3)
    found = {}
    for image in folder.images:
        boxes, classes = image.boxes_xyxy_px, image.class_ids
        kept = classes != 2
        scores = np.where(classes == 0, 0.04, 0.9)[kept].astype(np.float32)
        found[image.id] = Detections(boxes[kept], scores, np.where(classes == 1, 2, classes)[kept])
    files = write_pictures(folder, found, list(NAMES), ["cross", "unknown elsewhere"], tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(file.name for file in files)
    numbers = json.loads((tmp_path / "out" / NUMBERS).read_text())
    assert numbers["ap50_costs"]["base"]["class"] == 0.5
    assert numbers["ap50_costs"]["novel"]["missed"] == 0
    assert numbers["counts"]["base"] == {
        **dict.fromkeys(("duplicate", "class", "localisation", "class and place", "background", "missed"), 0),
        "objects": 12,
        "hit": 6,
    }
    assert numbers["counts"]["novel"]["class"] == 6
    assert numbers["counts"]["novel"]["missed"] == 6
    assert numbers["confused"] == [{"true": "disc", "detected": "cross", "count": 6}]
    # the squares' score lies far below what is usually shown, but is their best
    sheet = np.asarray(Image.open(tmp_path / "out" / FOUND).convert("RGB")).astype(int)
    for colour in (HIT, MISS, FALSE_ALARM):
        assert (np.abs(sheet - np.array(colour)).max(axis=-1) < 25).mean() > 0.001


def test_an_evaluation_that_found_nothing_has_pictures_too(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder", images=2)
    nothing = {image.id: Detections.empty() for image in folder.images}
    write_pictures(folder, nothing, list(NAMES), [], tmp_path / "out")
    numbers = json.loads((tmp_path / "out" / NUMBERS).read_text())
    assert numbers["ap50_costs"]["base"]["missed"] == 0
    assert numbers["ap50_costs"]["novel"]["missed"] is None
    assert numbers["calibration_error"] == {"novel": None, "base": None}
    assert numbers["counts"]["base"]["missed"] == 12
