"""The command line: each command reads its options, calls a step, and reports."""

from __future__ import annotations

import sys
from pathlib import Path

from fsod.cli.end_of_input import stop_at_end_of_input

__all__ = ["main"]

INTERRUPTED = 130
"""Exit status of a command that was ended by Ctrl-C, as shells have it."""


def main() -> None:
    """The command ``fsod``; Ctrl-C is one line, also while libraries are still being imported."""
    try:
        Path.cwd()  # libraries that miss it end the process without a word of what is wrong
    except OSError:
        sys.stderr.write("fsod: the working folder is not there any more; change to another one\n")
        sys.exit(2)
    try:
        stop_at_end_of_input()
        from fsod.cli.commands import main as run

        run()
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except SystemExit as done:
        if done.code == INTERRUPTED:  # typer's own way
            _say_interrupted()
        raise
    except OSError as error:
        sys.stderr.write(f"fsod: {error}\n")  # of an import: the disk
        sys.exit(1)


def _say_interrupted() -> None:
    sys.stderr.write("fsod: interrupted; run the same command again to go on or to start over\n")
