"""Ctrl-C without a terminal: who drives fsod closes the standard input that it gave it, or is gone."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading

from fsod.about import DRIVEN

READ_BYTES = 4096


def stop_at_end_of_input() -> None:
    """In a process that another program drives, the end of standard input counts as Ctrl-C from now on.

    That works on every system, and also where the other program was killed, so that nothing is left running.
    """
    if DRIVEN:
        # a shell starts what runs in the background with Ctrl-C ignored, and children inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    try:
        while os.read(0, READ_BYTES):
            pass
    except OSError:
        return  # there is none: nobody can close it
    main = threading.main_thread().ident
    if sys.platform == "win32" or main is None:
        _thread.interrupt_main()
    else:
        signal.pthread_kill(main, signal.SIGINT)  # also ends a wait in the main thread
