"""Views of scenes: what is known, what a look at the rest adds, and what crops show of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fsod.boxes import Detections
from fsod.data.mark_views import CropSettings, MarkCrops, View, make_view

RED = (230, 30, 30)
MARK = np.array([[40.0, 60.0, 60.0, 80.0]])
NOTHING = np.zeros((0, 4))


def view_of(
    marks: np.ndarray = MARK, refused: np.ndarray = NOTHING, inside: np.ndarray | None = None, side: int = 200
) -> View:
    rgb = np.full((side, side, 3), 90, np.uint8)
    for x1, y1, x2, y2 in marks.astype(int):
        rgb[y1:y2, x1:x2] = RED
    area = np.zeros((side, side), bool) if inside is None else inside
    return make_view(rgb, marks, np.zeros(len(marks), np.int64), np.arange(len(marks)), refused, area)


def found(*boxes_and_scores: tuple[tuple[float, float, float, float], float]) -> Detections:
    boxes, scores = zip(*boxes_and_scores, strict=True)
    return Detections(np.array(boxes, float), np.array(scores, np.float32), np.zeros(len(boxes), np.int64))


def test_background_is_known_near_marks_at_refusals_and_in_areas_alone() -> None:
    inside = np.zeros((200, 200), bool)
    inside[150:, 150:] = True
    known = view_of(refused=np.array([[100.0, 10.0, 110.0, 20.0]]), inside=inside).known
    assert known[52, 32]
    assert known[88, 68]
    assert not known[45, 50]  # 15 px above a mark of 20 px
    assert known[15, 105]
    assert not known[15, 112]
    assert known[180, 180]
    assert not known[120, 120]


def test_what_is_left_out_is_unknown_even_inside_an_area() -> None:
    marks = np.array([[40.0, 60.0, 60.0, 80.0], [120.0, 120.0, 140.0, 140.0]])
    view = view_of(marks, inside=np.ones((200, 200), bool)).without(np.array([0]))
    assert view.boxes_xyxy_px.tolist() == [[120, 120, 140, 140]]
    assert not view.known[60:80, 40:60].any()
    assert view.known[59, 39]


def test_a_look_takes_the_sure_for_objects_the_unlikely_for_background_and_leaves_the_doubtful_alone() -> None:
    sure, doubtful, unlikely = (100.0, 20.0, 120.0, 40.0), (150.0, 100.0, 170.0, 120.0), (20.0, 150.0, 40.0, 170.0)
    on_the_mark = (42.0, 62.0, 61.0, 81.0)
    seen = view_of().looked_at(
        found((sure, 0.6), (doubtful, 0.3), (unlikely, 0.05), (on_the_mark, 0.9)), np.array([0.1]), np.array([0.5])
    )
    assert seen.boxes_xyxy_px.tolist() == [MARK[0].tolist(), list(sure)]
    assert not seen.known[110, 160]
    assert seen.known[160, 30]
    assert seen.known[30, 110]  # around an object all is known


def test_where_the_analyst_has_spoken_a_look_changes_nothing() -> None:
    inside = np.zeros((200, 200), bool)
    inside[:, 100:] = True
    refused = np.array([[10.0, 10.0, 30.0, 30.0]])
    view = view_of(refused=refused, inside=inside)
    seen = view.looked_at(
        found(((120.0, 20.0, 140.0, 40.0), 0.9), ((11.0, 11.0, 29.0, 29.0), 0.9)), np.array([0.1]), np.array([0.5])
    )
    assert len(seen.boxes_xyxy_px) == 1
    assert seen.known[30, 130]
    assert seen.known[20, 20]


def test_crops_show_boxes_where_the_paint_is_and_known_ground_where_it_was() -> None:
    inside = np.zeros((200, 200), bool)
    inside[100:, :] = True
    view = view_of(inside=inside)
    crops = MarkCrops([view], CropSettings(queries=8, query_px=96, background_share=0.0), 3, 0)
    batch = crops[0]
    red = (batch.queries[:, 0].int() - batch.queries[:, 1].int()) > 50
    boxes_with_paint = 0
    for b in range(8):
        for box, class_id in zip(batch.boxes_xyxy_px[b], batch.box_classes[b], strict=True):
            if class_id < 0:
                continue
            x1, y1, x2, y2 = box.round().int().tolist()
            share = red[b, y1:y2, x1:x2].float().mean()
            boxes_with_paint += int(share > 0.7)
    assert boxes_with_paint >= 6  # a crop in ten is grey
    assert batch.known.any()
    assert not batch.known.all()
    assert all(torch.equal(a, b) for a, b in zip(vars(batch).values(), vars(crops[0]).values(), strict=True))
    assert not torch.equal(batch.queries, crops[1].queries)


def test_an_area_without_a_mark_gives_crops_without_a_box() -> None:
    batch = MarkCrops([view_of(NOTHING, inside=np.ones((200, 200), bool))], CropSettings(queries=2), 1, 0)[0]
    assert batch.box_classes.tolist() == [[-1], [-1]]
    assert batch.known.float().mean() > 0.5


def test_refusals_are_drawn_often() -> None:
    refused = np.array([[150.0, 150.0, 170.0, 170.0]])
    view = view_of(refused=refused, side=400)
    places = MarkCrops([view], CropSettings(background_share=1.0), 1, 0)
    rng = np.random.default_rng(0)
    centres = [places._place(rng)[1].tolist() for _ in range(40)]
    assert 10 < centres.count([160, 160]) < 30


@pytest.mark.parametrize("longest", [20.0, 400.0])
def test_the_surroundings_of_a_mark_are_square(longest: float) -> None:
    box = np.array([10.0, 10.0, 10.0 + longest, 30.0])
    assert view_of().around(box).shape == (max(round(2 * longest), 32),) * 2 + (3,)
