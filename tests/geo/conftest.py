from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter


@pytest.fixture
def make_raster(tmp_path: Path) -> Callable[..., Path]:
    """Writes (bands, h, w) pixels as a GeoTIFF; keywords go to rasterio; ``prepare`` gets the dataset first."""

    def make(
        pixels: np.ndarray,
        name: str = "scene.tif",
        prepare: Callable[[DatasetWriter], object] | None = None,
        **profile: object,
    ) -> Path:
        path = tmp_path / name
        count, height, width = pixels.shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", driver="GTiff", width=width, height=height, count=count, dtype=pixels.dtype, **profile
            ) as dataset:
                if prepare is not None:
                    prepare(dataset)
                dataset.write(pixels)
        return path

    return make
