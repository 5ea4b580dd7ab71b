"""Which fsod this is, and who runs it."""

from __future__ import annotations

import os

__version__ = "0.1.0"

DRIVEN = os.environ.get("FSOD_DRIVEN") == "1"
"""Whether another program runs fsod and shows what it says, as the QGIS plugin does: progress comes as a line per second, and
the end of standard input counts as Ctrl-C."""
