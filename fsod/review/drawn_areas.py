"""Areas of a scene in which every object is marked, in a GeoJSON file that ``fsod finetune --area`` takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.files import write_text
from fsod.geo.features import read_frame
from fsod.geo.georeference import WGS84
from fsod.geo.layer_table import PIXEL_FRAME
from fsod.geo.scene import Scene
from fsod.geo.scene_frame import UPWARDS
from fsod.review.placing import Placing, placing


class DrawnAreas:
    """Areas and their file, which is there as long as there is an area.

    Attributes:
        path: of the file.
        polygons_px: the areas in the scene's pixels.
    """

    def __init__(self, path: Path, scene: Scene) -> None:
        self.path = path
        self.polygons_px: list[shapely.Polygon] = []
        self._scene = scene

    def read(self) -> None:
        """Takes the areas from the file as it is now; UserError where it is no vector file."""
        self.polygons_px = []
        if self.path.exists():
            shapes = read_frame(self.path, None).geometry
            self.polygons_px = placing(self.path, shapes, self._scene).polygons_px(shapes)

    def parts(self, ring_px: NDArray[np.float64]) -> list[shapely.Polygon]:
        """What of a drawn outline (vertices, 2) lies on the scene; UserError where that is less than a pixel."""
        frame = shapely.box(0, 0, self._scene.width_px, self._scene.height_px)
        shape = shapely.make_valid(shapely.Polygon(ring_px)).intersection(frame)
        polygons = [part for part in shapely.get_parts(shape) if isinstance(part, shapely.Polygon) and part.area >= 1]
        if not polygons:
            raise UserError("this area holds no pixel of the scene; draw it larger")
        return polygons

    def write(self, polygons_px: list[shapely.Polygon]) -> None:
        """Puts these areas in place of those in the file."""
        if polygons_px:
            placed = Placing(self.path, self._scene, pyproj.CRS(WGS84), float(UPWARDS[1]))
            shapes = [shapely.geometry.mapping(placed.polygon(one)) for one in polygons_px]
            features = [{"type": "Feature", "properties": {}, "geometry": shape} for shape in shapes]
            frame = {"coordinate_frame": PIXEL_FRAME} if self._scene.georeference.crs is None else {}
            write_text(self.path, json.dumps({"type": "FeatureCollection", **frame, "features": features}) + "\n")
        else:
            self.path.unlink(missing_ok=True)
        self.polygons_px = polygons_px
