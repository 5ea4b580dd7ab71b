"""A layer of detections as an item of a STAC catalogue, by the label extension (v1.0.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from fsod.errors import UserError
from fsod.files import write_text
from fsod.geo.antimeridian import lonlat_polygons
from fsod.geo.layer_files import DEGREE_DIGITS
from fsod.geo.layer_table import Layer, corners_px

EXTENSIONS = [f"https://stac-extensions.github.io/label/v1.0.{n}/schema.json" for n in (1, 0)]
"""The schema of 1.0.1 asks for 1.0.0, and readers for 1.0.1."""

STAC_VERSION = "1.1.0"

MEDIA_TYPES = {
    ".geojson": "application/geo+json",
    ".gpkg": "application/geopackage+sqlite3",
    ".fgb": "application/vnd.flatgeobuf",
    ".parquet": "application/vnd.apache.parquet",
}
"""Of layers on a map, which can be the labels of an item."""

EDGE_STEPS = 8
"""A side of the scene is no straight line in longitude and latitude: it is followed in so many steps."""


def label_item_path(layer: Path) -> Path:
    """The item, which lies beside its layer."""
    return layer.with_suffix(".stac.json")


def check_can_be_labels(layer: Path) -> None:
    """UserError for a layer in a format that is not put on a map."""
    if layer.suffix.lower() not in MEDIA_TYPES:
        raise UserError(f"{layer}: --stac goes with a layer of {', '.join(MEDIA_TYPES)}")


def write_label_item(path: Path, layer: Layer, source: str, source_asset: str | None) -> None:
    """Writes the item beside its layer, see ``label_item_path``.

    Args:
        path: the layer.
        layer: what it holds.
        source: the item of the scene, or the scene itself: its path or URL.
        source_asset: key of the scene among the assets of that item; None where ``source`` is the scene.

    Raises:
        OSError: it cannot be written; no half file is left behind.
    """
    footprint, bbox = _footprint(layer)
    counts = np.bincount(layer.detections.class_ids, minlength=len(layer.class_names)).tolist()
    link: dict[str, Any] = {"rel": "source", "href": source, "title": layer.scene}
    if source_asset is not None:
        link |= {"type": "application/geo+json", "label:assets": [source_asset]}
    run = {f"fsod:{key}": value for key, value in layer.attributes.items() if value is not None and key != "time"}
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": EXTENSIONS,
        "id": path.stem,
        "geometry": footprint,
        **({} if bbox is None else {"bbox": bbox}),
        "properties": {
            "datetime": layer.attributes["time"],
            "title": f"{', '.join(layer.class_names)[:200]} in {layer.scene}",
            "label:type": "vector",
            "label:properties": ["class"],
            "label:classes": [{"name": "class", "classes": list(layer.class_names)}],
            "label:description": f"Objects that fsod found in {layer.scene}, with a score each; nobody has judged them yet.",
            "label:tasks": ["detection"],
            "label:methods": ["automated"],
            "label:overviews": [
                {
                    "property_key": "class",
                    "counts": [{"name": n, "count": count} for n, count in zip(layer.class_names, counts, strict=True)],
                }
            ],
            **run,
        },
        "links": [link],
        "assets": {
            "labels": {
                "href": f"./{path.name}",
                "title": "Detections",
                "type": MEDIA_TYPES[path.suffix.lower()],
                "roles": ["labels", "data"],
            }
        },
    }
    write_text(label_item_path(path), json.dumps(item, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def _footprint(layer: Layer) -> tuple[dict[str, Any] | None, list[float] | None]:
    """The scene's outline in longitude and latitude, and its bounds: west may be greater than east, across 180 degrees."""
    if layer.georeference.crs is None:
        return None, None
    width, height = layer.size_px
    ring = corners_px(np.array([[0.0, 0.0, width, height]]))[0]
    ring = shapely.get_coordinates(shapely.segmentize(shapely.LinearRing(ring), max(width, height) / EDGE_STEPS))
    outline = lonlat_polygons(layer.georeference.to_lonlat(ring)[None])[0]
    if outline is None or outline.is_empty:
        return None, None
    outline = shapely.orient_polygons(shapely.set_precision(outline, 10.0**-DEGREE_DIGITS, mode="pointwise"))
    west, south, east, north = outline.bounds
    if west == -180 and east == 180 and (parts := shapely.get_parts(outline)).size > 1:
        bounds = shapely.bounds(parts)
        west, east = bounds[bounds[:, 2] == 180, 0].min(), bounds[bounds[:, 0] == -180, 2].max()
    return json.loads(shapely.to_geojson(outline)), [float(v) for v in (west, south, east, north)]
