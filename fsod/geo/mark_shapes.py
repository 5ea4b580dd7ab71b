"""What people draw for an object, and the box that it stands for.

A polygon or a line is the upright box around it, a point a box of a given size. Boxes are upright in the scene's pixels, so of
a line or a turned box they hold more than was drawn, which is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import shapely
from geopandas import GeoSeries
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.features import VectorFile
from fsod.geo.scene import Scene

POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
LINES = (shapely.GeometryType.LINESTRING, shapely.GeometryType.MULTILINESTRING, shapely.GeometryType.LINEARRING)
POINTS = (shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT)

AS_DRAWN, OF_LINE, OF_TURNED = 0, 1, 2
"""Kinds of boxes: as large as what was drawn, around a line, around a box that is not upright."""

TURNED_CORNERS = 5
"""Of the ring of a box, the first of which comes again."""

TURNED_FILL = 0.8
"""What has four corners and fills less of the box around it is a turned box; a square does from 7 degrees on."""


@dataclass(frozen=True)
class PointSize:
    """Side of the box that a point in its middle stands for: one of the two.

    Attributes:
        metres: on the ground, for scenes with a CRS.
        pixels: of the scene, with or without a CRS.
    """

    metres: float | None = None
    pixels: float | None = None

    def __post_init__(self) -> None:
        if (self.metres is None) == (self.pixels is None):
            raise UserError("the size of points is given in metres or in pixels, not both (--size-m or --size-px)")
        for unit, size in (("m", self.metres), ("px", self.pixels)):
            if size is not None and not 0 < size < np.inf:
                raise UserError(f"points of {size:g} {unit}: give a size above 0")

    def halves_px(self, path: VectorFile, scene: Scene, xy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half a box along a row and along a column around points of a scene (n, 2): (n, 2).

        Raises:
            UserError: metres and a scene without a CRS; a box that is larger than the scene that its point is on.
        """
        if self.metres is None:
            return self._no_larger(path, scene, xy_px, np.full((len(xy_px), 2), (self.pixels or np.nan) / 2))
        if scene.georeference.crs is None:
            raise UserError(
                f"{path}: {scene.name} has no usable CRS, so metres say nothing of its points; give their size in pixels "
                "(--size-px)"
            )
        return self._no_larger(path, scene, xy_px, self.metres / 2 / scene.georeference.pixel_sizes_m(xy_px))

    def _no_larger(
        self, path: VectorFile, scene: Scene, xy_px: NDArray[np.float64], halves_px: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Halves of boxes themselves; UserError where all of a scene would be one object."""
        scene_px = np.array([scene.width_px, scene.height_px])
        on_scene = ((xy_px >= 0) & (xy_px <= scene_px)).all(axis=1)
        if (on_scene & (2 * halves_px > scene_px).all(axis=1)).any():
            size, option = (
                (f"{self.pixels:g} px", "--size-px") if self.metres is None else (f"{self.metres:g} m", "--size-m")
            )
            raise UserError(
                f"{path}: points of {size} are larger than all of {scene.name} ({scene_px[0]}x{scene_px[1]} px); give the size of one "
                f"object ({option})"
            )
        return halves_px


def box_kinds(geometry: GeoSeries, xy_px: NDArray[np.float64], boxes_xyxy_px: NDArray[np.float64]) -> NDArray[np.uint8]:
    """AS_DRAWN, OF_LINE or OF_TURNED for each of n geometries: (n,).

    Args:
        geometry: in the CRS of their file.
        xy_px: (vertices, 2) the same on a scene, in their order.
        boxes_xyxy_px: (n, 4) around them.
    """
    types, counts = shapely.get_type_id(np.asarray(geometry)), shapely.get_num_coordinates(np.asarray(geometry))
    turned = np.isin(types, POLYGONS) & (counts == TURNED_CORNERS)
    first = (np.cumsum(counts) - counts)[turned]
    x, y = np.moveaxis(xy_px[first[:, None] + np.arange(TURNED_CORNERS)], -1, 0)
    areas_px = (
        np.abs((x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)) / 2
    )  # not shapely's: a place may be NaN
    sides = boxes_xyxy_px[turned, 2:] - boxes_xyxy_px[turned, :2]
    turned[turned] = areas_px < TURNED_FILL * sides.prod(axis=1)
    return np.select([np.isin(types, LINES), turned], [OF_LINE, OF_TURNED], AS_DRAWN).astype(np.uint8)


def hull_notes(path: VectorFile, kinds: Iterable[NDArray[np.uint8]]) -> list[str]:
    """What a user should know of labels that were not drawn as upright boxes, of one file on all its scenes."""
    counts = np.bincount(np.concatenate([np.zeros(0, np.uint8), *kinds]), minlength=OF_TURNED + 1)
    return [
        f"{path}: {n} {one if n == 1 else more} taken as the upright box around {'it' if n == 1 else 'each'}, "
        "which holds more than was drawn"
        for n, one, more in (
            (int(counts[OF_LINE]), "line", "lines"),
            (int(counts[OF_TURNED]), "turned box", "turned boxes"),
        )
        if n
    ]
