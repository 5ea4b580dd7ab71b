"""The dock of the loop: judge what was found, let fsod learn from it, judge what it finds then."""

from __future__ import annotations

from qgis.core import QgsProject, QgsVectorLayer
from qgis.gui import QgisInterface, QgsDockWidget
from qgis.PyQt.QtCore import QEvent, QObject, Qt
from qgis.PyQt.QtWidgets import QVBoxLayout, QWidget

from .judge_panel import JudgePanel
from .learn_panel import LearnPanel

KEYS = {Qt.Key.Key_Y: "Y", Qt.Key.Key_N: "N", Qt.Key.Key_S: "S", Qt.Key.Key_B: "B"}


class JudgeDock(QgsDockWidget):
    """While it is open, the keys Y, N, S and B judge, in the dock and in the map.

    Attributes:
        judge: the upper part.
        learn: the lower one.
    """

    def __init__(self, iface: QgisInterface) -> None:
        super().__init__("fsod: judge")
        self.setObjectName("FsodJudge")
        self._canvas = iface.mapCanvas()
        self.judge, self.learn = JudgePanel(self._canvas), LearnPanel()
        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(self.judge)
        column.addWidget(self.learn)
        column.addStretch()
        self.setWidget(page)
        self.judge.chosen.connect(self.learn.take)
        self.learn.take(self.judge.layer)
        self.learn.learned.connect(self._go_on_with)
        self.visibilityChanged.connect(self.judge.set_active)
        self._canvas.installEventFilter(self)

    def stop(self) -> None:
        """Leaves the map alone, and cancels what is running."""
        self._canvas.removeEventFilter(self)
        self.judge.set_active(False)
        self.learn.stop()

    def event(self, event: QEvent) -> bool:
        return self._takes(event) or super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        return watched is self._canvas and self._takes(event)

    def _takes(self, event: QEvent) -> bool:
        """Whether an event is a key of ours, and done with.

        QGIS has shortcuts of these letters: who takes the event that asks gets the key instead of the shortcut. Fields that
        text is typed into ask first.
        """
        if event.type() not in (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress) or not self.isUserVisible():
            return False
        key = KEYS.get(event.key())
        if key is None or event.modifiers() != Qt.KeyboardModifier.NoModifier or self.judge.layer is None:
            return False
        event.accept()
        if event.type() == QEvent.Type.KeyPress:
            self.judge.actions_by_key[key]()
        return True

    def _go_on_with(self, layer: QgsVectorLayer) -> None:
        """Judges the new layer; the one before stays in the project, out of sight."""
        before = self.judge.layer
        if before is not None:
            QgsProject.instance().layerTreeRoot().findLayer(before.id()).setItemVisibilityChecked(False)
        self.judge.choose(layer)
