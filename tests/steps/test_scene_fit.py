"""A scene that is unlike the examples is said to be so before it is searched, and one like them is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin

from fsod.band_rule import BandRule
from fsod.errors import UserError
from fsod.geo.scene_opening import open_scene
from fsod.image_look import Look, look_of
from fsod.steps.scene_fit import misfit
from tests.test_image_look import blobs

THREE = (BandRule(bands=(1, 2, 3), count=3, chosen="default"),)


@pytest.mark.parametrize(
    ("own_m", "seen_m", "bands", "says"),
    [
        (0.5, None, 3, ""),
        (0.7, None, 3, ""),
        (0.2, 0.5, 3, ""),
        (1.0, None, 3, "its pixels are 1 m, those of the examples 0.5 m, so details are missing"),
        (
            0.2,
            None,
            3,
            "is searched at 0.2 m per pixel, and the classes were learned at 0.5 m, so objects are seen larger",
        ),
        (
            0.5,
            1.0,
            3,
            "is searched at 1 m per pixel, and the classes were learned at 0.5 m, so objects are seen smaller",
        ),
        (0.5, None, 4, "it has 4 bands, the examples' 3"),
    ],
)
def test_what_differs_is_said(tmp_path: Path, own_m: float, seen_m: float | None, bands: int, says: str) -> None:
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, own_m, own_m)}
    pixels = np.random.default_rng(0).integers(0, 255, (bands, 64, 64)).astype(np.uint8)
    with rasterio.open(
        tmp_path / "s.tif", "w", driver="GTiff", width=64, height=64, count=bands, dtype="uint8", **place
    ) as file:
        file.write(pixels)
    with open_scene(tmp_path / "s.tif", gsd_m=seen_m) as scene:
        said = misfit(scene, 0.5, 1.0, THREE, ())
        assert misfit(scene, None, 1.0, (), ()) == []
    assert len(said) == bool(says) + (says.endswith("details are missing")), "it is searched as coarse as it is, too"
    assert not says or f"s.tif: {says}" in said[-1]


def test_a_picture_is_searched_as_many_times_as_large_as_the_examples(tmp_path: Path) -> None:
    Image.fromarray(blobs()).save(tmp_path / "s.png")
    with open_scene(tmp_path / "s.png", enlargement=2.0) as scene:
        assert misfit(scene, None, 2.0, (), ()) == []
        assert misfit(scene, 0.5, 2.0, (), ()) == [], "of which nobody knows how large its pixels are"
    with open_scene(tmp_path / "s.png") as scene:
        (said,) = misfit(scene, None, 2.0, (), ())
    assert "is searched 1 times as large as it is, and the examples were 2 times, so objects are seen smaller" in said


def test_another_look_is_said_unless_one_of_the_examples_looked_like_that(tmp_path: Path) -> None:
    def scene(name: str, pixels: NDArray[np.uint8]) -> Path:
        Image.fromarray(pixels).save(tmp_path / name)
        return tmp_path / name

    like = blobs()
    dark = scene("dark.png", (like // 5).astype(np.uint8))
    with open_scene(scene("like.png", like)) as opened:
        shown = look_of([opened.read_rectangle((0, 0, 256, 256))])
        assert shown is not None
        assert misfit(opened, None, 1.0, (), (shown,)) == []
    with open_scene(dark) as opened:
        (said,) = misfit(opened, None, 1.0, (), (shown,))
        own = look_of([opened.read_rectangle((0, 0, 256, 256))])
        assert own is not None
        assert misfit(opened, None, 1.0, (), (shown, own)) == []
    assert "dark.png: it is 5." in said
    assert "times as dark as the examples" in said


def test_a_scene_that_cannot_be_read_is_left_to_the_search(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    Image.fromarray(blobs()).save(path, compression="tiff_adobe_deflate")
    whole = path.read_bytes()
    quarter = len(whole) // 4
    path.write_bytes(whole[:quarter] + bytes(2 * quarter) + whole[3 * quarter :])
    look = Look(brightness=1.0, contrast=1.0, sharpness=1.0)
    with open_scene(path) as opened:
        with pytest.raises(UserError, match="cannot be read"):
            opened.read_reduced(100)
        assert misfit(opened, None, 1.0, (), (look,)) == []
