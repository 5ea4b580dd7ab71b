"""The command line: each command reads its options, calls a step or the engine, and reports."""

from fsod.cli.commands import main

__all__ = ["main"]
