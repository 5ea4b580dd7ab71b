"""What training sees of scenes: views around all that an analyst has said of them, and a few of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import area_px, in_parts, intersection_px
from fsod.data.mark_views import View, make_view
from fsod.data.real_episodes import MIN_VISIBLE
from fsod.errors import UserError
from fsod.geo.blank import is_blank
from fsod.geo.marked_areas import inside
from fsod.geo.scene import Scene
from fsod.geo.windows import Window, spread, window_grid
from fsod.steps.scene_marks import SceneMarks

VIEW_PX, OVERLAP_PX = 768, 256
"""Side of a view, and what neighbours share, so that each mark is shown with its surroundings by one of them."""

AREA_VIEWS = 48
"""The most views of areas without a mark or a refusal, evenly spread over them."""

OTHER_VIEWS = 12
"""Of the scene where nothing is said, evenly spread."""

SMALL_PX, LARGE_PX = 20.0, 160.0
"""Objects are looked at twice as large where half of them are smaller, and half as large as long as a quarter is larger."""


@dataclass(frozen=True)
class MarkedViews:
    """Views of scenes.

    Attributes:
        views: with all marks.
        warnings: what a user should know of the scenes, one line each.
    """

    views: list[View]
    warnings: list[str]


def working_enlargement(marks: Sequence[SceneMarks]) -> float:
    """How many times as large as they are the scenes are to be looked at, a power of two."""
    sides = np.sqrt(area_px(np.concatenate([scene.boxes_xyxy_px for scene in marks])))
    enlargement = 2.0 if np.median(sides) < SMALL_PX else 1.0
    while np.quantile(sides, 0.75) * enlargement > LARGE_PX:
        enlargement /= 2
    return enlargement


def read_views(marks: Sequence[SceneMarks], class_names: Sequence[str], enlargement: float) -> MarkedViews:
    """Reads views of scenes.

    Args:
        marks: of each scene; classes of marks are among ``class_names``.
        class_names: a box's class id is a position in them.
        enlargement: of the scenes.

    Raises:
        UserError: pixels cannot be read; a scene has another size than when it was marked.
    """
    views: list[View] = []
    warnings: list[str] = []
    first = 0
    for of_scene in marks:
        ids = np.arange(first, first + len(of_scene.boxes_xyxy_px))
        first += len(ids)
        class_ids = np.array([class_names.index(name) for name in of_scene.class_names], np.int64)
        gsd_m = None if of_scene.gsd_m is None else of_scene.gsd_m / enlargement
        with of_scene.open(gsd_m=gsd_m, enlargement=enlargement) as scene:
            if (scene.width_px, scene.height_px) != (of_scene.width_px, of_scene.height_px):
                raise UserError(
                    f"{scene.name}: has {scene.width_px}x{scene.height_px} px, but had "
                    f"{of_scene.width_px}x{of_scene.height_px} when it was marked; put that one back, or finetune anew"
                )
            warnings += scene.warnings
            to_grid = 1 / np.tile(np.array(scene.grid_to_scene), 2)
            boxes, refused = of_scene.boxes_xyxy_px * to_grid, of_scene.refused_xyxy_px * to_grid
            for window in _windows(scene, of_scene, boxes, refused):
                rgb, valid = scene.read_window(window)
                shown, no = _shown(boxes, window), _shown(refused, window)
                if is_blank(rgb, valid) and not shown.any():
                    continue
                rgb = scene.in_tone(rgb, valid)
                corner = np.array([window.left_px, window.top_px] * 2)
                frame = np.array(window.xyxy_px) / to_grid
                areas = inside(of_scene.areas, frame.tolist(), rgb.shape[:2])
                marks_shown = boxes[shown] - corner, class_ids[shown], ids[shown]
                views.append(make_view(rgb, *marks_shown, refused[no] - corner, areas))
    return MarkedViews(views, warnings)


def _windows(
    scene: Scene, marks: SceneMarks, boxes_xyxy_px: NDArray[np.float64], refused_xyxy_px: NDArray[np.float64]
) -> list[Window]:
    """The windows of a scene that training is to see."""
    sides = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).max(initial=0)
    overlap_px = max(OVERLAP_PX, int(np.ceil(1.5 * sides / 32)) * 32)
    grid = window_grid(scene.grid_width_px, scene.grid_height_px, max(VIEW_PX, 2 * overlap_px), overlap_px)
    corners = np.array([window.xyxy_px for window in grid], np.float64)
    said = np.concatenate([boxes_xyxy_px, refused_xyxy_px])
    parts = in_parts(len(corners), len(said))
    told = np.concatenate([(intersection_px(corners[part], said) > 0).any(axis=1) for part in parts])
    to_scene = np.tile(np.array(scene.grid_to_scene), 2)
    in_area = np.zeros(len(grid), bool)
    if not marks.areas.is_empty:
        left, top, right, bottom = np.array(marks.areas.bounds)
        near = (intersection_px(corners * to_scene, np.array([[left, top, right, bottom]])) > 0)[:, 0]
        for i in np.flatnonzero(near & ~told):
            frame = (corners[i] * to_scene).tolist()
            in_area[i] = inside(marks.areas, frame, (64, 64)).any()
    empty, other = np.flatnonzero(in_area), np.flatnonzero(~told & ~in_area)
    few = empty[spread(len(empty), AREA_VIEWS)], other[spread(len(other), OTHER_VIEWS)]
    return [grid[i] for i in sorted(np.concatenate([np.flatnonzero(told), *few]).tolist())]


def _shown(boxes_xyxy_px: NDArray[np.float64], window: Window) -> NDArray[np.bool_]:
    """Which boxes, (n, 4), a window shows enough of: (n,)."""
    within = intersection_px(boxes_xyxy_px, np.array([window.xyxy_px], np.float64))[:, 0]
    return within >= MIN_VISIBLE * np.maximum(area_px(boxes_xyxy_px), 1e-9)
