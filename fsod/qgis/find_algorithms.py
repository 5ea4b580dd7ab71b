"""*Find objects*: in one raster, whose layer models and batches go on with, or in many at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProcessingParameterVectorLayer,
    QgsProcessingUtils,
    QgsVectorLayer,
)

from .detections_layer import TakingUp, lies_on_picture, source_of
from .exported_layers import export_extent, export_layer, is_picture, raster_name
from .fsod_algorithm import BANDS, NODATA, FsodAlgorithm, Parameters

INPUT, BANK, EXTENT, AREA, SCORE = "INPUT", "BANK", "EXTENT", "AREA", "SCORE"
SCALES, GSD, NATIVE, DAMAGED = "SCALES", "GSD", "NATIVE", "SKIP_DAMAGED"
OUTPUT, FOLDER, LAYERS, FOUND = "OUTPUT", "FOLDER", "LAYERS", "FOUND"
_REMEMBERED = (SCORE, SCALES, GSD, NATIVE, DAMAGED, BANDS, NODATA)
_GEOPACKAGES, _OF_ONE_NAME = "{scene}.gpkg", "{parent}-{scene}.gpkg"


class _Found(NamedTuple):
    """A layer that was found.

    Attributes:
        key: under which QGIS knows that it is to be opened.
        source: of the layer.
        scene: that it is of.
        name: in the project.
    """

    key: str
    source: str
    scene: str
    name: str


class _Finding(FsodAlgorithm):
    """What both have in common."""

    COMMAND = "predict"

    def __init__(self) -> None:
        super().__init__()
        self._pictures: set[str] = set()
        self._found: list[_Found] = []

    def _add_how(self) -> None:
        bank = "Detector (of Finetune), class bank (of Enroll) or exported network"
        files = "fsod (*.safetensors *.onnx)"
        self.addParameter(QgsProcessingParameterFile(BANK, bank, fileFilter=files))
        self.addParameter(QgsProcessingParameterExtent(EXTENT, "Search only in this extent", optional=True))
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        label = "Search only inside these polygons"
        self.addParameter(QgsProcessingParameterVectorLayer(AREA, label, polygons, optional=True))
        double = QgsProcessingParameterNumber.Type.Double
        label = "Leave out what has a lower score (what the detector proposes, if empty)"
        self.addParameter(QgsProcessingParameterNumber(SCORE, label, double, optional=True, minValue=0.005, maxValue=1))
        label = "Also look at the raster reduced, for large objects: 4, or 4,16"
        self.add_advanced(QgsProcessingParameterString(SCALES, label, optional=True))
        label = "Ground size of a pixel to search at, in metres (what the detector says, if empty)"
        self.add_advanced(QgsProcessingParameterNumber(GSD, label, double, optional=True, minValue=0.001))
        label = "At the raster's own size of a pixel"
        self.add_advanced(QgsProcessingParameterBoolean(NATIVE, label, defaultValue=False))
        label = "Go on where pixels cannot be read"
        self.add_advanced(QgsProcessingParameterBoolean(DAMAGED, label, defaultValue=False))
        self.add_seeing()

    def _how(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        bank = self.parameterAsFile(parameters, BANK, context)
        plain = {name: parameters[name] for name in _REMEMBERED if isinstance(parameters.get(name), (str, int, float))}
        self._asked: Parameters = {BANK: bank, **plain}
        numbers = {"--score": SCORE, "--gsd-m": GSD}
        given = {option: name for option, name in numbers.items() if parameters.get(name) is not None}
        flags = {"--native": NATIVE, "--skip-damaged": DAMAGED}
        return [
            "--bank",
            bank,
            *(f"{option}={self.parameterAsDouble(parameters, name, context):g}" for option, name in given.items()),
            *(option for option, name in flags.items() if self.parameterAsBool(parameters, name, context)),
            *self.texts({"--scales": SCALES}, parameters, context),
            *self._area(parameters, context),
            *self.seeing(parameters, context),
        ]

    def _area(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        layer = self.parameterAsVectorLayer(parameters, AREA, context)
        if not parameters.get(EXTENT):
            if layer is None:
                return []
            path = self.scratch("area.gpkg", f"layer {layer.name()!r}")
            export_layer(layer, [], path, context)
            self._asked[AREA] = (
                layer.id() if context.project() and context.project().mapLayer(layer.id()) else layer.source()
            )
            return ["--aoi", str(path)]
        if layer is not None:
            raise QgsProcessingException("an extent and polygons are two ways to say where to search; give one of them")
        extent = self.parameterAsExtent(parameters, EXTENT, context)
        crs = self.parameterAsExtentCrs(parameters, EXTENT, context)
        path = self.scratch("extent.gpkg", "extent")
        export_extent(extent, crs, path, context)
        bounds = extent.xMinimum(), extent.xMaximum(), extent.yMinimum(), extent.yMaximum()
        of_crs = f" [{crs.authid() or 'WKT:' + crs.toWkt()}]" if crs.isValid() else ""
        self._asked[EXTENT] = ",".join(map(repr, bounds)) + of_crs
        return ["--aoi", str(path)]

    def postProcessAlgorithm(self, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> Parameters:
        """Says how QGIS is to open the layers.

        Those of pictures are opened here: QGIS would take a note of having no coordinate system for one, and fail to place it.
        """
        loading = context.layersToLoadOnCompletion()
        for found in self._found:
            if found.key not in loading:
                continue
            details, source = loading.pop(found.key), found.source
            details.name, details.forceName = found.name, True
            if found.scene in self._pictures:
                layer = QgsVectorLayer(source, found.name, "ogr")
                lies_on_picture(layer)
                context.temporaryLayerStore().addMapLayer(layer)
                source = layer.id()
            # with it the scene can be searched again in the same way; set last, as QGIS drops it where a key changes
            details.setPostProcessor(TakingUp({INPUT: found.scene, **self._asked}))
            loading[source] = details
        context.setLayersToLoadOnCompletion(loading)
        return {}


class FindAlgorithm(_Finding):
    """``fsod predict`` of one raster."""

    NAME = "find"
    LABEL = "Find objects"
    HELP = (
        "Finds the classes of Finetune or Enroll in a raster of any size: in all of it, in an extent, or in "
        "polygons.\n\nThe result is a layer of polygons in the raster's coordinate system, with class, score, and a field for "
        "a verdict; go through them in the panel 'fsod: judge'."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.addParameter(QgsProcessingParameterRasterLayer(INPUT, "Raster to search"))
        self._add_how()
        polygon = QgsProcessing.SourceType.TypeVectorPolygon
        self.addParameter(QgsProcessingParameterVectorDestination(OUTPUT, "Detections", polygon))
        self.addOutput(QgsProcessingOutputNumber(FOUND, "Number of objects"))

    def gather(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> list[str]:
        raster = self.parameterAsRasterLayer(parameters, INPUT, context)
        self._scene = raster_name(raster, feedback)
        self._pictures = {self._scene} if is_picture(raster) else set()
        return [self._scene, *self._how(parameters, context)]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        path = self.parameterAsOutputLayer(parameters, OUTPUT, context)
        outcome = self.run_command(["--out", path], feedback)
        if outcome.cancelled:
            return {}
        source = source_of(path)
        self._found = [_Found(path, source, self._scene, _name_of(path, self._scene))]
        return {OUTPUT: source, FOUND: sum(outcome.result["found"].values())}


class FindManyAlgorithm(_Finding):
    """``fsod predict`` of any number of rasters."""

    NAME = "findmany"
    LABEL = "Find objects in many rasters"
    HELP = (
        "Finds the classes of Finetune or Enroll in any number of rasters, one layer per raster. The detector is read once, so "
        "this is faster than Find objects as a batch. If one raster fails, the others are still searched."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add_multiple(INPUT, "Rasters to search", QgsProcessing.SourceType.TypeRaster)
        self._add_how()
        self.addParameter(QgsProcessingParameterBoolean("LOAD", "Open the layers when done", defaultValue=True))
        self.addParameter(QgsProcessingParameterFolderDestination(FOLDER, "Folder of the layers"))
        self.addOutput(QgsProcessingOutputMultipleLayers(LAYERS, "Detections"))
        self.addOutput(QgsProcessingOutputNumber(FOUND, "Number of objects"))

    def gather(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> list[str]:
        rasters = {raster_name(one, feedback): one for one in self.parameterAsLayerList(parameters, INPUT, context)}
        self._scenes = list(rasters)
        self._pictures = {scene for scene, raster in rasters.items() if is_picture(raster)}
        return [*self._scenes, *self._how(parameters, context)]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        folder = Path(self.parameterAsString(parameters, FOLDER, context))
        alike = len({Path(scene).stem for scene in self._scenes}) < len(self._scenes)
        pattern = str(folder / (_OF_ONE_NAME if alike else _GEOPACKAGES))
        outcome = self.run_command(["--out", pattern], feedback, bars=len(self._scenes))
        if outcome.cancelled:
            return {}
        one = {self._scenes[0]: outcome.result["layer"]} if "layer" in outcome.result else {}
        layers = {scene: source_of(path) for scene, path in outcome.result.get("layers", one).items()}
        if outcome.error:
            feedback.reportError(outcome.error)
        if context.project() is not None and self.parameterAsBool(parameters, "LOAD", context):
            for scene, source in layers.items():
                name = f"{Path(scene).stem}: detections"
                details = QgsProcessingContext.LayerDetails(name, context.project(), LAYERS)
                self._found.append(_Found(source, source, scene, name))
                context.addLayerToLoadOnCompletion(source, details)
        found = sum(outcome.result["found"].values())
        return {FOLDER: str(folder), LAYERS: list(layers.values()), FOUND: found}


def _name_of(path: str, scene: str) -> str:
    """What a project calls a layer: as its file, or as its scene where the file is a passing one."""
    passing = Path(path).is_relative_to(QgsProcessingUtils.tempFolder())
    return f"{Path(scene).stem}: detections" if passing else Path(path).stem
