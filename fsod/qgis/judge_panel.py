"""The part of the dock that shows detections one by one and takes verdicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qgis.core import (
    NULL,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeature,
    QgsMapLayerProxyModel,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.gui import QgsMapCanvas, QgsMapLayerComboBox, QgsRubberBand
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from .detections_layer import ASKED_FOR, is_detections
from .judging import NO, YES, Judging, JudgingError

VIEW = 6.0
"""Side of what the map shows, in sides of the detection."""

OUTLINE = QColor(255, 221, 0)
OUTLINE_PX = 3

NOTHING = "No layer of detections is open. Processing > Toolbox > fsod > Find objects makes one."


class JudgePanel(QWidget):
    """Which layer, how far, which one now, and buttons for verdicts.

    Attributes:
        chosen: signal, the layer that is judged from now on, or None; again where more becomes known of it.
    """

    chosen = pyqtSignal(object)

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__()
        self._canvas = canvas
        self._judging: Judging | None = None
        self._active = False
        self._layers = QgsMapLayerComboBox()
        self._layers.setFilters(QgsMapLayerProxyModel.Filter.PolygonLayer)
        self._judged, self._what, self._bar = QLabel(), QLabel(), QProgressBar()
        self._what.setWordWrap(True)
        self._bar.setTextVisible(False)
        self._bar.setMaximumHeight(8)
        self.actions_by_key: dict[str, Callable[[], None]] = {
            "Y": lambda: self.judge(YES),
            "N": lambda: self.judge(NO),
            "S": self.skip,
            "B": self.back,
        }
        self._buttons = QHBoxLayout()
        for key, text in {"Y": "Yes", "N": "No", "S": "Skip", "B": "Back"}.items():
            button = QPushButton(f"{text} ({key})")
            button.clicked.connect(lambda _=False, key=key: self.actions_by_key[key]())
            self._buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (QLabel("Detections"), self._layers, self._judged, self._bar, self._what):
            column.addWidget(widget)
        column.addLayout(self._buttons)
        self._outline = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._outline.setStrokeColor(OUTLINE)
        self._outline.setFillColor(QColor(0, 0, 0, 0))
        self._outline.setWidth(OUTLINE_PX)
        self._layers.layerChanged.connect(self._choose)
        project = QgsProject.instance()
        project.layersAdded.connect(self._offer_layers)
        self._offer_layers()

    @property
    def layer(self) -> QgsVectorLayer | None:
        """The one that is judged."""
        return None if self._judging is None else self._judging.layer

    @property
    def judging(self) -> Judging | None:
        """Where it stands."""
        return self._judging

    def choose(self, layer: QgsVectorLayer) -> None:
        """Judges another layer."""
        self._offer_layers()
        self._layers.setLayer(layer)

    def set_active(self, active: bool) -> None:
        """Shows the current one on the map, or nothing any more."""
        self._active = active
        self._show()

    def judge(self, verdict: str) -> None:
        """Yes or no to the current one; shows the next."""
        if self._judging is None:
            return
        try:
            self._judging.judge(verdict)
        except JudgingError as error:
            self._what.setText(str(error))
            return
        self._show()

    def skip(self) -> None:
        """Shows the next without a verdict."""
        if self._judging is not None:
            self._judging.skip()
            self._show()

    def back(self) -> None:
        """Shows the one before."""
        if self._judging is not None:
            self._judging.back()
            self._show()

    def _offer_layers(self) -> None:
        """Leaves out of the list what is no layer of detections."""
        every = QgsProject.instance().mapLayers().values()
        self._layers.setExceptedLayerList([layer for layer in every if not is_detections(layer)])
        self._choose(self._layers.currentLayer())

    def _choose(self, layer: QgsVectorLayer | None) -> None:
        if layer is not None and not is_detections(layer):
            layer = None
        if layer is self.layer:
            return
        if self._judging is not None:
            for signal in _changes(self._judging.layer):
                signal.disconnect(self._read_again)
            self._judging.layer.willBeDeleted.disconnect(self._forget)
            self._judging.layer.customPropertyChanged.disconnect(self._tell_of)
        self._judging = None if layer is None else Judging(layer)
        if layer is not None:
            for signal in _changes(layer):
                signal.connect(self._read_again)
            layer.willBeDeleted.connect(self._forget)
            layer.customPropertyChanged.connect(self._tell_of)
        self._show()
        self.chosen.emit(layer)

    def _forget(self) -> None:
        """The layer leaves the project, and takes its connections with it."""
        self._judging = None
        self._show()
        self.chosen.emit(None)

    def _tell_of(self, key: str) -> None:
        """QGIS adds a layer to the project first; then it is noted how it was found."""
        if key == ASKED_FOR:
            self.chosen.emit(self.layer)

    def _read_again(self, *changed: object) -> None:
        """Somebody works on the layer: in its table, with tools for drawing."""
        if self._judging is not None:
            self._judging.read()
            self._tell()

    def _show(self) -> None:
        self._tell()
        self._outline.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        if self._judging is None or not self._active:
            return
        feature = self._judging.feature()
        if feature is None or not feature.hasGeometry():
            return
        self._outline.setToGeometry(feature.geometry(), self._judging.layer)
        self._outline.show()
        bounds = self._on_map(feature.geometry().boundingBox(), self._judging.layer)
        if bounds is not None:
            side = VIEW * max(bounds.width(), bounds.height())
            self._canvas.setExtent(QgsRectangle.fromCenterAndSize(bounds.center(), side, side))
            self._canvas.refresh()

    def _on_map(self, bounds: QgsRectangle, layer: QgsVectorLayer) -> QgsRectangle | None:
        """A rectangle of a layer in the map's coordinate system; None where it has no place there."""
        there = self._canvas.mapSettings().destinationCrs()
        try:
            return QgsCoordinateTransform(layer.crs(), there, QgsProject.instance()).transformBoundingBox(bounds)
        except QgsCsException:
            return None

    def _tell(self) -> None:
        for i in range(self._buttons.count()):
            self._buttons.itemAt(i).widget().setEnabled(self._judging is not None)
        if self._judging is None:
            self._judged.setText("")
            self._bar.setValue(0)
            self._what.setText(NOTHING)
            return
        counts = self._judging.counts
        done = counts.yes + counts.no
        self._judged.setText(f"{done} of {counts.total} judged: {counts.yes} yes, {counts.no} no")
        self._bar.setMaximum(max(counts.total, 1))
        self._bar.setValue(done)
        feature = self._judging.feature()
        if feature is None:
            self._what.setText(
                "All are judged." if counts.total else "Nothing was found, so there is nothing to judge."
            )
            return
        said = feature["verdict"] or "not judged"
        self._what.setText(f"No. {self._judging.position}: {feature['class'] or 'no class'}, {_score(feature)}, {said}")


def _score(feature: QgsFeature) -> str:
    """In words: what somebody has drawn has none, and a layer that was saved again may have lost the attribute."""
    position = feature.fields().lookupField("score")
    score = None if position < 0 else feature.attribute(position)
    if score in (None, NULL):
        return "drawn"
    return f"score {score:.2f}" if isinstance(score, float) else f"score {score}"


def _changes(layer: QgsVectorLayer) -> list[Any]:
    """Signals of a layer that what was read of it may not hold any more."""
    return [layer.attributeValueChanged, layer.featureAdded, layer.featuresDeleted, layer.afterRollBack,
            layer.afterCommitChanges, layer.subsetStringChanged]  # fmt: skip
