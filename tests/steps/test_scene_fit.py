"""A scene that is unlike the examples is said to be so before it is searched, and one like them is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from fsod.band_rule import BandRule
from fsod.geo.scene_opening import open_scene
from fsod.steps.scene_fit import misfit

THREE = (BandRule(bands=(1, 2, 3), count=3, chosen="default"),)


@pytest.mark.parametrize(
    ("own_m", "seen_m", "bands", "says"),
    [
        (0.5, None, 3, ""),
        (0.7, None, 3, ""),
        (0.2, 0.5, 3, ""),
        (1.0, None, 3, "its pixels are 1 m, those of the examples 0.5 m, so details are missing"),
        (0.2, None, 3, "its pixels are 0.2 m, those of the examples 0.5 m, so objects are seen larger"),
        (0.5, None, 4, "it has 4 bands, the examples' 3"),
    ],
)
def test_what_differs_is_said_in_one_line(
    tmp_path: Path, own_m: float, seen_m: float | None, bands: int, says: str
) -> None:
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, own_m, own_m)}
    pixels = np.random.default_rng(0).integers(0, 255, (bands, 64, 64)).astype(np.uint8)
    with rasterio.open(
        tmp_path / "s.tif", "w", driver="GTiff", width=64, height=64, count=bands, dtype="uint8", **place
    ) as file:
        file.write(pixels)
    with open_scene(tmp_path / "s.tif", gsd_m=seen_m) as scene:
        said = misfit(scene, 0.5, 1.0, THREE)
        assert misfit(scene, None, 1.0, ()) == []
    assert len(said) == bool(says)
    assert not says or f"s.tif: {says}; less may be found" in said[0]
