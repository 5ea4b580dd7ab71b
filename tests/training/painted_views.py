"""Views of a made-up scene: red squares that are marked, and blue ones that are something else."""

from __future__ import annotations

import numpy as np

from fsod.data.mark_views import View, make_view

SIDE = 28
PLACES = [(20, 20), (90, 40), (220, 60), (60, 230), (160, 150), (240, 200)]
BLUE = [(150, 20), (20, 150), (280, 280)]


def painted(places: list[tuple[int, int]], *, all_marked: bool = False, first: int = 0) -> View:
    """Red squares on noise, numbered from ``first``, among blue ones that are something else."""
    rgb = np.random.default_rng(0).integers(60, 120, (320, 320, 3)).astype(np.uint8)
    for x, y in places:
        rgb[y : y + SIDE, x : x + SIDE] = (220, 40, 40)
    for x, y in BLUE:
        rgb[y : y + SIDE, x : x + SIDE] = (40, 40, 220)
    boxes = np.array([[x, y, x + SIDE, y + SIDE] for x, y in places], float).reshape(-1, 4)
    return make_view(
        rgb,
        boxes,
        np.zeros(len(boxes), np.int64),
        np.arange(len(boxes)) + first,
        np.zeros((0, 4)),
        np.full((320, 320), all_marked),
    )
