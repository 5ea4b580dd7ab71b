"""Examples that a program hands over: boxes by class in a scene's pixels, where people draw vector files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import shapely
from numpy.typing import ArrayLike

from fsod.errors import UserError, is_name, spaced
from fsod.geo.scene import Scene
from fsod.steps.scene_marks import LEAST_PX, SceneMarks, one_multipolygon

Boxes = Mapping[str, ArrayLike]
"""Class name -> (n, 4) boxes: left, top, right, bottom in pixels of the file or array, y downwards from its top edge."""


def marks_given(scene: Scene, boxes: Boxes, areas: object = None) -> SceneMarks:
    """What boxes say of an open scene.

    Args:
        scene: with its pixels as they are stored; turn a raster that is not north up before marking it by pixels.
        boxes: by class; what sticks out of the scene is cut off.
        areas: a Polygon or MultiPolygon in the same pixels, in which every object of the classes is marked; None for none.

    Raises:
        UserError: areas that are no polygons, or hold no ground of the scene; no box at all; one that is not of four finite numbers, turned inside out, outside, or smaller than a pixel;
            a name that no class may have; a scene that is not seen as it is stored.
    """
    if not scene.upright.is_plain:
        raise UserError(
            f"{scene.name}: is not stored north up with square pixels; mark it in a vector file, not by pixels"
        )
    if not isinstance(boxes, Mapping):
        raise UserError(f"boxes: give a mapping from class name to (n, 4) boxes, not {type(boxes).__name__}")
    names: list[str] = []
    parts = [np.zeros((0, 4))]
    for given, of_class in boxes.items():
        name = spaced(given) if isinstance(given, str) else ""
        if not name or not is_name(name):
            raise UserError(
                f"boxes: {str(given)[:60]!r} cannot be the name of a class; use 1 to 200 printable characters"
            )
        parts.append(_checked(scene, name, of_class))
        names += [name] * len(parts[-1])
    if not names:
        raise UserError("boxes: none given; give a class with at least one, such as {'ship': [[10, 20, 50, 60]]}")
    return SceneMarks.on(scene, np.concatenate(parts), names, areas=[] if areas is None else [_inside(scene, areas)])


def _inside(scene: Scene, areas: object) -> shapely.MultiPolygon:
    """What of areas lies on the scene."""
    if not isinstance(areas, shapely.Polygon | shapely.MultiPolygon):
        raise UserError(f"area: give a polygon of shapely's in pixels, or a vector file, not {type(areas).__name__}")
    frame = shapely.box(0, 0, scene.width_px, scene.height_px)
    inside = one_multipolygon([shapely.intersection(shapely.make_valid(areas), frame)])
    if inside.is_empty:
        raise UserError(
            f"area: lies outside {scene.name} ({scene.width_px}x{scene.height_px} px); give it in pixels, y downwards from 0"
        )
    return inside


def _checked(scene: Scene, name: str, boxes: ArrayLike) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n, 4) float64 boxes inside the scene."""
    try:
        given = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"boxes of {name!r}: not numbers; give (n, 4): left, top, right, bottom in pixels") from error
    given = given.reshape(-1, 4) if given.ndim < 2 and given.size in (0, 4) else given
    if given.ndim != 2 or given.shape[1] != 4 or not np.isfinite(given).all():
        raise UserError(f"boxes of {name!r}: give (n, 4) finite numbers: left, top, right, bottom in pixels")
    inside = np.clip(given, 0, [scene.width_px, scene.height_px] * 2)
    small = np.flatnonzero((inside[:, 2:] - inside[:, :2]).min(axis=1, initial=np.inf) < LEAST_PX)
    if len(small):
        i = int(small[0])
        raise UserError(
            f"boxes of {name!r}: box {i} {given[i].tolist()} shows less than a pixel of a scene of {scene.width_px} x "
            f"{scene.height_px} px; give left, top, right, bottom in its pixels"
        )
    return inside
