"""Layers that ``fsod predict`` wrote, as a project has them: which they are, and what was asked for when they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProviderRegistry,
    QgsVectorLayer,
)

VERDICT, ASK = "verdict", "ask"
ASKED_FOR = "fsod/find"
"""Property of a layer, kept in the project: parameters of *Find objects* as JSON."""

_NAME = "detections"
"""Of the layer inside a GeoPackage that fsod wrote."""


def is_detections(layer: QgsMapLayer) -> bool:
    """Whether it can be judged."""
    return isinstance(layer, QgsVectorLayer) and {VERDICT, ASK} <= set(layer.fields().names())


def file_of(layer: QgsMapLayer) -> str:
    """The path of its file; empty where it has none, as in memory."""
    if layer.providerType() != "ogr":
        return ""
    return str(QgsProviderRegistry.instance().decodeUri("ogr", layer.source()).get("path") or "")


def name_in_file(layer: QgsMapLayer) -> str:
    """Which layer of a GeoPackage it is; empty where its source names none, as of the only one."""
    if not file_of(layer).lower().endswith(".gpkg"):
        return ""
    return str(QgsProviderRegistry.instance().decodeUri("ogr", layer.source()).get("layerName") or "")


def source_of(path: str) -> str:
    """What QGIS opens for a layer that was written to this path: GeoPackages may hold others beside it."""
    if not path.lower().endswith(".gpkg"):
        return path
    layer = QgsVectorLayer(path, "", "ogr")  # its provider lives no longer than this reference
    return f"{path}|layername={_NAME}" if len(layer.dataProvider().subLayers()) > 1 else path


def remember(layer: QgsMapLayer, asked_for: dict[str, Any]) -> None:
    """Notes with which parameters a layer was found."""
    layer.setCustomProperty(ASKED_FOR, json.dumps(asked_for))


def asked_for(layer: QgsMapLayer) -> dict[str, Any]:
    """The same again; empty for a layer that was not found by this plugin."""
    try:
        known = json.loads(layer.customProperty(ASKED_FOR) or "{}")
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def lies_on_picture(layer: QgsMapLayer) -> None:
    """For a layer of a picture without a coordinate system: it has none either, whatever its format says of that."""
    layer.setCrs(QgsCoordinateReferenceSystem())


class TakingUp(QgsProcessingLayerPostProcessorInterface):
    """Gives the layer that QGIS loads when an algorithm has ended the style beside it, and notes what was asked for."""

    _alive: list[TakingUp] = []  # noqa: RUF012, QGIS keeps no reference of Python's

    def __init__(self, asked_for: dict[str, Any]) -> None:
        super().__init__()
        self._asked_for = asked_for
        self._alive.append(self)

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        layer.loadDefaultStyle()
        remember(layer, self._asked_for)


def next_path(path: Path) -> Path:
    """A path that is free, with a number one higher: found.gpkg, found_2.gpkg, found_3.gpkg."""
    stem, _, number = path.stem.rpartition("_")
    if not (stem and number.isdigit()):
        stem, number = path.stem, "1"
    count = int(number) + 1
    while True:
        free = path.with_name(f"{stem}_{count}{path.suffix}")
        # nothing of that name: fsod writes a picture and a style beside it
        if not any(free.with_suffix(suffix).exists() for suffix in (path.suffix, ".png", ".qml")):
            return free
        count += 1
