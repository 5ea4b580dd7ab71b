"""The command as a user types it, run in this process."""

from __future__ import annotations

import sys

import pytest

from fsod.cli import main


def fsod(*arguments: object) -> int:
    """Its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fsod", *map(str, arguments)])
        try:
            main()
        except SystemExit as done:
            return int(done.code or 0)
    return 0
