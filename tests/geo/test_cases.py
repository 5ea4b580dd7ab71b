"""Inputs that failed once, where the folder of them is at hand: what its README says is right."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from scipy.io import netcdf_file

from fsod.boxes import iou
from fsod.data.coco_folder import read_ids
from fsod.errors import UserError
from fsod.geo.labels import read_boxes
from fsod.geo.scene_list import list_scenes
from fsod.geo.scene_opening import open_scene
from fsod.report.found_layer import read_found

CASES = Path(os.environ.get("FSOD_CASES", "../shared/data/cases")).resolve()
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases at {CASES}")


def boxes(labels: str, scene: str = "scene.tif") -> np.ndarray:
    with open_scene(CASES / scene) as opened:
        return read_boxes(CASES / labels, "class", opened).boxes_xyxy_px


@needs_cases
def test_a_dissolved_layer_is_its_six_ships() -> None:
    whole, dissolved = boxes("examples.geojson"), boxes("dissolved.geojson")
    assert len(whole) == len(dissolved) == 6
    assert (iou(whole, dissolved).max(axis=1) > 0.99).all()


@needs_cases
def test_a_layer_with_the_styles_of_qgis_is_one_layer() -> None:
    np.testing.assert_allclose(boxes("layer_styles.gpkg"), boxes("examples.geojson"), atol=0.01)


@needs_cases
def test_a_layer_of_a_scene_beyond_180_lies_on_it() -> None:
    placed = boxes("found_on_lon_0_to_360.geojson", "lon_0_to_360.tif")
    found = read_found(CASES / "found_on_lon_0_to_360.geojson")
    assert len(placed) == len(found.scores) > 0
    np.testing.assert_allclose(placed, np.clip(found.boxes_xyxy_px, 0, 900), atol=0.5)


@needs_cases
def test_a_layer_saved_in_the_projects_crs_is_listed_in_degrees() -> None:
    found = read_found(CASES / "saved_in_utm.geojson")
    assert found.lonlat is not None
    centres = (found.boxes_xyxy_px[:, :2] + found.boxes_xyxy_px[:, 2:]) / 2
    with rasterio.open(CASES / "scene.tif") as scene:
        x, y = scene.transform * centres.T
        degrees = pyproj.Transformer.from_crs(scene.crs, "EPSG:4326", always_xy=True).transform(x, y)
    np.testing.assert_allclose(found.lonlat, np.stack(degrees, axis=1), atol=1e-6)


@needs_cases
def test_a_list_with_a_byte_order_mark_names_one_scene() -> None:
    assert list_scenes([str(CASES / "scenes_with_bom.txt")]) == ["scene.tif"]


def test_lists_of_ids_and_of_classes_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "list.txt").write_text("a1\nb2\n", encoding=encoding)
        assert read_ids(tmp_path / "list.txt") == ["a1", "b2"]


def test_a_container_of_several_rasters_names_them(tmp_path: Path) -> None:
    """As netCDF and HDF are; a GeoPackage has its own drivers everywhere."""
    path = tmp_path / "two.gpkg"
    for table in ("red", "green"):
        with rasterio.open(
            path, "w", driver="GPKG", width=64, height=64, count=3, dtype="uint8", crs=3857,
            transform=rasterio.transform.from_origin(0, 0, 1, 1), RASTER_TABLE=table,
            APPEND_SUBDATASET="YES" if path.exists() else "NO",
        ) as file:  # fmt: skip
            file.write(np.full((3, 64, 64), 9, np.uint8))
    with pytest.raises(
        UserError, match=r"holds no pixels of its own; it holds 2 rasters, name one: GPKG:.*:red, GPKG:"
    ):
        open_scene(path)
    with open_scene(f"GPKG:{path}:red") as scene:
        assert (scene.width_px, scene.height_px) == (64, 64)


def test_a_netcdf_of_several_rasters_names_them(tmp_path: Path) -> None:
    path = tmp_path / "two.nc"
    with netcdf_file(path, "w") as file:
        file.createDimension("y", 8)
        file.createDimension("x", 8)
        for name in ("red", "blue"):
            file.createVariable(name, "h", ("y", "x"))[:] = np.arange(64).reshape(8, 8)
    with pytest.raises(
        UserError, match=r"name one: netcdf:.*two\.nc:red, netcdf:.*two\.nc:blue \(or stack them: gdalb"
    ):
        open_scene(path)
    with open_scene(f"netcdf:{path}:red") as scene, scene.reopen() as again:
        assert again.read_rectangle((0, 0, 8, 8))[0].shape == (8, 8, 3)
