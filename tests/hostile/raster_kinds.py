"""Scenes of strangers: rasters in several formats with what lies beside them, and the journals of their search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.shutil import copy as copy_raster
from rasterio.transform import from_origin

from fsod.boxes import Detections
from fsod.geo.journal import _line, _parse, files_fingerprint
from fsod.geo.resume import ResumeFrom
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene
from fsod.geo.windows import window_grid
from tests.hostile.kind import Kind
from tests.painted import write

SIDE_PX = 96
UTM = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}


def pixels(bands: int, dtype: str = "uint8", high: int = 255) -> NDArray[Any]:
    """(bands, 96, 96) of chance."""
    return np.random.default_rng(0).integers(1, high, (bands, SIDE_PX, SIDE_PX)).astype(dtype)


def raster(path: Path, content: NDArray[Any], driver: str = "GTiff", **profile: Any) -> Path:
    """A raster of these pixels."""
    count, height, width = content.shape
    about = {"count": count, "height": height, "width": width, "dtype": content.dtype}
    with rasterio.open(path, "w", driver=driver, **{**about, **UTM, **profile}) as file:
        file.write(content)
    return path


def make_tiff(folder: Path) -> None:
    """8 bits, tiled and compressed."""
    raster(folder / "scene.tif", pixels(3), tiled=True, blockxsize=32, blockysize=32, compress="deflate")


def make_deep_tiff(folder: Path) -> None:
    """16 bits in strips, nodata declared."""
    raster(folder / "scene.tif", pixels(4, "uint16", 4000), compress="lzw", nodata=0)


def make_float_tiff(folder: Path) -> None:
    """Float with ground control points."""
    corners = [(0, 0), (0, 95), (95, 0), (95, 95)]
    gcps = [GroundControlPoint(r, c, 15 + c * 1e-5, 45 - r * 1e-5) for r, c in corners]
    raster(folder / "scene.tif", pixels(1, "float32", 4000), gcps=gcps, crs="EPSG:4326", transform=None)


def make_palette_png(folder: Path) -> None:
    """A PNG with a palette, a world file and GDAL's sidecar."""
    image = Image.fromarray(pixels(1)[0]).convert("P")
    image.save(folder / "scene.png")
    write(folder / "scene.wld", "0.5\n0\n0\n-0.5\n500000\n5000000\n")
    with rasterio.open(folder / "scene.png") as file:
        wkt = rasterio.CRS.from_epsg(32633).to_wkt()
        size = file.width
    band = f'<PAMRasterBand band="1"><NoDataValue>{size}</NoDataValue></PAMRasterBand>'
    write(folder / "scene.png.aux.xml", f"<PAMDataset><SRS>{wkt}</SRS>{band}</PAMDataset>")


def make_one_bit_png(folder: Path) -> None:
    """Black and white."""
    Image.fromarray(pixels(1)[0] > 127).save(folder / "scene.png")


def make_jpeg(folder: Path) -> None:
    """With a world file and a projection beside it."""
    Image.fromarray(pixels(3).transpose(1, 2, 0)).save(folder / "scene.jpg")
    write(folder / "scene.jgw", "0.5\n0\n0\n-0.5\n500000\n5000000\n")
    write(folder / "scene.prj", rasterio.CRS.from_epsg(32633).to_wkt())


def make_vrt(folder: Path) -> None:
    """A view of a TIFF."""
    copy_raster(raster(folder / "source.tif", pixels(3)), folder / "scene.vrt", driver="VRT")


def read_scene(folder: Path) -> None:
    """As ``fsod predict`` does: its whole, its first and its last window."""
    for path in [*folder.glob("scene.tif"), *folder.glob("scene.vrt"), *folder.glob("scene.[pj][np]g")]:
        with open_scene(path) as scene:
            scene.read_reduced(256)
            grid = window_grid(scene.grid_width_px, scene.grid_height_px, 64, 32)
            for window in (grid[0], grid[-1]):
                scene.read_window(window)
            files_fingerprint(scene.files)
        if scene.width_px == SIDE_PX:
            predict_scene(path, find_nothing, ScenePlan(window_px=96, overlap_px=32, batch=1))


def find_nothing(images: NDArray[np.uint8]) -> list[Detections]:
    """A detector."""
    return [Detections(np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int64)) for _ in images]


def find_one(images: NDArray[np.uint8]) -> list[Detections]:
    """A detector."""
    box = np.array([[10.0, 10.0, 30.0, 30.0]])
    return [Detections(box, np.full(1, 0.5, np.float32), np.zeros(1, np.int64)) for _ in images]


def make_journal(folder: Path) -> None:
    """Of a run that was killed at its end."""
    raster(folder / "scene.tif", pixels(3))
    search_with_journal(folder)


def search_with_journal(folder: Path) -> None:
    """A run that goes on from its journal."""
    journal = folder / "found.journal"
    if journal.exists():
        first, end, rest = journal.read_bytes().partition(b"\n")
        header = _parse(first + end)
        if header is not None and "scene" in header:  # files have been copied since, which is another scene
            header["scene"] = files_fingerprint((str(folder / "scene.tif"),))
            journal.write_bytes(_line(header) + rest)
    predict_scene(
        folder / "scene.tif",
        find_one,
        ScenePlan(window_px=64, overlap_px=32, batch=1),
        resume=ResumeFrom(journal, {"weights": "w", "score": 0.2}),
    )


SUFFIXES = (".tif", ".png", ".jpg", ".vrt", ".wld", ".jgw", ".prj", ".aux.xml")
RASTERS = (make_tiff, make_deep_tiff, make_float_tiff, make_palette_png, make_one_bit_png, make_jpeg, make_vrt)
RASTER_KINDS = (
    *(Kind(f"raster {make.__name__[5:]}", make, SUFFIXES, read_scene) for make in RASTERS),
    Kind("journal", make_journal, (".journal",), search_with_journal),
)
