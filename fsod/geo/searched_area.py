"""What became of every part of a scene: searched, or why not.

A window answers for its core, and the cores tile the scene. Each part of a scene therefore has the status of its window.
Parts without pixels (by cells of 16 px) and parts outside the area of interest (by its polygons) are taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes
from shapely.geometry.base import BaseGeometry

from fsod.geo.blank import gap_cells, gap_shape
from fsod.geo.georeference import Georeference
from fsod.geo.ground_area import ground_km2
from fsod.geo.scene import Scene
from fsod.geo.windows import Grid

SEARCHED, BLANK, NODATA, DAMAGED, NOT_REACHED = "searched", "blank", "nodata", "damaged", "not reached"
OUTSIDE = "outside the area of interest"
STATUSES = (SEARCHED, BLANK, NODATA, DAMAGED, NOT_REACHED, OUTSIDE)
"""The statuses of a part: seen by the network; of one colour; without valid pixels; unreadable; left when the search ended;
not asked for. In rasters, a status is its position here."""


@dataclass(frozen=True)
class SearchedArea:
    """What became of a scene.

    Attributes:
        parts_px: status -> what of the scene has it, polygons in the file's own pixels that tile the scene; in the order of
            ``STATUSES``, those that are there.
        size_px: columns and rows of the file.
        resampled_from_m: ground size of the file's pixels where they were resampled to be searched, else None.
    """

    parts_px: Mapping[str, BaseGeometry]
    size_px: tuple[int, int]
    resampled_from_m: float | None = None

    def share(self, status: str) -> float:
        """Of the scene's pixels, 0..1."""
        part = self.parts_px.get(status)
        return 0.0 if part is None else float(part.area / (self.size_px[0] * self.size_px[1]))

    def drawn(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Numbers of statuses (h, w) over a picture of the scene of that shape."""
        scale = np.array(shape[::-1]) / self.size_px
        parts = [
            (shapely.transform(part, lambda xy: xy * scale), STATUSES.index(status))
            for status, part in self.parts_px.items()
            if status != SEARCHED
        ]
        return rasterize(parts, shape, dtype="uint8") if parts else np.zeros(shape, np.uint8)


def searched_area(
    scene: Scene, grid: Grid, statuses: NDArray[np.uint8], gaps: Mapping[int, bytes], inside_px: BaseGeometry | None
) -> SearchedArea:
    """What became of a scene by what its windows became.

    Args:
        scene: as it was searched.
        grid: its windows at full resolution.
        statuses: (windows,) uint8 numbers of statuses.
        gaps: windows with parts that have no valid pixel -> which, see ``blank.gaps_in``.
        inside_px: what is in the area of interest, in scene pixels; None: what windows say.
    """
    xs, ys = grid.x.seams_px, grid.y.seams_px
    by_status: dict[int, list[BaseGeometry]] = {}
    for shape, number in _outlined(statuses.reshape(len(ys) - 1, len(xs) - 1), xs, ys):
        by_status.setdefault(number, []).append(shape)
    parts = {STATUSES[number]: shapely.union_all(own) for number, own in sorted(by_status.items())}
    if gaps:
        empty = shapely.union_all([shape for index, cells in gaps.items() for shape in _gaps(grid, index, cells)])
        parts = {status: part if status == NODATA else part.difference(empty) for status, part in parts.items()}
        parts[NODATA] = shapely.union_all([parts.get(NODATA, shapely.Polygon()), empty])
    if inside_px is not None:
        inside = shapely.transform(inside_px, lambda xy: xy / scene.grid_to_scene)
        parts = {status: part.intersection(inside) for status, part in parts.items() if status != OUTSIDE}
        whole = shapely.box(0, 0, scene.grid_width_px, scene.grid_height_px)
        parts[OUTSIDE] = whole.difference(shapely.union_all(list(parts.values())))
    to_file = np.array(scene.upright.to_file).reshape(3, 3)

    def in_file(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(xy * scene.grid_to_scene @ to_file[:2, :2].T + to_file[:2, 2])

    placed = {status: shapely.transform(_polygons(parts[status]), in_file) for status in STATUSES if status in parts}
    resampled = (scene.grid_width_px, scene.grid_height_px) != (scene.width_px, scene.height_px)
    return SearchedArea(
        {status: part for status, part in placed.items() if part.area > 0},
        scene.file_size_px,
        scene.georeference.gsd_m if resampled else None,
    )


def areas_km2(area: SearchedArea, georeference: Georeference) -> dict[str, float | None]:
    """Of each status, see ``ground_km2``; ``georeference`` is of the file."""
    return {status: ground_km2(part, georeference, area.size_px) for status, part in area.parts_px.items()}


def _outlined(
    numbers: NDArray[np.uint8], xs: NDArray[np.int64], ys: NDArray[np.int64]
) -> list[tuple[BaseGeometry, int]]:
    """Polygons around what has one number in an array (rows, columns) whose cells are cut at ``xs`` and ``ys``, and it."""
    found: list[tuple[BaseGeometry, int]] = []
    for outline, number in shapes(np.ascontiguousarray(numbers), connectivity=4):
        rings = [np.array(ring).astype(np.intp) for ring in outline["coordinates"]]
        placed = [np.stack([xs[ring[:, 0]], ys[ring[:, 1]]], axis=1) for ring in rings]
        found.append((shapely.Polygon(placed[0], placed[1:]), int(number)))
    return found


def _gaps(grid: Grid, index: int, gaps: bytes) -> list[BaseGeometry]:
    """What has no pixels in the core of a window."""
    window = grid[index]
    empty = gap_cells(gaps, gap_shape(window.height_px, window.width_px))
    left, top, right, bottom = window.core_xyxy_px
    edges = []
    for axis, (start, side, first, last) in enumerate(
        ((window.top_px, window.height_px, top, bottom), (window.left_px, window.width_px, left, right))
    ):
        cuts = (start + np.linspace(0, side, empty.shape[axis] + 1).round().astype(np.int64)).clip(first, last)
        within = np.flatnonzero(np.diff(cuts))
        empty = empty.take(within, axis)
        edges.append(cuts[within[0] : within[-1] + 2])
    ys, xs = edges
    return [shape for shape, number in _outlined(empty.astype(np.uint8), xs, ys) if number]


def _polygons(shape: BaseGeometry) -> shapely.MultiPolygon:
    """The polygons of what an overlay leaves, which may hold lines and points too."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.MultiPolygon(parts[shapely.get_dimensions(parts) == 2].tolist())
