"""Where objects are counted: the polygons of a file, or the squares of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
import shapely
from geopandas import GeoSeries
from numpy.typing import NDArray

from fsod.errors import UserError, one_line
from fsod.geo.antimeridian import within_180
from fsod.geo.features import read_frame, read_polygons
from fsod.geo.found_ground import FoundGround
from fsod.geo.ground_frame import laid_out, plane_around
from fsod.geo.labels import attribute_in, class_names
from fsod.geo.misplaced import check_degrees

MOST_CELLS = 250_000
"""Of a grid; more than that nobody looks at, and a typing error is likely."""

EDGE_M = 0.01
"""Of what reaches so little into a square, most is rounding."""

SMALL = 1e-6
"""Districts that share less than this of the smaller one only touch."""


@dataclass(frozen=True)
class Districts:
    """Areas to count in.

    Attributes:
        shapes: n polygons.
        names: (n,) of each.
    """

    shapes: GeoSeries
    names: list[str]

    def overlapping(self, plane_shapes: NDArray[np.object_]) -> tuple[int, int] | None:
        """The first two, from 0, that overlap; None where all of them touch at most."""
        for a, b in shapely.STRtree(plane_shapes).query(plane_shapes, predicate="intersects").T.tolist():
            least = SMALL * min(plane_shapes[a].area, plane_shapes[b].area)
            if a < b and shapely.intersection(plane_shapes[a], plane_shapes[b]).area > least:
                return a, b
        return None


def read_districts(by: Path, layer: str | None, name: str | None) -> Districts:
    """The polygons of a vector file in any CRS.

    Args:
        by: the file.
        layer: of the file, where it has several.
        name: the attribute that names districts; ``name`` if None, and numbers where there is none.

    Raises:
        UserError: no polygons, no place on the ground, no such attribute.
    """
    shapes = read_polygons(by, layer, "--by-layer")
    if shapes.crs is None:
        raise UserError(f"{by}: has no coordinate system, so its districts have no place on the ground")
    if shapes.crs.is_geographic:
        check_degrees(by, shapes)
        shapes = GeoSeries([within_180(shape) for shape in shapes], crs=shapes.crs)
    frame = read_frame(by, layer)
    attributes = [column for column in frame.columns if column != frame.geometry.name]
    if name is not None:
        name = attribute_in(by, frame, name)
    else:
        name = next((column for column in attributes if str(column).lower() == "name"), None)
    if name is None:
        return Districts(shapes, [str(i) for i in range(1, len(frame) + 1)])
    texts = class_names(frame[name])
    return Districts(shapes, [one_line(text) or str(i) for i, text in enumerate(texts, start=1)])


def grid_over(ground: FoundGround, grid_m: float | None) -> Districts:
    """Squares over what was searched or found, at round coordinates, so that two dates have the same ones."""
    everywhere = ground.everywhere
    if grid_m is None or not len(everywhere):
        raise UserError(
            f"{ground.path}: holds neither objects nor what was searched, so there is nothing to lay a grid over"
        )
    crs = _metric(everywhere)
    places = laid_out(everywhere, crs)
    left, bottom, right, top = (
        shapely.total_bounds(places) / grid_m + np.array([1, 1, -1, -1]) * EDGE_M / grid_m
    ).tolist()
    xs, ys = np.arange(np.floor(left), np.ceil(right)), np.arange(np.floor(bottom), np.ceil(top))
    if len(xs) * len(ys) > MOST_CELLS:
        raise UserError(
            f"--grid-m {grid_m:g}: gives {len(xs) * len(ys)} squares, more than {MOST_CELLS}; choose larger ones"
        )
    x, y = (each.ravel() for each in np.meshgrid(xs, ys))
    cells = shapely.box(x * grid_m, y * grid_m, (x + 1) * grid_m, (y + 1) * grid_m)
    there = np.unique(shapely.STRtree(cells).query(places, predicate="intersects")[1])
    return Districts(GeoSeries(cells[there], crs=crs), [f"{x[i] * grid_m:.0f} {y[i] * grid_m:.0f}" for i in there])


def _metric(places: GeoSeries) -> pyproj.CRS:
    """A coordinate system in whose metres squares are squares of the ground: the layer's own, or the zone of UTM."""
    crs = pyproj.CRS(places.crs)
    if crs.is_projected and crs.utm_zone is not None:
        return crs
    try:
        return pyproj.CRS(places.estimate_utm_crs())
    except (RuntimeError, ValueError):  # GeoPandas' words for none, as at the poles
        return plane_around(places)
