from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from fsod.errors import UserError
from fsod.training.photograph_folder import TILE_PX, photographs_sha256, read_photographs
from tests.made_photographs import made_photograph


def write_geotiff(path: Path, bands: np.ndarray, **profile: object) -> None:
    """Writes (bands, H, W)."""
    size = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    where = {"crs": "EPSG:32636", "transform": from_origin(500000, 40000, 0.6, 0.6)}
    with rasterio.open(path, "w", driver="GTiff", **size, **where, **profile) as raster:
        raster.write(bands)


def test_images_and_geotiffs_of_any_depth_are_read_as_rgb(tmp_path: Path) -> None:
    first, second = made_photograph(0), made_photograph(1)
    (tmp_path / "more").mkdir()
    cv2.imwrite(str(tmp_path / "a.png"), first[..., ::-1])
    cv2.imwrite(str(tmp_path / "more" / "b.JPG"), second[..., ::-1])
    deep = np.random.default_rng(0).integers(100, 4000, (4, 96, 80)).astype(np.uint16)
    write_geotiff(tmp_path / "c.tif", deep)
    (tmp_path / "notes.txt").write_text("no photograph")
    read = read_photographs(tmp_path)
    assert [tile.shape for tile in read] == [(128, 128, 3), (96, 80, 3), (128, 128, 3)]
    assert all(tile.dtype == np.uint8 for tile in read)
    assert np.array_equal(read[0], first)
    assert read[1].max() == 255
    assert np.abs(read[2].astype(int) - second).mean() < 6


def test_a_large_scene_becomes_tiles_without_its_empty_parts(tmp_path: Path) -> None:
    side = 2 * TILE_PX + 40
    bands = np.random.default_rng(0).integers(1, 255, (3, side, side)).astype(np.uint8)
    bands[:, : side // 2, : side // 2] = 0
    write_geotiff(tmp_path / "scene.tif", bands, nodata=0)
    read = read_photographs(tmp_path)
    assert [tile.shape for tile in read] == [(side // 2, side // 2, 3)] * 3
    assert np.array_equal(read[0], bands[:, : side // 2, side // 2 :].transpose(1, 2, 0))


def test_of_more_than_fits_some_are_drawn_by_lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"{i}.png"), made_photograph(i))
    whole = read_photographs(tmp_path)
    monkeypatch.setattr("fsod.training.photograph_folder.MOST_BYTES", 4 * whole[0].nbytes)
    some = read_photographs(tmp_path)
    assert len(some) == 4
    assert photographs_sha256(some) == photographs_sha256(read_photographs(tmp_path))
    assert photographs_sha256(some) != photographs_sha256(whole)


def test_what_is_no_folder_of_photographs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder of photographs"):
        read_photographs(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no photograph"):
        read_photographs(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"broken\.png"):
        read_photographs(tmp_path)
    (tmp_path / "broken.png").unlink()
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(UserError, match="no photograph has 64 by 64 valid pixels"):
        read_photographs(tmp_path)
