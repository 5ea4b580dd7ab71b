"""*Learn from these*: a training with the verdicts on a layer, then the same search again with what it has learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .detections_layer import asked_for, file_of, lies_on_picture, next_path, remember

FINETUNE, FIND = "fsod:finetune", "fsod:find"


class Learning(QObject):
    """Runs both as tasks of QGIS, one after the other.

    Attributes:
        began: signal, what is being done now.
        advanced: signal, 0..100 of that.
        found: signal, the new layer, which is in the project.
        failed: signal, what was wrong; empty where it was cancelled.
    """

    began = pyqtSignal(str)
    advanced = pyqtSignal(float)
    found = pyqtSignal(object)
    failed = pyqtSignal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._task: QgsProcessingAlgRunnerTask | None = None
        self._feedback: QgsProcessingFeedback | None = None
        self._cancelled = False

    @property
    def at_work(self) -> bool:
        """Whether a task is running."""
        return self._task is not None

    def start(self, layer: QgsVectorLayer, scene: str, detector: Path, minutes: float) -> None:
        """Learns from the verdicts on a layer.

        Args:
            layer: of detections, judged.
            scene: the raster that they lie on.
            detector: that ``fsod finetune`` made; what it was made from is learned again as well.
            minutes: to train.
        """
        self._cancelled = False
        better = next_path(detector)
        given = {"SCENES": [scene], "VERDICTS": [layer.id()], "FROM": str(detector), "MINUTES": minutes}
        given["RESTART"] = True  # verdicts have changed since a training that was cancelled
        how = {**asked_for(layer), "INPUT": scene, "BANK": str(better)}
        file = file_of(layer)
        near = Path(file) if file.lower().endswith((".gpkg", ".geojson", ".fgb")) else better.with_name("found.gpkg")
        output = next_path(near)

        def find(result: dict[str, Any]) -> None:
            self._run(FIND, {**how, "OUTPUT": str(output)}, f"searching with {better.name}", take_up)

        def take_up(result: dict[str, Any]) -> None:
            new = QgsVectorLayer(result["OUTPUT"], output.stem, "ogr")
            if not new.isValid():
                self._end(f"{output}: was written, and QGIS cannot open it")
                return
            if not layer.crs().isValid():
                lies_on_picture(new)
            remember(new, how)
            QgsProject.instance().addMapLayer(new)
            self._end(None)
            self.found.emit(new)

        self._run(FINETUNE, {**given, "OUTPUT": str(better)}, f"learning for {minutes:g} minutes", find)

    def stop(self) -> None:
        """Cancels what is running; ``failed`` tells when it has ended."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _run(
        self, algorithm_id: str, parameters: dict[str, Any], what: str, then: Callable[[dict[str, Any]], None]
    ) -> None:
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(algorithm_id)
        context = QgsProcessingContext()
        context.setProject(QgsProject.instance())
        feedback = QgsProcessingFeedback(False)
        able, why = algorithm.canExecute()
        if able:
            able, why = algorithm.checkParameterValues(parameters, context)
        if not able:
            self._end(why)
            return
        feedback.progressChanged.connect(self.advanced)
        task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)

        def ended(successful: bool, result: dict[str, Any]) -> None:
            if self._cancelled:
                self._end("")
            elif successful:
                then(result)
            else:
                self._end(_reason(feedback.textLog()))

        task.executed.connect(ended)
        # Python's references are all that keeps these alive while the task runs
        self._task, self._feedback, self._context = task, feedback, context
        self.began.emit(what)
        QgsApplication.taskManager().addTask(task)

    def _end(self, failure: str | None) -> None:
        self._task = None
        if failure is not None:
            self.failed.emit(failure)


def _reason(log: str) -> str:
    """The last that was said, which is the error."""
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "the task ended without a word; see View > Panels > Log Messages > Processing"
