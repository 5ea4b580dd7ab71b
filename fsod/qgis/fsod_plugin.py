"""The plugin itself: what QGIS switches on and off."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon

try:
    from qgis.PyQt.QtGui import QAction
except ImportError:  # Qt 5 has it elsewhere
    from qgis.PyQt.QtWidgets import QAction

from .fsod_algorithm import ICON
from .fsod_provider import FsodProvider
from .judge_dock import JudgeDock


class FsodPlugin:
    """Adds the provider, and in the window of QGIS the dock.

    Attributes:
        dock: the panel; None without a window.
    """

    def __init__(self, iface: QgisInterface | None) -> None:
        self._iface = iface
        self._provider: FsodProvider | None = None
        self.dock: JudgeDock | None = None

    def initProcessing(self) -> None:
        """All that ``qgis_process`` needs."""
        self._provider = FsodProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        assert self._iface is not None  # QGIS calls this only where it has a window
        self.initProcessing()
        self._action = QAction(QIcon(str(ICON)), "fsod: judge detections", self._iface.mainWindow())
        self._action.setCheckable(True)
        self._iface.addPluginToMenu("fsod", self._action)
        self._iface.addToolBarIcon(self._action)
        self.dock = JudgeDock(self._iface)
        self._iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.setUserVisible(False)
        self.dock.setToggleVisibilityAction(self._action)

    def unload(self) -> None:
        if self._iface is not None and self.dock is not None:
            self.dock.stop()
            self._iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
            self.dock = None
            self._iface.removePluginMenu("fsod", self._action)
            self._iface.removeToolBarIcon(self._action)
        QgsApplication.processingRegistry().removeProvider(self._provider)
