"""However a raster lies in its file, it is seen with north up and pixels that are square on the ground."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from fsod.boxes import Detections
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene
from tests.geo.rasters import METRES, MakeRaster, all_pixels, noise

ORIENTATIONS = {
    "south up": lambda p: p[:, ::-1],
    "mirrored": lambda p: p[:, :, ::-1],
    "half a turn": lambda p: p[:, ::-1, ::-1],
    "a quarter to the left": lambda p: np.rot90(p, 1, (1, 2)),
    "a quarter to the right": lambda p: np.rot90(p, -1, (1, 2)),
    "transposed": lambda p: p.transpose(0, 2, 1),
}


def laid(pixels: np.ndarray, how: str) -> tuple[np.ndarray, Affine]:
    """Pixels in another order, and the transform that says so; found by where the corners' numbers go."""
    height, width = pixels.shape[1:]
    rows, columns = np.mgrid[:height, :width] + 0.5
    stored = ORIENTATIONS[how](np.stack([columns, rows]))
    (x0, y0), across, down = stored[:, 0, 0], stored[:, 0, 1] - stored[:, 0, 0], stored[:, 1, 0] - stored[:, 0, 0]
    x0, y0 = (x0, y0) - (across + down) / 2
    moved = Affine(across[0], down[0], x0, across[1], down[1], y0)
    return np.ascontiguousarray(ORIENTATIONS[how](pixels)), METRES @ moved


@pytest.mark.parametrize("how", list(ORIENTATIONS))
def test_north_is_up(make_raster: MakeRaster, how: str) -> None:
    pixels = noise(3)
    stored, transform = laid(pixels, how)
    path = make_raster(stored, crs="EPSG:32633", transform=transform)
    with open_scene(path) as scene:
        rgb, _ = all_pixels(scene)
        part, _ = scene.read_rectangle((10, 20, 50, 80))
        assert np.array(scene.georeference.transform) == pytest.approx(np.array(METRES))
    assert (rgb == pixels.transpose(1, 2, 0)).all()
    assert (part == rgb[20:80, 10:50]).all()
    with open_scene(path, north_up=False) as scene:
        assert (all_pixels(scene)[0] == stored.transpose(1, 2, 0)).all()


@pytest.mark.parametrize("how", list(ORIENTATIONS))
def test_what_is_found_counts_in_the_pixels_of_the_file(make_raster: MakeRaster, how: str) -> None:
    pixels = noise(3)
    pixels[:, 20:40, 70:80] = 0
    stored, transform = laid(pixels, how)

    def detect(images: np.ndarray) -> list[Detections]:
        boxes = []
        for image in images:
            rows, columns = np.nonzero((image == 0).all(axis=2)[:80, :120])
            boxes.append(
                [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if len(rows) else np.zeros((0, 4))
            )
        return [
            Detections(np.array(b, np.float64).reshape(-1, 4), np.ones(len(b), np.float32), np.zeros(len(b), np.int64))
            for b in boxes
        ]

    path = make_raster(stored, crs="EPSG:32633", transform=transform)
    result = predict_scene(path, detect, ScenePlan(window_px=128, overlap_px=32, batch=1))
    assert (result.width_px, result.height_px) == stored.shape[:0:-1]
    assert len(result.detections) == 1
    # marks are kept as they are seen, and recognised in the file's pixels
    assert result.upright.boxes_in_file(np.array([[70, 20, 80, 40.0]])) == pytest.approx(
        result.detections.boxes_xyxy_px
    )
    left, top, right, bottom = result.detections.boxes_xyxy_px[0].round().astype(int)
    assert (stored[:, top:bottom, left:right] == 0).all()
    assert (bottom - top) * (right - left) == 200
    corners = result.georeference.to_crs(np.array([[left, top], [right, bottom]], np.float64))
    assert sorted(corners[:, 0]) == pytest.approx([500_070, 500_080])
    assert sorted(corners[:, 1]) == pytest.approx([4_999_960, 4_999_980])


def test_pixels_are_square_on_the_ground(make_raster: MakeRaster) -> None:
    """A square of ground at 66 degrees north is 2.4 times as wide as high in the file, and a square as it is seen."""
    pixels = np.full((3, 240, 480), 200, np.uint8)
    pixels[:, 100:140, 200:297] = 50
    degree_px = 1 / 60_000
    path = make_raster(pixels, crs="EPSG:4326", transform=Affine(degree_px, 0, 15, 0, -degree_px, 65.8))
    with open_scene(path) as scene:
        rgb, _ = all_pixels(scene)
        x_m, y_m = scene.georeference.gsd_xy_m or (0, 0)
        assert scene.file_georeference.gsd_m == pytest.approx(scene.georeference.gsd_m, rel=0.01)
        corner = scene.georeference.to_lonlat(np.array([[scene.width_px, scene.height_px]], np.float64))[0]
    assert x_m == pytest.approx(y_m, rel=0.01)
    assert corner == pytest.approx([15 + 480 * degree_px, 65.8 - 240 * degree_px])
    dark = rgb[..., 0] < 125
    assert dark.any(axis=0).sum() == pytest.approx(dark.any(axis=1).sum(), abs=1)
