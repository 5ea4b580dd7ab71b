"""A layer of two boxes in one of several places, to be written and read."""

from __future__ import annotations

import numpy as np
import pyproj
from affine import Affine

from fsod.boxes import Detections
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import ON_A_MAP
from fsod.geo.layer_table import Layer

ALL = (*ON_A_MAP, ".json", ".csv")


BOXES = Detections(
    np.array([[0, 0, 100, 80], [10.25, 20.5, 30.75, 44], [99, 79, 100, 80]], dtype=np.float64),
    np.array([0.9, 0.5, 0.25], np.float32),
    np.array([0, 1, 1]),
)


NAMES = ("storage tank", 'Straße, "x" <&>\'')


RUN: dict[str, str | float | bool | None] = {
    "weights": "ab12",
    "bank": "cd34",
    "gsd_m": 0.5,
    "time": "2026-11-23T01:02:03Z",
}


PIXELS = Georeference(None, Affine.identity(), None)


PLACES = {
    "utm": ("EPSG:32633", Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)),
    "nad83": ("EPSG:26913", Affine(0.15, 0, 519_467, 0, -0.15, 4_311_669)),
    "web mercator": ("EPSG:3857", Affine(2, 0, 2_086_982, 0, -2, 7_239_030)),
    "world mercator": ("EPSG:3395", Affine(0.1, 0, 13_467_532, 0, -0.1, 1_632_019)),
    "degrees": ("EPSG:4326", Affine(1e-5, 0, -115, 0, -1e-5, 36)),
    "south up": ("EPSG:32733", Affine(0.5, 0, 500_000, 0, 0.5, 5_000_000)),
    "rotated": (
        "EPSG:32633",
        Affine.translation(500_000, 5_000_000) @ Affine.rotation(35) @ Affine.scale(0.5, -0.5),
    ),
}


def place(name: str) -> Georeference:
    crs, transform = PLACES[name]
    return Georeference(pyproj.CRS(crs), transform, None)


def layer(georeference: Georeference, found: Detections = BOXES) -> Layer:
    ask = np.array([2, 3, 1])[: len(found)]
    return Layer(found, NAMES, georeference, "scène.tif", (100, 80), RUN, ask)
