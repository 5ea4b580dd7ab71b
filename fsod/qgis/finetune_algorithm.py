"""*Finetune*: takes up classes in minutes; all weights learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
)

from .fsod_algorithm import FsodAlgorithm, Parameters
from .marks_given import OUTPUT, WEIGHT_FILES, add_marks, marks_arguments

EARLIER, MINUTES, RESTART = "FROM", "MINUTES", "RESTART"
UNFINISHED = ".unfinished"
"""What is behind a detector's name in that of the folder in which a training keeps its state."""

PATIENCE_S = 40.0
"""A training that is stopped writes what it has learned so far, which takes seconds, and more on a busy machine."""


class FinetuneAlgorithm(FsodAlgorithm):
    """``fsod finetune`` of an analyst's marks."""

    COMMAND = "finetune"
    NAME = "finetune"
    LABEL = "Finetune"
    HELP = (
        "Learns classes from a handful of examples in minutes. Draw a polygon around each example and write its class into "
        "an attribute. Areas say where every object is marked: all else in them is background. Judged detections "
        "say what is an object (yes) and what is not (no).\n\n"
        "To go on from an earlier detector, name it: its own examples are learned again, and you may leave rasters "
        "out where new marks lie on the same ones.\n\n"
        "The result is a detector, one file for Find objects. Cancel keeps what has been learned so far."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        add_marks(self, areas=True)
        label = "Go on from this detector, with all that it was made from"
        self.addParameter(QgsProcessingParameterFile(EARLIER, label, optional=True, fileFilter=WEIGHT_FILES))
        self.addParameter(
            QgsProcessingParameterNumber(
                MINUTES, "Minutes to train", QgsProcessingParameterNumber.Type.Double, 2, minValue=0.05, maxValue=600
            )
        )
        self.add_seeing()
        label = "Drop what an unfinished training has left beside the detector (--restart)"
        self.add_advanced(QgsProcessingParameterBoolean(RESTART, label, defaultValue=False))
        self.addParameter(QgsProcessingParameterFileDestination(OUTPUT, "Detector", WEIGHT_FILES))

    def gather(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> list[str]:
        restart = ["--restart"] if self.parameterAsBool(parameters, RESTART, context) else []
        return [
            *marks_arguments(self, parameters, context, feedback),
            *self.texts({"--from": EARLIER}, parameters, context),
            f"--minutes={self.parameterAsDouble(parameters, MINUTES, context):g}",
            *restart,
            *self.seeing(parameters, context),
        ]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        detector = self.parameterAsFileOutput(parameters, OUTPUT, context)
        outcome = self.run_command(["--out", detector], feedback, patience_s=PATIENCE_S)
        if outcome.status == 0 or (outcome.cancelled and outcome.result):
            return {OUTPUT: detector}
        if Path(f"{detector}{UNFINISHED}").exists():
            feedback.pushInfo("what has been learned so far is kept; run Finetune with the same settings to go on")
        return {}
