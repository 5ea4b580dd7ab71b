"""The Processing provider."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .enroll_algorithm import EnrollAlgorithm
from .find_algorithms import FindAlgorithm, FindManyAlgorithm
from .finetune_algorithm import FinetuneAlgorithm
from .fsod_algorithm import ICON
from .fsod_setting import add_setting, remove_setting
from .report_algorithm import ReportAlgorithm

FORMATS = ("gpkg", "geojson", "fgb")
"""Of layers that fsod writes and every QGIS reads."""


class FsodProvider(QgsProcessingProvider):
    """The algorithms of fsod."""

    def id(self) -> str:
        return "fsod"

    def name(self) -> str:
        return "fsod"

    def longName(self) -> str:
        return "fsod: few-shot object detection"

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def load(self) -> bool:
        add_setting(self.icon())
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        remove_setting()

    def loadAlgorithms(self) -> None:
        for algorithm in (EnrollAlgorithm, FinetuneAlgorithm, FindAlgorithm, FindManyAlgorithm, ReportAlgorithm):
            self.addAlgorithm(algorithm())

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        return list(FORMATS)

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        return FORMATS[0]

    def supportsNonFileBasedOutput(self) -> bool:
        return False
