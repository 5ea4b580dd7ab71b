"""A registered model, for the tests of registering and of serving; each module that imports the fixtures has its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from fsod.config import PredictSettings
from fsod.steps.register import register_model
from tests.untrained import make_bank

PLAN = PredictSettings(window_px=96, overlap_px=32, score=0.02, precision="float32", batch=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights by chance with their bank, a database, and a folder of scenes with things beside it."""
    folder = tmp_path_factory.mktemp("served model")
    make_bank(folder)
    pixels = np.random.default_rng(0).integers(0, 255, (150, 200, 3)).astype(np.uint8)
    for name in ("image.png", "image.jpg"):
        Image.fromarray(pixels).save(folder / name)
    (folder / "scenes" / "in").mkdir(parents=True)
    for path in (folder / "scenes" / "in" / "scene.tif", folder / "outside.tif"):
        with rasterio.open(
            path, "w", width=200, height=150, count=3, dtype="uint8", crs=32631, transform=from_origin(5e5, 5e6, 1, 1)
        ) as file:
            file.write(pixels.transpose(2, 0, 1))
    (folder / "scenes" / "link.tif").symlink_to(folder / "outside.tif")
    (folder / "scenes" / "text.tif").write_text("not a raster")
    mosaic = f'<VRTDataset rasterXSize="1" rasterYSize="1"><SRS>{folder}</SRS></VRTDataset>'
    (folder / "scenes" / "mosaic.tif").write_text(mosaic)
    return folder


@pytest.fixture(scope="module")
def registered(folder: Path, migrated: Path) -> Iterator[str]:
    """The model as the registry knows it. Registering leaves no store behind that later runs would take for the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        shutil.copy(migrated, folder / "mlflow.db")
        result = register_model(folder / "bank.safetensors", None, "made", "champion", PLAN, folder / "mlflow.db")
        assert "MLFLOW_TRACKING_URI" not in os.environ
        patch.setenv("MLFLOW_TRACKING_URI", result["registry"])
        yield result["model"]
