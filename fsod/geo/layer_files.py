"""A scene's detections as a file, in the format that its name asks for.

GeoJSON is longitude and latitude (RFC 7946), the other formats of maps are in the scene's CRS; COCO is pixels, CSV has
pixels and the longitude and latitude of a box's centre. All but COCO have a place for a verdict on each detection. A COCO
data set is written twice: a second file holds the same detections as COCO results, which pycocotools scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyogrio
from geopandas import GeoDataFrame

from fsod.errors import UserError, nearest
from fsod.files import write_bytes
from fsod.geo.geopackage_file import NAME, check_takes_layer, empty_searched, has_other_layers, into_geopackage
from fsod.geo.georeference import WGS84
from fsod.geo.layer_table import Layer, Value
from fsod.geo.quiet import quietly

DEGREE_DIGITS = 9
"""0.1 mm on the ground."""


def check_layer_path(path: Path) -> None:
    """UserError unless ``path`` can become a layer; to be called before the work is done."""
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        found = repr(suffix) if suffix else "no extension"
        raise UserError(
            f"{path}: {found} names no known format{nearest(suffix, _FORMATS)}; known: {', '.join(_FORMATS)}"
        )
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the file to write")
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise UserError(f"{path}: GeoParquet needs the package pyarrow, not installed: pip install 'fsod[parquet]'")


def results_path(path: Path) -> Path | None:
    """The file of COCO results beside a COCO data set; None for layers in other formats."""
    return path.with_suffix(".results.json") if path.suffix.lower() == ".json" else None


class Framed(Protocol):
    """A layer, or several in one."""

    @property
    def run(self) -> dict[str, Value]:
        """See ``Layer.run``."""

    def frame(self, *, lonlat: bool) -> GeoDataFrame:
        """See ``Layer.frame``."""


def write_layer(path: Path, layer: Framed) -> None:
    """Writes detections in the format of the extension, under a temporary name that is then renamed.

    COCO and CSV, which are of one scene's pixels, take a ``Layer`` only.

    The file is put together in memory (about 0.5 kB a box), so that a full disk shows as an error whatever the library
    that writes the format makes of it.

    Raises:
        UserError: no known extension, or the file cannot be written; no half file is left behind, and an older one stays.
    """
    check_layer_path(path)
    check_takes_layer(path)
    try:
        if path.suffix.lower() == ".gpkg" and has_other_layers(path):
            _into_geopackage(path, layer)
        else:
            write_bytes(path, _FORMATS[path.suffix.lower()](layer))
        if (results := results_path(path)) is not None:
            assert isinstance(layer, Layer)
            write_bytes(results, _coco_results(layer))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def _geojson(layer: Framed) -> bytes:
    return geojson_bytes(layer.frame(lonlat=True), layer.run, "Polygon")


def geojson_bytes(frame: GeoDataFrame, run: dict[str, Value], geometry_type: str) -> bytes:
    """RFC 7946, with the run as a member of the collection, which readers of plain GeoJSON skip.

    Args:
        frame: in longitude and latitude; without a CRS in pixels, which the run then says.
        run: what all features share.
        geometry_type: of the features, as GDAL calls it.
    """
    head: dict[str, object] = {"type": "FeatureCollection", "run": run}
    if "coordinate_frame" in run:
        head["coordinate_frame"] = run.pop("coordinate_frame")
    options = {
        "COORDINATE_PRECISION": str(DEGREE_DIGITS),
        "NATIVE_DATA": json.dumps(head, allow_nan=False),
        "NATIVE_MEDIA_TYPE": "application/vnd.geo+json",
        "WRITE_NAME": "NO",
        "RFC7946": "NO" if frame.crs is None else "YES",
    }
    return _through_ogr(frame, "GeoJSON", geometry_type, layer_options=options)


def geojson_crs(content: Mapping[str, Any]) -> str | None:
    """The CRS of a GeoJSON collection; None where it says that its coordinates are pixels.

    By its standard GeoJSON is longitude and latitude; QGIS may say in the file that it is something else.
    """
    if "coordinate_frame" in content:
        return None
    named = content.get("crs")
    return str(named["properties"]["name"]) if named else WGS84


def _geopackage(layer: Framed) -> bytes:
    run = {key: str(value) for key, value in layer.run.items() if value is not None}
    return _through_ogr(layer.frame(lonlat=False), "GPKG", layer_metadata=run)


def _into_geopackage(path: Path, layer: Framed) -> None:
    """Puts the layer into a GeoPackage in place of an earlier one of its name, and empties what was searched for that one."""
    run = {key: str(value) for key, value in layer.run.items() if value is not None}
    into_geopackage(path, layer.frame(lonlat=False), NAME, "Polygon", run, empty_searched)


def _flatgeobuf(layer: Framed) -> bytes:
    return _through_ogr(layer.frame(lonlat=False), "FlatGeobuf")


def _through_ogr(
    frame: GeoDataFrame, driver: str, geometry_type: str = "Polygon", name: str = NAME, **options: dict[str, str]
) -> bytes:
    buffer = BytesIO()
    with quietly():  # a scene without a CRS has been warned of already
        pyogrio.write_dataframe(frame, buffer, driver=driver, layer=name, geometry_type=geometry_type, **options)
    return buffer.getvalue()


def _geoparquet(layer: Framed) -> bytes:
    return _parquet_bytes(layer.frame(lonlat=False))


def _parquet_bytes(frame: GeoDataFrame) -> bytes:
    """GeoParquet 1.1, with the bounds of each shape in a column, by which readers skip what lies elsewhere."""
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False, schema_version="1.1.0", write_covering_bbox=True)
    return buffer.getvalue()


def frame_bytes(frame: GeoDataFrame, suffix: str, name: str, geometry_type: str, run: dict[str, Value]) -> bytes:
    """Features with a coordinate system as a file of one of the formats in ``ON_A_MAP``."""
    if suffix == ".geojson":
        return geojson_bytes(frame.to_crs(WGS84), run, geometry_type)
    if suffix == ".parquet":
        return _parquet_bytes(frame)
    return _through_ogr(frame, {".gpkg": "GPKG", ".fgb": "FlatGeobuf"}[suffix], geometry_type, name)


def _csv(layer: Layer) -> bytes:
    table = layer.frame(lonlat=False).drop(columns="geometry")
    if layer.georeference.crs is not None:
        boxes = layer.detections.boxes_xyxy_px
        lonlat = layer.georeference.to_lonlat((boxes[:, :2] + boxes[:, 2:]) / 2)
        lonlat = np.where(np.isfinite(lonlat), lonlat, np.nan)
        table["lon"] = ((lonlat[:, 0] + 180) % 360 - 180).round(DEGREE_DIGITS)
        table["lat"] = lonlat[:, 1].round(DEGREE_DIGITS)
    return csv_bytes(table)


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A table that is safe to open in a spreadsheet."""
    texts = table.select_dtypes(exclude="number").columns  # pandas before 3 refuses to be asked for "str"
    table = table.assign(**{name: table[name].map(_no_formula) for name in texts})
    return table.rename(columns=_no_formula).to_csv(index=False).encode()


