"""Areas in which every object of the classes is marked, so that whatever is not marked there is background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyproj
import shapely
from affine import Affine
from geopandas import GeoSeries
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from fsod.geo.antimeridian import lonlat_polygons, within_180
from fsod.geo.features import VectorFile, polygons_in, raise_refused, read_polygons
from fsod.geo.labels import outside
from fsod.geo.misplaced import why_misplaced
from fsod.geo.scene import Scene
from fsod.geo.scene_frame import transformer, vertices_px

Geometries = NDArray[np.object_]

STEPS = 32
"""A straight line in one CRS is bent in another: edges are followed in so many steps along the longer side of a shape."""

BLOCK_PX = 2048
"""Side of the squares in which a pixel is looked for that lies in an area."""


def read_marked_areas(
    path: VectorFile, scenes: Sequence[Scene], *, layer: str | None = None
) -> list[shapely.MultiPolygon]:
    """Reads the polygons of a vector file as areas of scenes.

    Where scenes share ground an area is on all of them. For a scene without a usable CRS coordinates are taken for its
    pixels, see ``scene_frame``.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, FlatGeobuf or anything else that GDAL reads, in any CRS.
        scenes: at least one; all with a CRS or one without.
        layer: which layer of the file, where it has several.

    Returns:
        For each scene the areas in its own pixels, clipped to it; empty where none lies on it.

    Raises:
        UserError: not a vector file, no polygon, a feature that is none, that lies on no scene or holds the middle of no
            pixel of any, a CRS that is missing or does not lead to a scene's. Features are counted from 1.
    """
    polygons = read_polygons(path, layer)
    placed = [_place(path, polygons, scene) for scene in scenes]
    features = np.arange(1, len(polygons) + 1)
    there = ~np.all([shapely.is_empty(shapes) for shapes in placed], axis=0)
    away = outside(scenes[0]) if len(scenes) == 1 else "lies on none of the scenes"
    away += next(filter(None, (why_misplaced(polygons, scene) for scene in scenes)), "")
    raise_refused(path, dict.fromkeys(features[~there].tolist(), away))
    holds = [any(_holds_a_pixel(shapes[i]) for shapes in placed) for i in range(len(polygons))]
    too_small = "an area that holds no pixel; draw it larger"
    if scenes[0].georeference.crs is None:
        too_small += " (the scene has no CRS, so coordinates are taken as pixels)"
    raise_refused(path, dict.fromkeys(features[~np.array(holds, bool)].tolist(), too_small))
    return [polygons_in(shapely.union_all(shapes)) for shapes in placed]


def inside(areas: BaseGeometry, frame_xyxy_px: Sequence[float], shape_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of a rectangle of a scene lie in areas, by their middle.

    Args:
        areas: polygons in the scene's pixels.
        frame_xyxy_px: the rectangle, left, top, right, bottom in the scene's pixels.
        shape_hw: rows and columns that it is seen in, which need not be the scene's own.

    Returns:
        (h, w) bool.
    """
    left, top, right, bottom = frame_xyxy_px
    height, width = shape_hw
    near = shapely.clip_by_rect(areas, *frame_xyxy_px)
    if near.is_empty:
        return np.zeros(shape_hw, np.bool_)
    grid = Affine.translation(left, top) @ Affine.scale((right - left) / width, (bottom - top) / height)
    return np.asarray(rasterize([near], out_shape=shape_hw, transform=grid, dtype="uint8") > 0)


def _place(path: VectorFile, polygons: GeoSeries, scene: Scene) -> Geometries:
    """Each polygon, (n,), in pixels of a scene and clipped to it; empty where it does not lie there."""
    features = np.arange(1, len(polygons) + 1)
    shapes: Geometries = np.asarray(polygons)
    if scene.georeference.crs is not None:
        shapes = _near(path, shapes, polygons.crs, scene)
    # a part of its own may be turned round the globe on its own
    parts, owner = shapely.get_parts(shapes, return_index=True)
    xy_px, part = vertices_px(path, GeoSeries(parts, crs=polygons.crs), features[owner], scene)
    parts = shapely.set_coordinates(parts, xy_px)
    parts[part[np.isnan(xy_px).any(axis=1)]] = shapely.Polygon()  # where the scene's CRS has no place for it
    parts = shapely.make_valid(parts)
    frame = shapely.box(0, 0, scene.width_px, scene.height_px)
    return np.array(
        [polygons_in(shapely.intersection(frame, shapely.union_all(parts[owner == i]))) for i in range(len(shapes))],
        dtype=object,
    )


def _near(path: VectorFile, shapes: Geometries, crs: pyproj.CRS | None, scene: Scene) -> Geometries:
    """What of polygons lies near a scene, still in their CRS: the rest may be beyond what the scene's CRS can hold."""
    to_file = transformer(path, crs, scene, back=True)
    outline_px = shapely.box(0, 0, scene.width_px, scene.height_px)
    ring_px = shapely.get_coordinates(shapely.segmentize(outline_px, max(scene.width_px, scene.height_px) / STEPS))
    xy = scene.georeference.to_crs(ring_px)
    ring = np.stack(to_file.transform(xy[:, 0], xy[:, 1]), axis=1)
    lonlat = crs is not None and crs.is_geographic
    if lonlat:
        shapes = np.array([within_180(shape) for shape in shapes], dtype=object)
    if np.isfinite(ring).all():
        scene_there = lonlat_polygons(ring[None])[0] if lonlat else shapely.make_valid(shapely.Polygon(ring))
        # an edge of the scene is no straight line there
        slack = max(shapely.bounds(scene_there)[2:] - shapely.bounds(scene_there)[:2]) / STEPS
        shapes = shapely.intersection(shapes, scene_there.buffer(slack))
    shapes = np.array([polygons_in(shape) for shape in shapes], dtype=object)
    sides = shapely.bounds(shapes)[:, 2:] - shapely.bounds(shapes)[:, :2]
    return np.asarray(shapely.segmentize(shapes, np.nan_to_num(sides.max(axis=1), nan=1) / STEPS), dtype=object)


def _holds_a_pixel(shape: BaseGeometry) -> bool:
    if shape.is_empty:
        return False
    left, top, right, bottom = (int(v) for v in (*np.floor(shape.bounds[:2]), *np.ceil(shape.bounds[2:])))
    return any(
        inside(shape, (x, y, x2, y2), (y2 - y, x2 - x)).any()
        for y in range(top, bottom, BLOCK_PX)
        for x in range(left, right, BLOCK_PX)
        for x2, y2 in [(min(x + BLOCK_PX, right), min(y + BLOCK_PX, bottom))]
    )
