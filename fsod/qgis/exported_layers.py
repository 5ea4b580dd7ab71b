"""Layers of a project as the files and names that ``fsod`` reads.

A vector layer is exported as QGIS has it: from memory, from a file that QGIS keeps open, with edits that are not saved, with
its filter and its joined and virtual fields. Of its attributes only those go along that fsod reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFields,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)

_QGIS_ONLY = re.compile(r"\|(?:option|credential):")
"""Where the part of a raster's name begins that means something to QGIS alone."""

FROM_FSOD = ("class", "verdict", "scene", "score", "bank", "time")
"""Attributes of a judged layer that fsod reads: the last three tell detections from what was drawn, and one search from others."""


def raster_name(layer: QgsRasterLayer, feedback: QgsProcessingFeedback) -> str:
    """The name by which GDAL finds a raster layer.

    Raises:
        QgsProcessingException: it is none of GDAL's, is in the memory of QGIS, or is gone.
    """
    title = f"raster {layer.name()!r}"
    if layer.providerType() != "gdal":
        raise QgsProcessingException(
            f"{title}: comes from a service ({layer.providerType()}), but fsod reads files; save the part you need "
            "(Export > Save As in the menu of the layer) and choose that"
        )
    name = str(_QGIS_ONLY.split(layer.source())[0])
    if name.startswith("/vsimem/"):
        raise QgsProcessingException(f"{title}: is only in the memory of QGIS; save it to a file and choose that")
    if "://" not in name and not name.startswith("/vsi"):
        path = Path(name)
        if path.exists():
            name = str(path.absolute())
        elif path.is_absolute():
            raise QgsProcessingException(f"{title}: {name} is not there any more; put it back, or choose another one")
    own = layer.dataProvider().crs()
    if own != layer.crs():
        had = own.authid() or "no coordinate system"
        feedback.pushWarning(
            f"{title}: is in {layer.crs().authid()} in the project, but its file says {had}, and fsod goes by the file; if "
            "the file is wrong, correct it (Raster > Projections > Assign Projection)"
        )
    return name


def is_picture(layer: QgsRasterLayer) -> bool:
    """Whether a raster has no coordinate system, so that its coordinates are pixels."""
    return not layer.dataProvider().crs().isValid()


def export_layer(
    layer: QgsVectorLayer, attributes: Sequence[str], path: Path, context: QgsProcessingContext
) -> list[str]:
    """Writes the features of a layer as a GeoPackage, in the layer's own coordinate system.

    To be called in the thread of the layer, where its unsaved edits are seen.

    Args:
        layer: of polygons; fsod says of other features what is wrong with them.
        attributes: to keep; one that the layer lacks is left out.
        path: to write.
        context: knows how to transform.

    Returns:
        The attributes that it has.

    Raises:
        QgsProcessingException: a table without geometry; the disk is full, or the like.
    """
    if not layer.isSpatial():
        raise QgsProcessingException(f"layer {layer.name()!r}: is a table without geometry; choose a layer of polygons")
    kept, positions = QgsFields(), []
    for name in attributes:
        position = layer.fields().lookupField(name)
        if position >= 0:
            kept.append(layer.fields().at(position))
            positions.append(position)
    kind = QgsWkbTypes.linearType(layer.wkbType())
    writer = _writer(path, kept, kind, layer.crs(), context)
    for feature in layer.getFeatures():
        copy = QgsFeature(kept)
        copy.setAttributes([feature.attribute(position) for position in positions])
        copy.setGeometry(_straight(feature.geometry()))
        if not writer.addFeature(copy):
            raise QgsProcessingException(f"layer {layer.name()!r}: cannot be exported ({writer.errorMessage()})")
    del writer  # which closes the file
    return [field.name() for field in kept]


def export_extent(
    extent: QgsRectangle, crs: QgsCoordinateReferenceSystem, path: Path, context: QgsProcessingContext
) -> None:
    """Writes a rectangle as a layer of one polygon; QgsProcessingException as ``export_layer``."""
    writer = _writer(path, QgsFields(), QgsWkbTypes.Type.Polygon, crs, context)
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(extent))
    if not writer.addFeature(feature):
        raise QgsProcessingException(f"the extent cannot be written ({writer.errorMessage()})")
    del writer


def _writer(
    path: Path, fields: QgsFields, kind: int, crs: QgsCoordinateReferenceSystem, context: QgsProcessingContext
) -> QgsVectorFileWriter:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = path.stem
    options.layerOptions = ["FID=fsod_fid", "GEOMETRY_NAME=fsod_geometry"]  # names that no attribute has
    project = context.project() or QgsProject.instance()
    writer = QgsVectorFileWriter.create(str(path), fields, kind, crs, project.transformContext(), options)
    if writer.hasError() != QgsVectorFileWriter.WriterError.NoError:
        raise QgsProcessingException(f"{path}: cannot be written ({writer.errorMessage()})")
    return writer


def _straight(geometry: QgsGeometry) -> QgsGeometry:
    """The same with straight edges: circles that were drawn as such are curves."""
    if geometry.isNull() or not QgsWkbTypes.isCurvedType(geometry.wkbType()):
        return geometry
    return QgsGeometry(geometry.constGet().segmentize())
