"""*Report*: what was found as one page to look at in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterVectorLayer,
)

from .detections_layer import file_of, name_in_file
from .fsod_algorithm import OVERWRITE, FsodAlgorithm, Parameters

INPUT, OUTPUT = "INPUT", "OUTPUT"


class ReportAlgorithm(FsodAlgorithm):
    """``fsod report`` of a layer."""

    COMMAND = "report"
    NAME = "report"
    LABEL = "Report"
    HELP = (
        "Shows what Find objects found on a raster in one HTML file, which opens in a browser without any network. It is made "
        "from the layer's file and the picture beside it, so edits must be saved first."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.addParameter(QgsProcessingParameterVectorLayer(INPUT, "Detections, of Find objects", polygons))
        label = "Also replace a file that fsod did not write"
        self.add_advanced(QgsProcessingParameterBoolean(OVERWRITE, label, defaultValue=False))
        self.addParameter(QgsProcessingParameterFileDestination(OUTPUT, "Report", "HTML (*.html)"))

    def gather(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> list[str]:
        layer = self.parameterAsVectorLayer(parameters, INPUT, context)
        path = file_of(layer)
        if not path:
            raise QgsProcessingException(
                f"layer {layer.name()!r}: lies in no file of its own; choose the layer that Find objects wrote"
            )
        if not Path(path).exists():
            raise QgsProcessingException(
                f"layer {layer.name()!r}: {path} is not there any more; find the objects again"
            )
        if layer.isModified():
            feedback.pushWarning(f"layer {layer.name()!r}: has edits that are not saved; the report does not show them")
        overwrite = ["--overwrite"] if self.parameterAsBool(parameters, OVERWRITE, context) else []
        name = name_in_file(layer)
        return [path, *(["--layer", name] if name else []), *overwrite]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        page = self.parameterAsFileOutput(parameters, OUTPUT, context)
        self.run_command(["--out", page], feedback)
        return {OUTPUT: page}
