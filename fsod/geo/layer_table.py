"""Detections of a scene as a table of polygons with attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.geo.antimeridian import lonlat_polygons
from fsod.geo.georeference import WGS84, Georeference
from fsod.geo.scene_frame import UPWARDS

PIXEL_FRAME = "pixels of the scene as QGIS lays it out: x right from 0, y up to 0 at its top edge, so y is negative"
"""Of polygons of a scene without a CRS; boxes in attributes have y down, as all pixel boxes do."""

Value = str | float | bool | None
"""Of an attribute; None is unknown."""

BOX_COLUMNS = ("x1_px", "y1_px", "x2_px", "y2_px")

VERDICT, ASK = "verdict", "ask"
"""Attributes of a layer that is to be judged: yes, no, or empty for not judged; and in which order, from 1."""


@dataclass(frozen=True)
class Layer:
    """What a scene's file of detections holds.

    Attributes:
        detections: boxes in the scene's own pixels.
        class_names: by class id.
        georeference: of the scene.
        scene: its name.
        size_px: its width and height.
        attributes: of the run (hashes, GSD, time, ...), put into every feature, and where the format has a place for it
            once for the whole file, so that an empty layer has them too.
        ask: (n,) int64, ranks in which verdicts on the detections teach most, from 1; None for a layer that nobody is to
            judge, which has no attributes for it.
    """

    detections: Detections
    class_names: Sequence[str]
    georeference: Georeference
    scene: str
    size_px: tuple[int, int]
    attributes: Mapping[str, Value]
    ask: NDArray[np.int64] | None = None

    @property
    def run(self) -> dict[str, Value]:
        """What all features share; says so if coordinates are pixels."""
        frame = {"coordinate_frame": PIXEL_FRAME} if self.georeference.crs is None else {}
        return {"scene": self.scene, **self.attributes, **frame}

    def frame(self, *, lonlat: bool) -> GeoDataFrame:
        """One row per box: class, score, verdict and ask, scene, box in pixels, the run's attributes; a polygon each.

        Polygons are in the scene's CRS, or in longitude and latitude and cut at 180 degrees. Without a usable CRS they are
        in pixels of the scene with y upwards, which lie on the picture in QGIS; see ``PIXEL_FRAME``.
        """
        found, crs = self.detections, self.georeference.crs
        columns: dict[str, Any] = {
            "class": np.array([self.class_names[int(c)] for c in found.class_ids], dtype=object),
            "score": found.scores.astype(np.float64).round(4),
        }
        if self.ask is not None:
            columns |= {VERDICT: np.full(len(found), "", dtype=object), ASK: self.ask}
        columns["scene"] = np.full(len(found), self.scene, dtype=object)
        columns |= dict(zip(BOX_COLUMNS, found.boxes_xyxy_px.round(2).T, strict=True))
        columns |= {key: _repeated(value, len(found)) for key, value in self.attributes.items()}
        rings = corners_px(found.boxes_xyxy_px)
        if crs is None:
            return GeoDataFrame(columns, geometry=shapely.polygons(rings * UPWARDS))
        move = self.georeference.to_lonlat if lonlat else self.georeference.to_crs
        rings = move(rings.reshape(-1, 2)).reshape(rings.shape)
        if lonlat:
            return GeoDataFrame(columns, geometry=lonlat_polygons(rings), crs=WGS84)
        return GeoDataFrame(columns, geometry=shapely.polygons(rings), crs=crs)


def corners_px(boxes_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Closed rings of boxes (n, 4): (n, 5, 2) x and y, from the top left corner on, clockwise as seen on the screen."""
    return boxes_xyxy_px[:, [[0, 1], [2, 1], [2, 3], [0, 3], [0, 1]]]


def _repeated(value: Value, count: int) -> NDArray[Any]:
    """A column of one value; what is unknown is NaN, which every format writes as its own kind of nothing."""
    if isinstance(value, str):
        return np.full(count, value, dtype=object)
    return np.full(count, np.nan if value is None else value)
