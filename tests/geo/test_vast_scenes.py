"""Scenes that are larger than anybody can wait for: what it will take is said at once, or why it is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_prediction import predict_scene

MOST_PX = 2**31 - 1
"""Of a side, as GDAL counts."""


def find_nothing(images: NDArray[np.uint8]) -> list[Detections]:
    return [Detections(np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int64)) for _ in images]


def mosaic(path: Path, kind: str) -> Path:
    band = f'<VRTRasterBand dataType="{kind}" band="1"/>'
    path.write_text(f'<VRTDataset rasterXSize="{MOST_PX}" rasterYSize="{MOST_PX}">{band}</VRTDataset>')
    return path


def header(path: Path, side_px: int, bits: int = 8) -> Path:
    """A TIFF in strips of which nothing but the header is there."""
    tags = {256: side_px, 257: side_px, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4))
    return path


def sparse(path: Path, kind: str) -> Path:
    """A TIFF of 300,000 px a side in which no pixel is written."""
    shape = {"width": 300_000, "height": 300_000, "count": 1, "dtype": kind}
    tiles = {"tiled": True, "blockxsize": 1024, "blockysize": 1024, "compress": "deflate", "SPARSE_OK": "TRUE"}
    with rasterio.open(path, "w", driver="GTiff", BIGTIFF="YES", **shape, **tiles):
        pass
    return path


def one_bit(path: Path, side_px: int = 60_000, rows_at_once: int = 600) -> Path:
    """A black PNG of one bit a pixel."""
    rows = bytes((1 + (side_px + 7) // 8) * rows_at_once)
    times = side_px // rows_at_once
    press = zlib.compressobj(9)
    begin = press.compress(b"") + press.flush(zlib.Z_FULL_FLUSH)
    # what stands between two full flushes depends on nothing before it
    piece = press.compress(rows) + press.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(times):
        checksum = zlib.adler32(rows, checksum)
    stream = begin + piece * times + b"\x03\x00" + struct.pack(">I", checksum)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0), b"IDAT": stream, b"IEND": b""}
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in chunks.items():
            file.write(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))
    return path


class AnnouncedError(Exception):
    """The test has seen what it wanted; the search itself would take hours."""


def announced(path: Path) -> tuple[int, tuple[str, ...]]:
    """How many windows are announced before the first, and with which warnings."""
    said: list[tuple[int, tuple[str, ...]]] = []

    def announce(scene: Scene, resumed: int, windows: int) -> None:
        assert resumed == 0
        said.append((windows, scene.warnings))
        raise AnnouncedError

    with pytest.raises(AnnouncedError):
        predict_scene(path, find_nothing, on_open=announce)
    return said[0]


@pytest.mark.parametrize("kind", ["Byte", "UInt16", "Float32"])
def test_a_mosaic_of_two_thousand_million_pixels_a_side_is_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(
        UserError, match=r"mosaic\.vrt: 2147483647x2147483647 px are 2\.0e\+13 windows, and more than 10,000"
    ):
        predict_scene(mosaic(tmp_path / "mosaic.vrt", kind), find_nothing)


@pytest.mark.parametrize(
    ("side_px", "bits", "why"),
    [
        (MOST_PX, 8, "is stored in pieces of 2147483647x1 px, so that 2568 GB would be read"),
        (MOST_PX, 16, "is stored in pieces of 2147483647x1 px, so that 5136 GB would be read"),
        (MOST_PX + 1, 8, "cannot be opened as a raster .*Too large image size"),
        (2**32 - 1, 8, "cannot be opened as a raster "),
    ],
)
def test_a_header_that_claims_so_many_is_one_line(tmp_path: Path, side_px: int, bits: int, why: str) -> None:
    with pytest.raises(UserError, match=rf"header\.tif: {why}"):
        predict_scene(header(tmp_path / "header.tif", side_px, bits), find_nothing)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_sparse_scene_says_what_it_will_take(tmp_path: Path, kind: str) -> None:
    path = sparse(tmp_path / "sparse.tif", kind)
    windows, warnings = announced(path)
    assert windows == 625**2
    assert any("brightness is scaled by 64 places" in line for line in warnings) == (kind == "uint16")
    with open_scene(path) as scene, pytest.raises(UserError, match=r"has no overviews, and all its 9e\+10 pixels"):
        scene.read_reduced(2048)


def test_a_picture_of_one_bit_says_what_it_will_take(tmp_path: Path) -> None:
    path = one_bit(tmp_path / "bits.png")
    assert path.stat().st_size < 1_000_000
    windows, _ = announced(path)
    assert windows == 125**2
    with open_scene(path) as scene:  # else rows that are decoded one after the other would be for each window of a row
        assert scene.row_bytes(640) > 1.1 * 640 * 60_000


@pytest.mark.parametrize(("width_px", "height_px"), [(2_000, 60_000), (60_000, 2_000)])
def test_blocks_of_a_row_of_windows_are_kept_whichever_way_it_runs_in_the_file(
    tmp_path: Path, width_px: int, height_px: int
) -> None:
    """A row of windows runs down the columns of a file that lies on its side."""
    on_its_side = rasterio.Affine(0, 0.5, 500_000, -0.5, 0, 5_000_000)
    shape = {"width": width_px, "height": height_px, "count": 1, "dtype": "uint8", "SPARSE_OK": "TRUE"}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    path = tmp_path / "s.tif"
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32631", transform=on_its_side, **shape, **tiles):
        pass
    with open_scene(path) as scene:
        assert (scene.grid_width_px, scene.grid_height_px) == (height_px, width_px)
        # three tiles, or as many as there are, for each of those along the row
        assert scene.row_bytes(640) > min(3 * 512, width_px) * height_px
        assert scene.row_bytes(640) < 5 * 512 * height_px
