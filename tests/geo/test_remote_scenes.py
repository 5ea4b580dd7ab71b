"""Scenes behind URLs, read from a server on this machine by ranges."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import SceneResult, predict_scene

SIZE_PX = 512


def bright_squares(images: NDArray[np.uint8]) -> list[Detections]:
    found = []
    for image in images:
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8), connectivity=4)
        boxes = stats[1:, :4].astype(np.float64)
        boxes[:, 2:] += boxes[:, :2]
        found.append(Detections(boxes, np.full(len(boxes), 0.8, np.float32), np.zeros(len(boxes), np.int64)))
    return found


def search(scene: str | Path) -> SceneResult:
    return predict_scene(scene, bright_squares, ScenePlan(window_px=128, overlap_px=32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served")
    pixels = np.full((3, SIZE_PX, SIZE_PX), 40, np.uint8)
    pixels[:, ::2, ::2] += 1
    for at in range(10, SIZE_PX - 30, 60):
        pixels[:, at : at + 20, 7:27] = pixels[:, 11:31, at : at + 20] = pixels[:, at : at + 20, at : at + 20] = 250
    with rasterio.open(path / "scene.tif", "w", driver="GTiff", width=SIZE_PX, height=SIZE_PX, count=3, dtype="uint8",
                       tiled=True, blockxsize=128, blockysize=128, crs="EPSG:32633",
                       transform=Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)) as file:  # fmt: skip
        file.write(pixels)
    return path


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    program = [sys.executable, str(Path(__file__).with_name("range_server.py")), str(folder)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


def expected(folder: Path) -> list[list[float]]:
    found = search(folder / "scene.tif").detections.boxes_xyxy_px.tolist()
    assert len(found) > 20
    return found


@pytest.mark.parametrize("form", ["/vsicurl/http://{}/scene.tif", "http://{}/scene.tif"])
def test_a_scene_behind_a_url_gives_what_the_file_gives(folder: Path, address: str, form: str) -> None:
    result = search(form.format(address))
    assert result.detections.boxes_xyxy_px.tolist() == expected(folder)
    assert result.gsd_m == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("form", ["/vsis3/bucket/scene.tif", "s3://bucket/scene.tif"])
def test_a_scene_in_an_object_store(folder: Path, address: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_S3_ENDPOINT": address,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():
        monkeypatch.setenv(name, value)
    assert search(form).detections.boxes_xyxy_px.tolist() == expected(folder)


def test_a_busy_server_is_asked_again(folder: Path, address: str) -> None:
    result = search(f"http://{address}/busy/scene.tif")
    assert result.detections.boxes_xyxy_px.tolist() == expected(folder)


@pytest.mark.parametrize("form", ["/vsicurl/http://{}/absent.tif", "http://{}/absent.tif", "http://127.0.0.1:1/a.tif"])
def test_a_url_that_leads_nowhere_is_one_line(address: str, form: str) -> None:
    name = form.format(address)
    with pytest.raises(UserError) as raised:
        search(name)
    assert str(raised.value).startswith(f"{name}: cannot be opened as a raster (")
    assert "\n" not in str(raised.value)


def test_a_server_that_fails_on_the_way_names_the_window(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with pytest.raises(UserError, match=r"scene.tif: damaged or cut short: pixels of columns \d+") as raised:
        search(f"http://{address}/broken/scene.tif")
    assert "\n" not in str(raised.value)
