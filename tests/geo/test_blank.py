from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fsod.geo.blank import is_blank, shows_something


def test_blank_windows() -> None:
    rng = np.random.default_rng(0)
    everywhere, nowhere = np.ones((20, 30), np.bool_), np.zeros((20, 30), np.bool_)
    noise = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    white = np.full((20, 30, 3), 255, np.uint8)
    assert is_blank(noise, nowhere)
    assert is_blank(white, everywhere)
    assert not is_blank(noise, everywhere)
    # one value among the valid pixels; the rest is nodata
    half = everywhere.copy()
    half[:, :15] = False
    white[:, :15] = 0
    assert is_blank(white, half)
    assert not is_blank(white, everywhere)
    white[3, 20] = 254
    assert not is_blank(white, half)


def test_a_white_roof_shows_by_its_edge() -> None:
    rgb = np.zeros((20, 30, 3), np.uint8)
    rgb[5:10, 5:15] = 255
    boxes = np.array([[5, 5, 15, 10], [20, 12, 28, 18]], dtype=np.float64)
    assert shows_something(rgb, np.ones((20, 30), np.bool_), boxes).tolist() == [True, False]


@given(st.integers(0, 2**32 - 1))
def test_boxes_that_show_something(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rgb = np.repeat(rng.choice([0, 0, 0, 9], (12, 15, 1)), 3, axis=2).astype(np.uint8)
    valid = rng.random((12, 15)) < rng.choice([0.3, 0.9, 1.0])
    starts = rng.uniform([0, 0], [14, 11], (20, 2))
    boxes = np.concatenate([starts, np.minimum(starts + rng.uniform(0.1, 9, (20, 2)), [15, 12])], axis=1)
    shown = shows_something(rgb, valid, boxes)
    for (x1, y1, x2, y2), is_shown in zip(boxes, shown, strict=True):
        box = np.s_[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
        around = np.s_[max(0, int(y1 - 2)) : int(np.ceil(y2 + 2)), max(0, int(x1 - 2)) : int(np.ceil(x2 + 2))]
        if valid[box].mean() < 0.5 or len(np.unique(rgb[around][valid[around]])) < 2:
            assert not is_shown
        elif valid[around].all():
            assert is_shown
