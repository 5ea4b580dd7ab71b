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
from fsod.geo.features import polygons_in
from fsod.geo.georeference import Georeference
from fsod.geo.ground_area import ground_km2
from fsod.geo.scene import Scene
from fsod.geo.windows import Axis, Grid

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

    @property
    def any_searched(self) -> bool:
        """Whether the network has seen any of it."""
        return SEARCHED in self.parts_px

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing in it to be seen, as far as it was to be searched: all of one colour, or no valid pixel."""
        asked = set(self.parts_px) - {OUTSIDE}
        return bool(asked) and asked <= {BLANK, NODATA}

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
    parts = _parts(grid, statuses, gaps)
    if inside_px is not None:
        inside = shapely.transform(inside_px, lambda xy: xy / scene.grid_to_scene)
        parts = {status: part.intersection(inside) for status, part in parts.items() if status != OUTSIDE}
        whole = shapely.box(0, 0, scene.grid_width_px, scene.grid_height_px)
        parts[OUTSIDE] = whole.difference(shapely.union_all(list(parts.values())))
    to_file = np.array(scene.upright.to_file).reshape(3, 3)

    def in_file(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(xy * scene.grid_to_scene @ to_file[:2, :2].T + to_file[:2, 2])

    placed = {status: shapely.transform(polygons_in(parts[status]), in_file) for status in STATUSES if status in parts}
    resampled = (scene.grid_width_px, scene.grid_height_px) != (scene.width_px, scene.height_px)
    return SearchedArea(
        {status: part for status, part in placed.items() if part.area > 0},
        scene.file_size_px,
        scene.georeference.gsd_m if resampled else None,
    )


def areas_km2(area: SearchedArea, georeference: Georeference) -> dict[str, float | None]:
    """Of each status, see ``ground_km2``; ``georeference`` is of the file."""
    return {status: ground_km2(part, georeference, area.size_px) for status, part in area.parts_px.items()}


def _parts(grid: Grid, statuses: NDArray[np.uint8], gaps: Mapping[int, bytes]) -> dict[str, BaseGeometry]:
    """What windows became, and ``NODATA`` where they have no pixels, as polygons of grid pixels.

    All windows of a row are cut at the same places, and so are those of a column. So all cells of all cores make one picture of
    statuses, whose outlines are drawn once; overlays of thousands of holes would take longer than it takes to see them.
    """
    rows, columns = len(grid.y.seams_px) - 1, len(grid.x.seams_px) - 1
    has_gaps = np.isin(np.arange(rows * columns), list(gaps)).reshape(rows, columns)
    ys, y_owner, y_cell = _cuts(grid.y, np.asarray(has_gaps.any(axis=1)))
    xs, x_owner, x_cell = _cuts(grid.x, np.asarray(has_gaps.any(axis=0)))
    picture = statuses.reshape(rows, columns)[y_owner][:, x_owner]
    shape = gap_shape(grid.y.window_px, grid.x.window_px)
    row_starts, column_starts = (
        np.searchsorted(owner, np.arange(n + 1)) for owner, n in ((y_owner, rows), (x_owner, columns))
    )
    for index, cells in gaps.items():
        row, column = divmod(index, columns)
        own = (
            slice(row_starts[row], row_starts[row + 1]),
            slice(column_starts[column], column_starts[column + 1]),
        )
        empty = gap_cells(cells, shape)[y_cell[own[0]]][:, x_cell[own[1]]]
        picture[own][empty] = STATUSES.index(NODATA)
    by_status: dict[int, list[shapely.Polygon]] = {}
    for outline, number in shapes(np.ascontiguousarray(picture), connectivity=4):
        rings = [np.array(ring).astype(np.intp) for ring in outline["coordinates"]]
        placed = [np.stack([xs[ring[:, 0]], ys[ring[:, 1]]], axis=1) for ring in rings]
        by_status.setdefault(int(number), []).append(shapely.Polygon(placed[0], placed[1:]))
    # neighbours of one status are one polygon already, so those that are left touch at corners at most
    return {
        STATUSES[number]: shapely.make_valid(shapely.MultiPolygon(own)) for number, own in sorted(by_status.items())
    }


def _cuts(axis: Axis, has_gaps: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where cores are cut along an axis: as the cells of their windows, those without gaps not at all.

    Returns:
        (n + 1,) edges in grid pixels; of each of the n pieces (n,) the number of the core and of the window's cell.
    """
    seams = np.asarray(axis.seams_px, np.int64)
    count = gap_shape(axis.window_px, axis.window_px)[0]
    cuts = np.linspace(0, axis.window_px, count + 1).round().astype(np.int64)
    edges, owners, cells = [], [], []
    for number, start in enumerate(axis.starts_px):
        first, last = seams[number], seams[number + 1]
        own = (start + cuts).clip(first, last) if has_gaps[number] else np.array([first, last])
        within = np.flatnonzero(np.diff(own))
        edges.append(own[within])
        owners.append(np.full(len(within), number))
        cells.append(within)
    return np.concatenate([*edges, seams[-1:]]), np.concatenate(owners), np.concatenate(cells)
