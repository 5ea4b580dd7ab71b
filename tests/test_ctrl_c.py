"""A Ctrl-C that a library has swallowed ends the work at the next step of its bar."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from fsod.ctrl_c import note_ctrl_c
from fsod.progress import Bar


@pytest.fixture(autouse=True)
def noted() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    note_ctrl_c()
    yield
    note_ctrl_c()  # nothing is pressed any more
    signal.signal(signal.SIGINT, before)


def swallowed() -> None:
    """As in a finaliser, from which no exception comes out."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        while True:  # the signal is handled between two steps of this
            pass
    except KeyboardInterrupt:
        pass


def test_a_swallowed_ctrl_c_is_raised_by_the_next_step() -> None:
    bar = Bar("windows", 3)
    bar.advance()
    swallowed()
    with pytest.raises(KeyboardInterrupt):
        bar.advance()
    assert bar.done == 1


def test_another_command_of_the_same_process_starts_anew() -> None:
    swallowed()
    note_ctrl_c()
    Bar("windows", 3).advance()
