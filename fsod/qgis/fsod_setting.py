"""The provider's one setting: where the executable is."""

from __future__ import annotations

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.PyQt.QtGui import QIcon

GROUP = "fsod"
EXECUTABLE = "FSOD_EXECUTABLE"


def add_setting(icon: QIcon) -> None:
    """Puts it under Settings > Options > Processing > Providers."""
    ProcessingConfig.settingIcons[GROUP] = icon
    label = "Executable of fsod; found by itself where this is empty"
    ProcessingConfig.addSetting(Setting(GROUP, EXECUTABLE, label, "", valuetype=Setting.FILE))
    ProcessingConfig.readSettings()


def remove_setting() -> None:
    """Takes it away again; its value stays."""
    ProcessingConfig.removeSetting(EXECUTABLE)


def executable_setting() -> str:
    """Its value; empty for none."""
    return str(ProcessingConfig.getSetting(EXECUTABLE) or "")
