from __future__ import annotations

import numpy as np

from fsod.data.photographs.standing_out import find_things
from fsod.data.photographs.warp import affine, filled, moved, warp
from tests.made_photographs import made_photograph


def test_outlines_go_where_pixels_go() -> None:
    photograph = made_photograph(0)
    by = affine(np.array([64.0, 64.0]), np.array([100.0, 90.0]), 0.7, 1.6, stretched=1.2, mirrored=True)
    seen = find_things(warp(photograph, by, (200, 200)))
    places = np.array([thing.centre_px for thing in seen])
    for thing in find_things(photograph):
        goal = moved(thing.contour_px.mean(0, keepdims=True), by)[0]
        if (goal > 20).all() and (goal < 180).all():
            assert np.linalg.norm(places - goal, axis=1).min() < 2


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    by = affine(np.array([64.0, 64.0]), np.array([16.0, 16.0]), 0.0, 0.23)
    assert warp(stripes, by, (32, 32))[8:24, 8:24].std() < 16


def test_cover_is_the_area_of_an_outline() -> None:
    # a square of 10 by 6 pixels whose left top corner is the corner of pixel (3, 4)
    outline = np.array([[2.5, 3.5], [12.5, 3.5], [12.5, 9.5], [2.5, 9.5]])
    cover, low = filled(outline, 0.0)
    ys, xs = np.nonzero(cover >= 0.5)
    assert (xs.min() + low[0], xs.max() + low[0], ys.min() + low[1], ys.max() + low[1]) == (3, 12, 4, 9)
    assert abs(cover.sum() - 60) < 5
    soft, _ = filled(outline, 1.0)
    assert abs(soft.sum() - cover.sum()) < 0.5
    assert ((soft > 0.1) & (soft < 0.9)).sum() > ((cover > 0.1) & (cover < 0.9)).sum()
