"""The part of the dock that lets fsod learn from what was judged."""

from __future__ import annotations

from pathlib import Path

import processing
from qgis.core import (
    QgsMapLayer,
    QgsMapLayerProxyModel,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsVectorLayer,
)
from qgis.gui import QgsFileWidget, QgsMapLayerComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QDoubleSpinBox, QFormLayout, QGroupBox, QHBoxLayout, QLabel, QProgressBar, QPushButton

from .detections_layer import asked_for
from .detector_file import remembers_marks
from .exported_layers import raster_name
from .learn_task import FINETUNE, Learning
from .marks_given import WEIGHT_FILES

MINUTES = 2.0


class LearnPanel(QGroupBox):
    """Which raster and detector, for how long, and a button.

    Attributes:
        learned: signal, the layer that the better detector has found.
    """

    learned = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__("Learn")
        self._layer: QgsVectorLayer | None = None
        self._bar, self._status = QProgressBar(), QLabel()
        self._status.setWordWrap(True)
        self._learning = Learning(self)
        self._learning.began.connect(self._say)
        self._learning.advanced.connect(lambda percent: self._bar.setValue(round(percent)))
        self._learning.found.connect(self._take_up)
        self._learning.failed.connect(lambda why: self._say(why or "Cancelled."))
        self._scenes = QgsMapLayerComboBox()
        self._scenes.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self._detector = QgsFileWidget()
        self._detector.setFilter(WEIGHT_FILES)
        self._minutes = QDoubleSpinBox()
        self._minutes.setRange(0.05, 600)
        self._minutes.setValue(MINUTES)
        self._learn, self._cancel = QPushButton("Learn from these"), QPushButton("Cancel")
        self._learn.clicked.connect(self.learn)
        self._cancel.clicked.connect(self._learning.stop)
        form = QFormLayout(self)
        form.addRow("Raster", self._scenes)
        form.addRow("Detector", self._detector)
        form.addRow("Minutes", self._minutes)
        buttons = QHBoxLayout()
        buttons.addWidget(self._learn)
        buttons.addWidget(self._cancel)
        form.addRow(buttons)
        form.addRow(self._bar)
        form.addRow(self._status)
        self._say("")

    def take(self, layer: QgsVectorLayer | None) -> None:
        """Learns from this layer when asked to; raster and detector are those that it was found with."""
        self._layer = layer
        known = {} if layer is None else asked_for(layer)
        if "BANK" in known:
            self._detector.setFilePath(str(known["BANK"]))
        for raster in QgsProject.instance().mapLayers().values():
            if "INPUT" in known and str(raster.source()).partition("|")[0] == str(known["INPUT"]):
                self._scenes.setLayer(raster)
        self._say(self._status.text())

    def learn(self) -> None:
        """Starts; what is missing is said instead."""
        raster = self._scenes.currentLayer()
        detector = Path(self._detector.filePath())
        if self._layer is None or raster is None:
            self._say("Choose the layer of detections that you have judged, and its raster.")
            return
        if not detector.is_file():
            self._say(
                f"{detector if detector.name else 'Detector'}: choose the file that these detections were found with."
            )
            return
        if not remembers_marks(detector):
            self._ask_for_marks(self._layer, raster)
            return
        try:
            scene = raster_name(raster, QgsProcessingFeedback(False))
        except QgsProcessingException as error:
            self._say(str(error))
            return
        self._learning.start(self._layer, scene, detector, self._minutes.value())
        self._say(self._status.text())

    def stop(self) -> None:
        """Cancels what is running."""
        self._learning.stop()

    def _ask_for_marks(self, layer: QgsVectorLayer, raster: QgsMapLayer) -> None:
        """Opens the dialog of Finetune, filled in as far as anybody can."""
        self._say("A class bank does not keep its examples: choose them in the dialog as well.")
        given = {"SCENES": [raster.id()], "VERDICTS": [layer.id()], "MINUTES": self._minutes.value()}
        self._dialog = processing.createAlgorithmDialog(FINETUNE, given)
        self._dialog.show()

    def _take_up(self, layer: QgsVectorLayer) -> None:
        self._say(f"Done: {layer.featureCount()} detections in {layer.name()}.")
        self.learned.emit(layer)

    def _say(self, text: str) -> None:
        at_work = self._learning.at_work
        self._status.setText(text)
        self._bar.setVisible(at_work)
        self._cancel.setEnabled(at_work)
        self._learn.setEnabled(not at_work)
