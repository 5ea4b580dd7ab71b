"""Windows of scenes that the ranges of an 8-bit network are taken from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.read_ahead import Reading, read_ahead
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.windows import STEP_PX, spread, window_grid
from fsod.inference.infer import filled
from fsod.inference.onnx_infer import OnnxHeader

WANTED = 32
"""In all."""


def calibrating_windows(scenes: Sequence[str], header: OnnxHeader) -> NDArray[np.uint8]:
    """About ``WANTED`` windows, evenly spread over the scenes, as a search would see them: (n, S, S, 3) uint8 RGB.

    Raises:
        UserError: a scene cannot be read, or none of the windows shows anything.
    """
    plan = ScenePlan(window_px=header.window_px, gsd_m=header.gsd_m, enlargement=header.enlargement, like=header.shown)
    chosen = [scenes[i] for i in spread(len(scenes), WANTED)]
    windows = []
    for name in chosen:
        with plan.open(name) as scene:
            grid = window_grid(scene.grid_width_px, scene.grid_height_px, header.window_px, STEP_PX)
            indices = spread(len(grid), -(-WANTED // len(chosen))).tolist()
            reading = Reading(scene, grid, indices, 1, header.window_px, skip_damaged=False)
            whole = 1, header.window_px, header.window_px
            windows += [filled(batch.images, whole) for batch in read_ahead(reading) if batch.valid]
    if not windows:
        raise UserError(f"--calibrate {', '.join(chosen)}: shows nothing; give scenes like those to be searched")
    return np.concatenate(windows)
