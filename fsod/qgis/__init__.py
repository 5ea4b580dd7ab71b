"""fsod in QGIS: a Processing provider that runs the executable ``fsod``, and a dock to judge what it found.

``fsod qgis zip`` packs this folder as a plugin of its own, in which the package fsod is not there: modules here import each
other by relative names, and beside them QGIS and the standard library of Python 3.9 alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qgis.gui import QgisInterface

    from .fsod_plugin import FsodPlugin


def classFactory(iface: QgisInterface) -> FsodPlugin:
    """What QGIS calls to get the plugin."""
    from .fsod_plugin import FsodPlugin

    return FsodPlugin(iface)
