"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. In a callback of a C library or in a finaliser it is printed, or
not even that, and the work goes on. So it is noted, too, and raised again at the next step of a bar of progress.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_pressed = threading.Event()


def note_ctrl_c() -> None:
    """From now on Ctrl-C is noted; none has been pressed yet."""
    _pressed.clear()
    if threading.current_thread() is threading.main_thread():  # elsewhere no handler can be set
        signal.signal(signal.SIGINT, _note)


def raise_if_pressed() -> None:
    """KeyboardInterrupt, if Ctrl-C was pressed and the work goes on."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    _pressed.set()
    raise KeyboardInterrupt
