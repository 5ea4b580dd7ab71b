"""Detections of a scene as GeoJSON (RFC 7946)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.georeference import Georeference

DEGREE_DIGITS = 9
"""0.1 mm on the ground."""

PIXEL_FRAME = "pixels of the scene: x right, y down, from its top left corner"


def corners_px(boxes_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Closed rings of boxes (n, 4): (n, 5, 2) x and y, from the top left corner on, clockwise as seen on the screen."""
    return boxes_xyxy_px[:, [[0, 1], [2, 1], [2, 3], [0, 3], [0, 1]]]


def write_geojson(
    path: Path,
    detections: Detections,
    class_names: Sequence[str],
    georeference: Georeference,
    scene: str,
    attributes: Mapping[str, Any],
) -> None:
    """Writes boxes as polygons with class, score, pixel box and scene, under a temporary name that is then renamed.

    Coordinates are WGS84 longitude and latitude. A scene without a usable CRS gets its pixel coordinates instead, and
    the file says so in a member ``coordinate_frame``, which readers of plain GeoJSON skip.

    Args:
        path: the file to write.
        detections: boxes in the scene's own pixels.
        class_names: by class id.
        georeference: of the scene.
        scene: its name, for the property ``scene``.
        attributes: of the run (hashes, GSD, ...): JSON values, put into every feature, and into a member ``run`` so that
            an empty layer has them too.

    Raises:
        UserError: the file cannot be written; nothing is left behind.
    """
    head: dict[str, Any] = {"type": "FeatureCollection", "name": path.stem, "run": {"scene": scene, **attributes}}
    if georeference.crs is None:
        head["coordinate_frame"] = PIXEL_FRAME
    features = _features(detections, class_names, georeference, {"scene": scene, **attributes})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, json.dumps(head, allow_nan=False), features)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_whole(path: Path, head: str, features: Iterator[dict[str, Any]]) -> None:
    """A feature a line under a temporary name, renamed at the end; whatever goes wrong, no half file stays."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(head[:-1] + ', "features": [')
            for i, feature in enumerate(features):
                file.write((",\n" if i else "\n") + json.dumps(feature, allow_nan=False))
            file.write("\n]}\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _features(
    detections: Detections, class_names: Sequence[str], georeference: Georeference, shared: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    boxes = detections.boxes_xyxy_px
    rings = corners_px(boxes)
    if georeference.crs is not None:
        rings = georeference.to_lonlat(rings.reshape(-1, 2)).reshape(rings.shape).round(DEGREE_DIGITS)
    for ring, box, score, class_id in zip(rings, boxes, detections.scores, detections.class_ids, strict=True):
        own = {
            "class": class_names[int(class_id)],
            "score": round(float(score), 4),
            "box_xyxy_px": [round(float(v), 2) for v in box],
        }
        split = georeference.crs is not None and np.ptp(ring[:, 0]) > 180
        yield {
            "type": "Feature",
            "geometry": _split_at_antimeridian(ring) if split else _polygon(ring),
            "properties": {**own, **shared},
        }


def _polygon(ring: NDArray[np.float64]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [_counter_clockwise(ring).tolist()]}


def _split_at_antimeridian(ring: NDArray[np.float64]) -> dict[str, Any]:
    """A ring across 180 degrees as one part on either side of it, as RFC 7946 wants."""
    eastward = np.where(ring[:, :1] < 0, ring + np.array([360, 0]), ring)
    parts = []
    for start, turn in ((0, 0), (180, 360)):
        part = shapely.clip_by_rect(shapely.Polygon(eastward), start, -90, start + 180, 90)
        if not part.is_empty:
            parts.append(_counter_clockwise(shapely.get_coordinates(part) - np.array([turn, 0])).tolist())
    return {"type": "MultiPolygon", "coordinates": [[part] for part in parts]}


def _counter_clockwise(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    return ring if shapely.is_ccw(shapely.linearrings(ring)) else ring[::-1]
