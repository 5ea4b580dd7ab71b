"""``fsod predict --together``: overlapping scenes make one layer; a scene that was searched is not searched again."""

from __future__ import annotations

from pathlib import Path

import cv2
import geopandas
import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.config import EvaluateSettings, PredictSettings
from fsod.errors import UserError
from fsod.evidence import Evidence
from fsod.steps import predict_scenes
from fsod.steps.predict_scenes import predict_files
from fsod.steps.searcher import Searcher
from tests.labelled_scene import make_scene

BOXES = np.array([[20.0, 20, 40, 40], [80, 50, 100, 70]])
"""In pixels of the western scene, which is 130 px wide; the eastern one begins 70 px further on."""


def bright_squares(images: NDArray[np.uint8]) -> list[Detections]:
    """A detector of bright squares."""
    found = []
    for image in images:
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 150).astype(np.uint8))
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]], np.float64).reshape(-1, 4)
        found.append(Detections(boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int64)))
    return found


def test_overlapping_scenes_make_one_layer_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
    west = make_scene(tmp_path / "west.tif", BOXES, transform=place)
    east = make_scene(tmp_path / "east.tif", BOXES[1:] - [70, 0, 70, 0], transform=place @ Affine.translation(70, 0))
    plain = make_scene(tmp_path / "plain.tif", BOXES, crs=None, transform=None)
    settings, hashes = EvaluateSettings(), ("a" * 64, "b" * 64)
    searcher = Searcher(
        bright_squares, ("square",), (0.25,), (0.25,), *hashes, 0.5, settings, 128, "float32", "here",
        known={"square": Evidence(4, (0.9, 0.9, 0.9, 0.0))},
    )  # fmt: skip
    monkeypatch.setattr(predict_scenes, "load_searcher", lambda *_: searcher)
    plan = PredictSettings(together=True, overlap_px=32)
    out, bank = tmp_path / "all.gpkg", tmp_path / "bank.safetensors"
    with pytest.raises(UserError, match=r"all.gpkg: not written, as 1 of 3 scenes failed: .*plain.tif; leave them out"):
        predict_files([str(west), str(east), str(plain)], None, bank, out, plan)
    assert not out.exists()
    assert not (tmp_path / "all.plain.gpkg.journal").exists(), "a scene that cannot be joined is not searched first"
    told = predict_files([str(west), str(east)], None, bank, out, plan)
    assert told["windows_resumed"] == told["windows_run"] > 1, "both were searched before"
    assert not list(tmp_path.glob("*.journal"))
    rows = geopandas.read_file(out, layer="detections")
    assert (told["found"], told["found_twice"]) == ({"square": 2}, 1)
    assert sorted(rows["ask"]) == [1, 2]
    assert set(rows["scene"]) <= {"west.tif", "east.tif"}
    assert sorted(rows.geometry.centroid.x) == pytest.approx([500_015, 500_045])
    assert "in 2 scenes; 2 found; an object like your 4 examples would have been found in 3 of 4" in told["searched"]
    assert len(geopandas.read_file(out, layer="searched")) == 2
    # a picture of one scene would tell of another layer than the one of all
    predict_files([str(west)], None, bank, out, PredictSettings(overlap_px=32, stac=True))
    assert out.with_suffix(".png").exists()
    assert out.with_suffix(".stac.json").exists()
    predict_files([str(west), str(east)], None, bank, out, plan)
    assert sorted(path.name for path in tmp_path.glob("all.*")) == ["all.gpkg", "all.qml"]
    with pytest.raises(UserError, match="--together makes one file"):
        predict_files([str(west), str(east)], None, bank, tmp_path / "folder", plan)
