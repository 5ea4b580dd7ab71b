"""*Enroll*: takes up classes in seconds, without training."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
)

from .fsod_algorithm import FsodAlgorithm, Parameters
from .marks_given import OUTPUT, WEIGHT_FILES, add_marks, marks_arguments

CHECKPOINT = "CHECKPOINT"


class EnrollAlgorithm(FsodAlgorithm):
    """``fsod enroll``."""

    COMMAND = "enroll"
    NAME = "enroll"
    LABEL = "Enroll"
    HELP = (
        "Adds classes from a handful of examples in seconds, without training. Draw a polygon around each example and "
        "write its class into an attribute. The result is a class bank, a small file for Find objects.\n\n"
        "Finetune takes minutes and finds more."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add_marks(self, areas=False)
        weights = "Other weights than those that come with fsod"
        self.add_advanced(QgsProcessingParameterFile(CHECKPOINT, weights, optional=True, fileFilter=WEIGHT_FILES))
        self.add_seeing()
        self.addParameter(QgsProcessingParameterFileDestination(OUTPUT, "Class bank", WEIGHT_FILES))

    def gather(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> list[str]:
        return [
            *marks_arguments(self, parameters, context, feedback),
            *self.texts({"--checkpoint": CHECKPOINT}, parameters, context),
            *self.seeing(parameters, context),
        ]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        bank = self.parameterAsFileOutput(parameters, OUTPUT, context)
        outcome = self.run_command(["--out", bank], feedback)
        return {} if outcome.cancelled else {OUTPUT: bank}
