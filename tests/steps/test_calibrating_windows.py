"""Which windows of scenes the ranges of an 8-bit network are taken from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from fsod.errors import UserError
from fsod.steps.calibrating_windows import WANTED, calibrating_windows
from tests.inference.one_box_a_cell import SIDE_PX, header_of

HEADER = header_of(("one", "other"), (0.5, 0.5), "int8")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def scene(path: Path, width: int, height: int, high: int = 255) -> str:
    rgb = np.random.default_rng(0).integers(0, high, (3, height, width)).astype(np.uint8)
    with rasterio.open(path, "w", driver="GTiff", width=width, height=height, count=3, dtype="uint8") as file:
        file.write(rgb)
    return str(path)


def test_they_are_spread_over_all_scenes(tmp_path: Path) -> None:
    large, small = scene(tmp_path / "large.tif", 700, 500), scene(tmp_path / "small.tif", 40, 50)
    windows = calibrating_windows([large, small], HEADER)
    assert windows.shape == (WANTED // 2 + 1, SIDE_PX, SIDE_PX, 3)
    assert not windows[-1, 50:].any()  # a scene smaller than a window is padded as in a search
    assert windows[-1, :50, :40].any()
    assert len(np.unique(windows[:-1].reshape(WANTED // 2, -1), axis=0)) == WANTED // 2


def test_scenes_without_anything_to_see_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="shows nothing; give scenes like those"):
        calibrating_windows([scene(tmp_path / "black.tif", 100, 100, high=1)], HEADER)
