"""What enrolling reads around its examples."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np

from fsod.geo.scene_opening import open_scene
from fsod.steps.example_files import examples_on_scenes
from fsod.steps.mark_files import MarkFiles
from tests.labelled_scene import make_scene, save_labels


def test_what_is_around_many_examples_is_not_held_in_memory(tmp_path: Path) -> None:
    places = [(40 + i, 40 + k) for i in range(0, 120, 30) for k in (0, 40, 80)]
    boxes = np.array([[x, y, x + 24, y + 24] for x, y in places], np.float64)
    scene = make_scene(tmp_path / "scene.tif", boxes, (320, 160))
    marks = save_labels(tmp_path / "marks.geojson", scene, boxes, names=["red"] * len(boxes))
    tracemalloc.start()
    examples = examples_on_scenes([scene], MarkFiles([marks])).marked
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 0.5 * sum(rgb.nbytes for rgb in examples.pixels)
    with open_scene(scene, toned=True) as opened:
        whole, _ = opened.read_seen((0, 0, 320, 160))
    for rgb in examples.pixels:
        np.testing.assert_array_equal(rgb, whole)
