"""Layers as ``fsod predict`` writes them, of places that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine

from fsod.boxes import Detections
from fsod.evidence import Evidence
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer, Value
from fsod.geo.searched_area import NOT_REACHED, SEARCHED, SearchedArea
from fsod.geo.searched_layer import SearchedLayer, write_searched

SIDE_PX = 2000
"""Of the scene, whose pixels are 0.5 m: a square kilometre, its top left corner at 500,000 east and 5,000,000 north."""

UTM = Georeference(pyproj.CRS("EPSG:32633"), Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), (0.5, 0.5))
SHIP = Evidence(12, (0.9,) * 9 + (0.0,) * 3, 8, 2)


def write_found(
    path: Path,
    middles_m: Sequence[tuple[float, float]],
    *,
    known: dict[str, Evidence] | None = None,
    classes: Sequence[str] = (),
    searched_px: shapely.Polygon | None = None,
    place: Georeference = UTM,
    bank: str = "b",
    shown_from: float = 0.3,
) -> Path:
    """Boxes of 10 m around places in metres from the scene's top left corner; all of it was searched if not told otherwise."""
    known = {"ship": SHIP} if known is None else known
    names = list(known)
    middles_px = np.array(middles_m, np.float64).reshape(-1, 2) / 0.5
    own = [names.index(one) for one in classes] if classes else [0] * len(middles_px)
    found = Detections(
        np.concatenate([middles_px - 10, middles_px + 10], axis=1),
        np.full(len(middles_px), 0.5, np.float32),
        np.array(own, np.int64),
    )
    run: dict[str, Value] = {"weights": "a", "bank": bank, "gsd_m": 0.5}
    size_px = (SIDE_PX, SIDE_PX)
    write_layer(path, Layer(found, names, place, "s.tif", size_px, run, np.arange(1, len(found) + 1)))
    whole = shapely.box(0, 0, *size_px)
    parts: dict[str, Any] = {SEARCHED: whole}
    if searched_px is not None:
        parts = {SEARCHED: searched_px, NOT_REACHED: whole.difference(searched_px)}
    numbers = {name: {"found": 0, **one.numbers(shown_from)} for name, one in known.items()}
    told = {**run, "summary": "", "classes": json.dumps(numbers)}
    write_searched(path, SearchedLayer(SearchedArea(parts, size_px), place, "s.tif", told))
    return path