FORMULA_STARTS = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
"""Of a cell; the last four are those of East Asian width, which some spreadsheets read alike."""


def _no_formula(cell: object) -> object:
    """A text that spreadsheets would calculate, with the apostrophe that tells them not to; see OWASP on CSV injection."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def check_columns(path: Path, columns: Iterable[object], needed: Iterable[str]) -> None:
    """UserError where a table lacks a column; it says so where a spreadsheet has put other signs than commas between them."""
    names = [str(column) for column in columns]
    if missing := [name for name in needed if name not in names]:
        other = next((sign for sign in (";", "\t") if len(names) == 1 and sign in names[0]), "")
        why = f"it has no attribute {missing[0]!r}"
        if other:
            why = f"its columns are separated by {other!r}; save it with commas (CSV UTF-8), and a point in numbers"
        raise UserError(f"{path}: not a layer that `fsod predict` wrote: {why}")


def without_apostrophe(cell: str) -> str:
    """A text as it was before ``csv_bytes`` made it safe."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS) else cell


def _coco(layer: Layer) -> bytes:
    """COCO with scores: one image, the scene; boxes are x, y, width, height in its pixels."""
    width, height = layer.size_px
    image = {"id": 1, "file_name": layer.scene, "width": width, "height": height}
    content = {
        "info": dict(layer.attributes),
        "images": [image],
        "categories": [{"id": i, "name": name} for i, name in enumerate(layer.class_names, start=1)],
        "annotations": _coco_annotations(layer),
    }
    return _json(content)


def _coco_results(layer: Layer) -> bytes:
    """What ``COCO.loadRes`` takes for the data set beside it."""
    return _json(as_results(_coco_annotations(layer)))


def as_results(annotations: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of scored COCO annotations what COCO results have."""
    return [{key: one[key] for key in ("image_id", "category_id", "bbox", "score")} for one in annotations]


def _json(content: object) -> bytes:
    return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _coco_annotations(layer: Layer) -> list[dict[str, Any]]:
    found = layer.detections
    annotations = []
    for i, (box, score, class_id) in enumerate(
        zip(found.boxes_xyxy_px.round(2), found.scores, found.class_ids, strict=True), start=1
    ):
        x1, y1, x2, y2 = box.tolist()
        sides = round(x2 - x1, 2), round(y2 - y1, 2)
        annotations.append(
            {
                "id": i,
                "image_id": 1,
                "category_id": int(class_id) + 1,
                "bbox": [x1, y1, *sides],
                "area": round(sides[0] * sides[1], 4),
                "iscrowd": 0,
                "score": round(float(score), 4),
            }
        )
    return annotations


_FORMATS: dict[str, Callable[[Any], bytes]] = {
    ".geojson": _geojson,
    ".gpkg": _geopackage,
    ".fgb": _flatgeobuf,
    ".parquet": _geoparquet,
    ".json": _coco,
    ".csv": _csv,
}

ON_A_MAP = (".geojson", ".gpkg", ".fgb", ".parquet")
"""Extensions of layers that QGIS puts on the map, and that a style belongs to."""
