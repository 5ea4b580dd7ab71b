"""Parameters for what an analyst says of scenes, which *Enroll* and *Finetune* share."""

from __future__ import annotations

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterField,
)

from .exported_layers import FROM_FSOD
from .fsod_algorithm import FsodAlgorithm, Parameters, repeated

SCENES, EXAMPLES, FIELD, AREAS, VERDICTS, RIVALS, OUTPUT = (
    *("SCENES", "EXAMPLES", "FIELD", "AREAS", "VERDICTS", "NOT", "OUTPUT"),
)
WEIGHT_FILES = "fsod (*.safetensors)"
CLASS = "class"


def add_marks(algorithm: FsodAlgorithm, *, areas: bool) -> None:
    """Adds the parameters; areas only if asked for."""
    polygons = QgsProcessing.SourceType.TypeVectorPolygon
    algorithm.add_multiple(
        SCENES, "Rasters that the examples lie on", QgsProcessing.SourceType.TypeRaster, optional=True
    )
    algorithm.add_multiple(EXAMPLES, "Examples: a polygon around each", polygons, optional=True)
    field = QgsProcessingParameterField(FIELD, "Attribute that holds the class", CLASS, EXAMPLES, optional=True)
    algorithm.addParameter(field)
    if areas:
        label = "Areas in which every object of the classes is marked"
        algorithm.add_multiple(AREAS, label, polygons, optional=True)
    label = "Judged detections: layers of Find objects with yes or no in verdict"
    algorithm.add_multiple(VERDICTS, label, polygons, optional=True)
    label = "Not: polygons around what is often taken for the classes"
    algorithm.add_multiple(RIVALS, label, polygons, optional=True)


def marks_arguments(
    algorithm: FsodAlgorithm, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
) -> list[str]:
    """Arguments of the same; QgsProcessingException for layers that cannot be taken."""
    field = algorithm.parameterAsString(parameters, FIELD, context) or CLASS
    given = {
        "--scene": algorithm.rasters(SCENES, parameters, context, feedback),
        "--examples": algorithm.vectors(EXAMPLES, [field], field, parameters, context),
        "--verdicts": algorithm.vectors(VERDICTS, FROM_FSOD, "verdict", parameters, context),
        "--not": algorithm.vectors(RIVALS, [field], field, parameters, context),
    }
    if algorithm.parameterDefinition(AREAS) is not None:
        given["--area"] = algorithm.vectors(AREAS, [], "", parameters, context)
    if not (given["--examples"] or given["--verdicts"] or given.get("--area")):
        raise QgsProcessingException("nothing to learn from: choose a layer of examples, or one of judged detections")
    arguments = [argument for option, values in given.items() for argument in repeated(option, values)]
    return [*arguments, "--attribute", field]
