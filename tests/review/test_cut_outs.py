"""Pieces of a scene: the right pixels at any size, the coarse ones without a pass over the scene."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.windows import Window

from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene
from fsod.report.scene_report import overview_path, write_overview
from fsod.review.cut_outs import CutOuts


def large_scene(path: Path, side: int = 5000) -> Path:
    """Grey, with a bright square in the last corner."""
    shape = {"width": side, "height": side, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", tiled=True, compress="deflate", **shape) as file:
        for top in range(0, side, 1000):
            rows = np.full((3, 1000, side), 60, np.uint8)
            if top == side - 1000:
                rows[:, :, -1000:] = 200
            file.write(rows, window=Window(0, top, side, 1000))
    return path


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content))).astype(int)


def test_pieces_show_what_is_there_at_any_size(tmp_path: Path) -> None:
    scene = open_scene(large_scene(tmp_path / "s.tif"), north_up=False)
    pieces = CutOuts(scene, tmp_path / "none.jpg")
    for side_px, extent in (
        (256, (3500, 3500, 4500, 4500)),
        (256, (3000, 3000, 5000, 5000)),
        (128, (0, 0, 5000, 5000)),
    ):
        seen = pixels(pieces.jpeg(extent, side_px))
        assert seen.shape == (side_px, side_px, 3)
        edge = round((4000 - extent[0]) / (extent[2] - extent[0]) * side_px)
        # a block of a JPEG, which rings at an edge, is 16 px
        assert np.abs(seen[edge + 16 :, edge + 16 :] - 200).max(initial=0) <= 4
        assert np.abs(seen[: edge - 16] - 60).max() <= 4
        assert seen[edge + 2 :, edge + 2 :].mean() > 180
    beyond = pixels(pieces.jpeg((4500, 4500, 5500, 5500), 100))
    assert np.abs(beyond[:48, :48] - 200).max() <= 4
    assert beyond[53:].max() <= 12
    pieces.close()


def test_coarse_pieces_come_from_the_overview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = open_scene(large_scene(tmp_path / "s.tif"), north_up=False)
    layer = tmp_path / "found.gpkg"
    green = np.full((2048, 2048, 3), (0, 120, 0), np.uint8)
    write_overview(layer, green, (5000, 5000), ["a"])
    asked: list[tuple[int, ...]] = []

    def noted(self: Scene, xyxy_px: tuple[int, int, int, int], shape_hw: tuple[int, int] | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN202
        asked.append(xyxy_px)
        return original(self, xyxy_px, shape_hw)

    original = Scene.read_rectangle
    monkeypatch.setattr(Scene, "read_rectangle", noted)
    pieces = CutOuts(scene, overview_path(layer))
    assert abs(pixels(pieces.jpeg((0, 0, 5000, 5000), 256)).mean() - 40) < 3
    assert asked == []
    assert pixels(pieces.jpeg((0, 0, 200, 200), 256)).mean() == pytest.approx(60, abs=3)
    assert asked == [(0, 0, 200, 200)]
    # of another scene it says nothing
    write_overview(layer, green, (4000, 5000), ["a"])
    assert pixels(CutOuts(scene.reopen(), overview_path(layer)).jpeg((0, 0, 2560, 2560), 256)).mean() > 55
    pieces.close()
