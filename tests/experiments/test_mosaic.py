from __future__ import annotations

import numpy as np
import pytest
import rasterio

from experiments.mosaic.build import Mosaic, build_mosaic
from experiments.mosaic.seams import leave_out_large, seam_errors, seen, small_objects
from fsod.boxes import Detections
from fsod.data.coco_folder import CocoFolder, read_image
from fsod.geo.merge import SeamMerger
from fsod.geo.windows import window_grid
from tests.made_folder import NAMES, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    return make_folder(tmp_path_factory.mktemp("made") / "folder", images=7)


@pytest.fixture(scope="module")
def mosaic(folder: CocoFolder, tmp_path_factory: pytest.TempPathFactory) -> Mosaic:
    return build_mosaic(folder, tmp_path_factory.mktemp("mosaic") / "scene.tif", longest_px=700)


def truth(folder: CocoFolder) -> dict[int, Detections]:
    return {
        image.id: Detections(image.boxes_xyxy_px, np.full(len(image.class_ids), 0.9, np.float32), image.class_ids)
        for image in folder.images
    }


def test_every_image_is_in_the_scene_and_nothing_is_plain(mosaic: Mosaic) -> None:
    with rasterio.open(mosaic.path) as scene:
        assert scene.crs.to_epsg() == 32633
        pixels = scene.read().transpose(1, 2, 0)
    assert pixels.shape == (mosaic.height_px, mosaic.width_px, 3)
    assert len({(left, top) for _, left, top in mosaic.placed}) == len(mosaic.placed) == 7
    for image, left, top in mosaic.placed:
        inside = pixels[top : top + image.height_px, left : left + image.width_px]
        np.testing.assert_array_equal(inside, read_image(image))
        assert left % 32 == top % 32 == 0
    assert pixels.any(axis=-1).all()


def test_detections_find_their_way_to_the_scene_and_back(folder: CocoFolder, mosaic: Mosaic) -> None:
    scene = mosaic.to_scene(truth(folder))
    beyond = mosaic.width_px - 10.0, mosaic.height_px - 10.0
    at_the_end = Detections(np.array([[*beyond, *np.add(beyond, 8)]]), np.ones(1, np.float32), np.zeros(1, np.int64))
    back, between = mosaic.to_images(Detections.concatenate([scene, at_the_end]))
    assert between == 1  # the last row is not full
    for image in folder.images:
        np.testing.assert_allclose(back[image.id].boxes_xyxy_px, image.boxes_xyxy_px)


def test_a_perfect_detector_makes_no_errors_and_others_are_noticed(folder: CocoFolder, mosaic: Mosaic) -> None:
    grid = window_grid(mosaic.width_px, mosaic.height_px, 128, 64)
    known, alone = small_objects(folder, 64), truth(folder)
    merger = SeamMerger(0.5, 0.9)
    for window in grid:
        merger.add(window, seen(mosaic.to_scene(alone), window))
    merged, _ = mosaic.to_images(merger.result())

    def errors(now: dict[int, Detections]) -> dict[str, int]:
        found = seam_errors(mosaic, known, grid, alone, now, alone, list(NAMES), 0.25)
        return {what: found["at_seams"][what] + found["elsewhere"][what] for what in found["at_seams"]}

    objects = sum(len(image.class_ids) for image in folder.images)
    none = {"objects": objects, "twice": 0, "lost": 0, "gained": 0, "dropped": 0}
    assert errors(merged) == none
    first = folder.images[0].id
    doubled = {**alone, first: Detections.concatenate([alone[first], alone[first].select(np.arange(1))])}
    assert errors(doubled) == {**none, "twice": 1}
    missing = {**alone, first: alone[first].select(np.arange(1, len(alone[first])))}
    assert errors(missing) == {**none, "lost": 1, "dropped": 1}


def test_what_is_larger_than_the_overlap_counts_neither_way(folder: CocoFolder) -> None:
    image = folder.images[0]
    sides = image.boxes_xyxy_px[:, 2] - image.boxes_xyxy_px[:, 0]
    limit = float(np.median(sides))
    known = small_objects(folder, limit).images[0]
    assert 0 < len(known.class_ids) < len(image.class_ids)
    kept = leave_out_large(folder, truth(folder), limit, list(NAMES))[image.id]
    np.testing.assert_array_equal(kept.boxes_xyxy_px, known.boxes_xyxy_px)
