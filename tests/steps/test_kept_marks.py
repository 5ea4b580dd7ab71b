"""Marks that a detector keeps: read back as they were, and joined with what is said later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from fsod.errors import UserError
from fsod.geo.raster_in_memory import raster_in_memory
from fsod.geo.scene_opening import open_scene
from fsod.steps.kept_marks import joined_marks, kept_marks, marks_kept
from fsod.steps.scene_marks import SceneMarks
from fsod.steps.scene_views import read_views
from tests.labelled_scene import BOXES, make_scene

NO = np.array([[60, 60, 80, 80.0]])


def marked(path: Path, judged: dict[str, dict[str, tuple[int, int]]]) -> SceneMarks:
    with open_scene(make_scene(path)) as scene:
        area = shapely.MultiPolygon([shapely.box(0, 0, 50, 50)])
        return SceneMarks.on(scene, BOXES, ("a", "a", "b"), NO, ("not a",), [area], judged)


def test_marks_are_read_back_as_they_were(tmp_path: Path) -> None:
    one = marked(tmp_path / "s.tif", {"x": {"a": (2, 1)}})
    (back,) = marks_kept(kept_marks([one]), tmp_path / "d.safetensors")
    assert kept_marks([back]) == kept_marks([one])
    (old,) = kept_marks([one])
    del old["judged_in"]
    (back,) = marks_kept([{**old, "judged": {"a": [2, 1]}}], tmp_path / "d.safetensors")
    assert back.judged == {"": {"a": (2, 1)}}, "as earlier versions kept it"


def test_what_was_in_memory_is_not_gone_on_from(tmp_path: Path) -> None:
    with raster_in_memory(np.zeros((100, 130, 3), np.uint8)) as name, open_scene(name) as scene:
        kept = kept_marks([SceneMarks.on(scene, BOXES, ("a", "a", "b"))])
    with pytest.raises(UserError, match=r"d\.safetensors: was made from an array .* name it as --checkpoint"):
        marks_kept(kept, tmp_path / "d.safetensors")


def test_a_layer_that_is_judged_further_counts_once(tmp_path: Path) -> None:
    old = marked(tmp_path / "s.tif", {"first": {"a": (2, 1)}})
    new = marked(tmp_path / "s.tif", {"first": {"a": (3, 2)}, "second": {"b": (1, 0)}})
    (both,) = joined_marks([old], [new])
    assert both.judged == {"first": {"a": (3, 2)}, "second": {"b": (1, 0)}}
    assert len(both.boxes_xyxy_px) == len(BOXES)
    part = marked(tmp_path / "s.tif", {"first": {"b": (1, 0)}})  # a copy in which less is judged
    assert joined_marks([new], [part])[0].judged["first"] == {"a": (3, 2), "b": (1, 0)}
    many = marked(tmp_path / "s.tif", {"first": {"b": (9, 9)}})  # of another class than was judged before
    assert joined_marks([new], [many])[0].judged["first"] == {"a": (3, 2), "b": (9, 9)}


def test_a_scene_that_was_replaced_by_another_is_not_learned_from(tmp_path: Path) -> None:
    one = marked(tmp_path / "s.tif", {})
    make_scene(tmp_path / "s.tif", size=(260, 200))
    with pytest.raises(UserError, match=r"s.tif: has 260x200 px, but had 130x100 when it was marked"):
        read_views([one], ["a", "b"], 1.0)
