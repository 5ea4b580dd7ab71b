"""The eleven real rasters, each with its own trouble."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.warp import transform as gdal_transform

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import SceneResult, predict_scene

FOLDER = Path(os.environ.get("FSOD_SHARED", "../shared")) / "data" / "geotiff"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"real rasters are not here: {FOLDER}")

# file: ground GSD in metres, share of valid pixels, what the warnings speak of
EXPECTED = {
    "alpha_nodata_32750": (0.353, 0.876, []),
    "bridge_vehicles_3395": (0.097, 1.0, []),
    "cars_26913_cog": (0.150, 1.0, []),
    "float_nan": (156.7, 0.431, []),
    "gcps_no_crs": (201.8, 0.98, ["210 ground control points", "rotated", "0 fills 2% of it"]),
    "mostly_empty_8448px_cog": (59.6, 1.0, []),
    "oil_tanks_3857_rgba": (1.166, 1.0, []),
    "rotated_affine": (None, 1.0, ["no CRS"]),
    "uint16_nodata_32618": (300.2, 0.675, []),
    "uint16_pan_4326": (0.270, 1.0, ["0.243 x 0.3 m"]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_opens_as_what_it_is(name: str) -> None:
    gsd_m, valid_share, warnings = EXPECTED[name]
    with open_scene(FOLDER / f"{name}.tif") as scene:
        assert scene.georeference.gsd_m == (None if gsd_m is None else pytest.approx(gsd_m, rel=2e-3))
        assert len(scene.warnings) == len(warnings)
        assert all(part in text for part, text in zip(warnings, scene.warnings, strict=True))
        rgb, valid = scene.read_reduced(500)
    assert valid.mean() == pytest.approx(valid_share, abs=0.005)
    if name != "mostly_empty_8448px_cog":
        # an analyst can see something: neither black nor washed out
        assert 10 < rgb[valid].mean() < 245
        assert rgb[valid].std() > 15


def everywhere(images: NDArray[np.uint8]) -> list[Detections]:
    """Boxes of 20 px on a lattice of 40 px, whatever the pixels say."""
    x, y = (a.ravel() for a in np.meshgrid(np.arange(10.0, 610, 40), np.arange(10.0, 610, 40)))
    boxes = np.stack([x, y, x + 20, y + 20], axis=1)
    one = Detections(boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int64))
    return [one for _ in images]


@cache
def searched(path: Path) -> SceneResult:
    return predict_scene(path, everywhere)


def layer_of(result: SceneResult) -> Layer:
    size_px = result.width_px, result.height_px
    attributes = {"gsd_m": result.gsd_m}
    return Layer(result.detections, ["thing"], result.georeference, result.scene, size_px, attributes)


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg"])
@pytest.mark.parametrize("name", EXPECTED)
def test_each_gives_a_layer_in_the_right_place(name: str, suffix: str, tmp_path: Path) -> None:
    path = FOLDER / f"{name}.tif"
    result = searched(path)
    boxes = result.detections.boxes_xyxy_px
    out = tmp_path / f"out{suffix}"
    write_layer(out, layer_of(result))
    layer = geopandas.read_file(out)
    assert len(layer) == len(boxes)
    if name in ("mostly_empty_8448px_cog", "rotated_affine"):
        # nothing in it but zeros; and 10 x 15 px are too few for these boxes
        assert len(layer) == 0
        return
    assert len(layer) > 20
    with rasterio.open(path) as dataset:
        if name == "gcps_no_crs":
            # the truth is each control point; the affine fit is off by up to 2.8 px there
            inverse = ~result.georeference.transform
            off_px = [np.hypot(*(np.array(inverse @ (p.x, p.y)) - (p.col, p.row))) for p in dataset.gcps[0]]
            assert max(off_px) < 3
            return
        for geometry, box in zip(layer.geometry, boxes, strict=True):
            # back into the scene by GDAL's own transformation, which had no part in writing it
            x, y = gdal_transform(layer.crs.to_wkt(), dataset.crs, *shapely.get_coordinates(geometry).T.tolist())
            columns, rows = ~dataset.transform @ [np.array(x), np.array(y)]
            assert np.abs([columns.min(), rows.min(), columns.max(), rows.max()] - box).max() < 0.1
        masks = dataset.read_masks(1) if name != "float_nan" else np.isfinite(dataset.read(1)) * 255
    for x1, y1, x2, y2 in boxes.astype(int):
        assert (masks[y1:y2, x1:x2] > 0).mean() > 0.45


def test_the_damaged_one_names_file_and_pixels_and_can_be_skipped() -> None:
    path = FOLDER / "corrupt_blocks.tif"
    with pytest.raises(
        UserError, match=r"corrupt_blocks.tif: damaged or cut short: pixels of columns 0 to 640, rows 0 to"
    ):
        predict_scene(path, everywhere)
    result = predict_scene(path, everywhere, ScenePlan(window_px=256, overlap_px=32, skip_damaged=True))
    assert 0 < len(result.damaged) < result.windows_run
    assert len(result.detections) > 20


def test_run_at_the_gsd_of_a_bank(tmp_path: Path) -> None:
    result = predict_scene(FOLDER / "oil_tanks_3857_rgba.tif", everywhere, ScenePlan(gsd_m=0.5))
    assert result.gsd_m == pytest.approx(0.5, rel=0.01)
    assert result.windows_run == 4 * 2
    with pytest.raises(UserError, match="too coarse"):
        predict_scene(FOLDER / "uint16_nodata_32618.tif", everywhere, ScenePlan(gsd_m=0.5))
    with open_scene(FOLDER / "cars_26913_cog.tif", gsd_m=0.15) as scene:
        assert (scene.grid_width_px, scene.grid_height_px) == (383, 232)


def test_an_empty_scene_still_says_what_was_run(tmp_path: Path) -> None:
    result = searched(FOLDER / "mostly_empty_8448px_cog.tif")
    assert (result.windows_run, result.windows_blank) == (0, 18 * 18)
    out = tmp_path / "out.geojson"
    write_layer(out, layer_of(result))
    assert json.loads(out.read_text())["run"]["gsd_m"] == pytest.approx(59.6, abs=0.1)
