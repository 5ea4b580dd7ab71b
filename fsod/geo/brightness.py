"""The brightness that a scene of more than 8 bits is seen in: its percentiles over the whole of it, or over samples."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.pixels import OVERVIEW_PX, percentile_range
from fsod.geo.scene import Scene
from fsod.geo.undeclared import around, stand_ins

PARTS = 8
"""Along a side, that a damaged scene's brightness is measured in, or a vast one's."""

PART_PX = 256
"""Side of what is looked at in each part of a vast scene."""


def scaled(scene: Scene, skip_damaged: bool, *, recognise: bool) -> Scene:
    """The scene with a rule that scales its pixels, by what it holds; all of it is read once.

    Args:
        scene: as its tags, or the user, say of it.
        skip_damaged: where pixels cannot be read, scale by the others.
        recognise: whether to look for values that stand for nothing, see ``undeclared``. They are left out, and the first one
            becomes the scene's nodata value where it has none.
    """
    raw, valid, remarks = _sample(scene, skip_damaged)
    in_parts = bool(remarks)
    reduced = max(valid.shape) < max(scene.file_size_px)
    if reduced and raw.dtype == np.float64:
        raw = _whole_again(raw)
    seen = np.stack([valid & ~_is(band, value) for band, value in zip(raw, scene.nodata_of_bands, strict=True)])
    for one in stand_ins(raw, valid, reduced=reduced) if recognise else ():
        value = _in_full(one.value)
        fills = f"{scene.name}: {value} fills {one.share:.0%} of it"
        if not one.certain:
            remarks += (f"{fills}, with sharp edges to what is beside it; --nodata {value} if it stands for nothing",)
            continue
        bands = slice(None) if one.band is None else slice(one.band, one.band + 1)
        seen[bands] &= ~np.stack([_mixed(_is(band, one.value), reduced=reduced) for band in raw[bands]])
        if one.band is not None:
            remarks += (f"{fills} in band {scene.rule.bands[one.band]} and is left out of that band's brightness",)
        elif scene.nodata is None and not scene.declares_nodata and scene.can_be_nodata(one.value):
            remarks += (f"{fills} and is taken for nodata, which no tag says; --nodata nan if it is something",)
            scene = scene.with_nodata(one.value)
            valid = valid & ~_mixed(np.asarray(_is(raw, one.value).all(axis=0)), reduced=reduced)
        else:
            remarks += (f"{fills} and is left out of its brightness; --nodata {value} if it alone stands for nothing",)
    low, high = percentile_range(raw, seen)
    rule = replace(scene.rule, low=low, high=high)
    overview = None if in_parts else rule.to_rgb(raw, valid)
    return replace(scene, rule=rule, warnings=scene.warnings + remarks, overview=overview)


def _whole_again(raw: NDArray[np.generic]) -> NDArray[np.generic]:
    """Means of many times one whole number are that number but for the last digits, where they are counted in float64."""
    whole = np.rint(raw.astype(np.float64))
    return np.where(np.isclose(raw.astype(np.float64), whole, rtol=1e-12, atol=0), whole, raw)


def _in_full(value: float) -> str:
    """A value as short as it can be written and still be read as the same one."""
    return short if float(short := f"{value:g}") == value else repr(value)


def _is(pixels: NDArray[np.generic], value: float | None) -> NDArray[np.bool_]:
    """Where pixels have a value, which a file may declare though they cannot hold it."""
    return np.asarray(pixels == value) if value is not None else np.zeros(pixels.shape, np.bool_)


def _mixed(empty: NDArray[np.bool_], *, reduced: bool) -> NDArray[np.bool_]:
    """(h, w) where a read that did not know of a nodata value has it, or a mean of it and of pixels beside it."""
    return around(empty) if reduced else empty


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
