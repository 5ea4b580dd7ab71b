"""A scene with bright rectangles, and vector files of labels around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.warp
import shapely
from affine import Affine

from data_prep.label_files import LabelSettings
from fsod.geo.layer_table import corners_px

BOXES = np.array([[10, 20, 50, 60], [70, 5, 90, 25], [100, 70, 120, 90]], dtype=np.float64)
CLASSES = ["tank", "tank", "ship"]
STRAIGHT = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
ROTATED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(25) @ Affine.scale(0.5, -0.5)
BY_CLASS = LabelSettings("class")


def make_scene(
    path: Path,
    boxes: np.ndarray = BOXES,
    size: tuple[int, int] = (130, 100),
    crs: str | None = "EPSG:32633",
    transform: Affine | None = STRAIGHT,
    dtype: str = "uint8",
    ground: int = 40,
) -> Path:
    """A raster (width, height), grey noise with a bright rectangle for each box."""
    path.parent.mkdir(exist_ok=True)
    pixels = ground + np.random.default_rng(0).integers(0, 5, (3, size[1], size[0]))
    for x1, y1, x2, y2 in boxes.round().astype(int):
        pixels[:, y1:y2, x1:x2] = 200
    with rasterio.open(
        path, "w", driver="GTiff", width=size[0], height=size[1], count=3, dtype=dtype, crs=crs, transform=transform
    ) as file:
        file.write((pixels * (20 if dtype == "uint16" else 1)).astype(dtype))
    return path


def save_labels(
    path: Path, scene: Path, boxes: np.ndarray = BOXES, crs: str | None = None, names: list[Any] | None = None
) -> Path:
    """Polygons around boxes of a scene's pixels, in ``crs`` or the scene's own; GDAL takes them there, not pyproj."""
    path.parent.mkdir(exist_ok=True)
    rings = corners_px(boxes)
    with rasterio.open(scene) as file:
        x, y = file.transform @ (rings[..., 0].ravel(), rings[..., 1].ravel())
        if crs is not None:
            x, y = rasterio.warp.transform(file.crs, crs, x, y)
        polygons = shapely.polygons(np.stack([x, y], axis=-1).reshape(rings.shape))
        columns = {"class": names or CLASSES[: len(boxes)]}
        geopandas.GeoDataFrame(columns, geometry=polygons, crs=crs or file.crs).to_file(path)
    return path
