"""Layers of strangers: labels in the formats that people keep them in, and what ``fsod predict`` wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import rasterio

from data_prep.label_files import LabelSettings
from data_prep.vector_labels import prepare_labels
from fsod.boxes import Detections
from fsod.geo.area import read_area
from fsod.geo.labels import read_boxes
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from fsod.geo.verdicts import read_verdicts
from fsod.report.scene_report import scene_report, write_overview
from tests.hostile.kind import Kind, both
from tests.labelled_scene import make_scene, save_labels
from tests.painted import write

VECTORS = (".geojson", ".gpkg", ".fgb", ".shp", ".parquet", ".kml")
SIDECARS = (".shx", ".dbf", ".prj", ".cpg")


def labels_as(suffix: str) -> Callable[[Path], object]:
    """A scene with labels in a vector format."""
    return lambda folder: save_labels(folder / f"labels{suffix}", make_scene(folder / "scene.tif"), crs="EPSG:4326")


def make_parquet(folder: Path) -> None:
    """The same as GeoParquet."""
    save_labels(folder / "other.gpkg", make_scene(folder / "scene.tif"))
    geopandas.read_file(folder / "other.gpkg").to_parquet(folder / "labels.parquet")


def make_kml(folder: Path) -> None:
    """The same by hand."""
    with rasterio.open(make_scene(folder / "scene.tif")) as file:
        x, y = rasterio.warp.transform(file.crs, "EPSG:4326", [500010, 500030], [4999990, 4999970])
    ring = " ".join(f"{a},{b}" for a, b in [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[0])])
    place = f"<Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
    head = '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>a</name>'
    data = '<ExtendedData><Data name="class"><value>ship</value></Data></ExtendedData>'
    write(folder / "labels.kml", f"{head}{data}{place}</Placemark></Document></kml>")


def read_labels(folder: Path) -> None:
    """As examples, and as an area."""
    path = next(p for p in sorted(folder.glob("labels.*")) if p.suffix in VECTORS)
    with open_scene(folder / "scene.tif") as scene:
        both(lambda: read_boxes(path, "class", scene), lambda: read_area(path, scene).shape)


def label_folder(folder: Path) -> None:
    """As a data set of scenes and labels."""
    settings = LabelSettings("class", window_px=64, overlap_px=0, skip_bad=True)
    prepare_labels(folder / "scene.tif", folder / "labels.geojson", folder / "out", settings)


def found_as(suffix: str) -> Callable[[Path], object]:
    """A layer of detections with all that belongs to it."""

    def make(folder: Path) -> None:
        with open_scene(make_scene(folder / "scene.tif")) as scene:
            georeference = scene.file_georeference
        found = Detections(np.array([[10.0, 20, 50, 60]] * 3), np.full(3, 0.5, np.float32), np.zeros(3, np.int64))
        about: dict[str, str | float | bool | None] = {"weights": "w", "gsd_m": 0.5, "time": "2024-01-01T00:00:00Z"}
        path = folder / f"found{suffix}"
        layer = Layer(found, ["ship"], georeference, "scene.tif", (130, 100), about, np.arange(1, 4))
        write_layer(path, layer)
        write_overview(path, np.full((50, 65, 3), 99, np.uint8), (130, 100), ["ship"])
        if suffix == ".geojson":
            path.write_text(
                path.read_text()
                .replace('"verdict": null', '"verdict": "yes"')
                .replace('"verdict": ""', '"verdict": "yes"')
            )
        elif suffix == ".csv":
            table = pd.read_csv(path)
            table["verdict"] = "yes"
            table.to_csv(path, index=False)
        elif suffix == ".gpkg":
            frame = geopandas.read_file(path)
            frame["verdict"] = "yes"
            path.unlink()
            frame.to_file(path)

    return make


def read_layer_of_detections(folder: Path) -> None:
    """As a report does, and as a layer of verdicts."""
    path = next(p for p in sorted(folder.glob("found.*")) if p.suffix in (".geojson", ".gpkg", ".csv", ".json", ".fgb"))
    with open_scene(folder / "scene.tif") as scene:
        report, judge = lambda: scene_report(path, folder / "out.html"), lambda: read_verdicts(path, [scene])
        both(*([report] if path.suffix == ".json" else [report, judge]))


LABELS = {
    **{suffix[1:]: labels_as(suffix) for suffix in (".geojson", ".gpkg", ".fgb", ".shp")},
    "parquet": make_parquet,
    "kml": make_kml,
}
VECTOR_KINDS = (
    *(Kind(f"labels {name}", make, (*VECTORS, *SIDECARS), read_labels) for name, make in LABELS.items()),
    Kind("label folder", labels_as(".geojson"), (".geojson",), label_folder, 0.3),
    *(
        Kind(f"found {s}", found_as(s), (s, ".overview.jpg"), read_layer_of_detections, 0.7)
        for s in (".geojson", ".gpkg", ".csv", ".json")
    ),
)
