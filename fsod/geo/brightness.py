"""The brightness that a scene of more than 8 bits is seen in: its percentiles over the whole of it, or over samples."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.nodata import recognise_nodata
from fsod.geo.pixels import OVERVIEW_PX, percentile_range
from fsod.geo.scene import Scene

PARTS = 8
"""Along a side, that a damaged scene's brightness is measured in, or a vast one's."""

PART_PX = 256
"""Side of what is looked at in each part of a vast scene."""


def scaled(scene: Scene, skip_damaged: bool, *, recognise: bool) -> Scene:
    """The scene with a rule that scales its pixels, by what it holds; all of it is read once."""
    raw, valid, remarks = _sample(scene, skip_damaged)
    in_parts = bool(remarks)
    if recognise and (found := recognise_nodata(raw, valid)) is not None:
        nodata, share = found
        fills = f"{scene.name}: {nodata:g} fills {share:.0%} of it"
        if scene.declares_nodata or not scene.can_be_nodata(nodata):
            remarks += (f"{fills} and decides what is black or white; --nodata {nodata:g} if it stands for nothing",)
        else:
            remarks += (f"{fills} and is taken for nodata, which no tag says; --nodata nan if it is something",)
            scene = scene.with_nodata(nodata)
            valid &= ~_mixed((raw == nodata).all(axis=0), reduced=max(valid.shape) < max(scene.file_size_px))
    low, high = percentile_range(raw, valid)
    rule = replace(scene.rule, low=low, high=high)
    overview = None if in_parts else rule.to_rgb(raw, valid)
    return replace(scene, rule=rule, warnings=scene.warnings + remarks, overview=overview)


def _mixed(empty: NDArray[np.bool_], *, reduced: bool) -> NDArray[np.bool_]:
    """(h, w) where a read that did not know of a nodata value has it, or a mean of it and of pixels beside it."""
    return cv2.dilate(empty.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_) if reduced else empty


def _sample(scene: Scene, skip_damaged: bool) -> tuple[NDArray[np.generic], NDArray[np.bool_], tuple[str, ...]]:
    """Raw pixels (bands, h, w) of the whole scene, read reduced, their validity (h, w), and a warning if not of all."""
    if scene.is_vast:
        starts = [
            (left, top, min(left + PART_PX, right), min(top + PART_PX, bottom))
            for left, top, right, bottom in _parts(scene)
        ]
        remark = (
            f"{scene.name}: has no overviews; its brightness is scaled by {len(starts)} places (gdaladdo makes some)"
        )
        return *_read_parts(scene, starts, skip_damaged), (remark,)
    width_px, height_px = scene.file_size_px
    factor = min(1.0, OVERVIEW_PX / max(width_px, height_px))
    try:
        shape = max(1, round(height_px * factor)), max(1, round(width_px * factor))
        return *scene.read_file_raw((0, 0, width_px, height_px), shape), ()
    except UserError:
        if not skip_damaged:
            raise
    remark = f"{scene.name}: damaged; its brightness is scaled by the parts that can be read"
    return *_read_parts(scene, _parts(scene), skip_damaged), (remark,)


def _parts(scene: Scene) -> list[tuple[int, int, int, int]]:
    """The grid in eight rows of eight parts: left, top, right, bottom."""
    columns, rows = (
        np.unique(np.linspace(0, side, PARTS + 1).astype(int)).tolist()
        for side in (scene.grid_width_px, scene.grid_height_px)
    )
    # row by row: parts of a row may lie in the same strips
    return [(left, top, right, bottom) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


def _read_parts(
    scene: Scene, parts: list[tuple[int, int, int, int]], skip_damaged: bool
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Raw pixels (bands, h, w) and validity (h, w) of parts side by side; UserError unless one at least can be read."""
    read, reasons = [], []
    for part in parts:
        try:
            read.append(scene.read_raw(part, (PART_PX,) * 2))
        except UserError as error:
            reasons.append(error)
    if reasons and not (skip_damaged and read):
        raise reasons[0]
    raw, valid = zip(*read, strict=True)
    return np.concatenate(raw, axis=-1), np.concatenate(valid, axis=-1)
