"""`fsod --help` and the table behind it: cheap, and true to the commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import pytest
from rich.text import Text

from fsod.cli.commands import COMMANDS, command_called
from tests.command import fsod


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_of_its_help(name: str) -> None:
    assert cleandoc(command_called(name).help).partition("\n")[0] == COMMANDS[name][1]


def _help_texts(command: Any) -> Iterator[str]:
    yield command.help or ""
    for parameter in command.params:
        yield getattr(parameter, "help", None) or ""
    for part in getattr(command, "commands", {}).values():
        yield from _help_texts(part)


@pytest.mark.parametrize("name", COMMANDS)
def test_brackets_of_a_help_text_are_shown(name: str) -> None:
    for text in _help_texts(command_called(name)):
        assert Text.from_markup(text).plain == text, "rich takes them for markup and leaves them out"


def test_help_imports_no_command() -> None:
    program = (
        "import sys\nsys.argv = ['fsod', '--help']\nfrom fsod.cli.commands import main\n"
        "try: main()\nfinally: print(*sorted(set(sys.modules) & {'numpy', 'torch', 'pydantic', 'fsod.cli.options'}))"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert "predict" in told
    assert told.splitlines()[-1] == ""


def test_a_typing_mistake_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert fsod("predcit") == 2
    assert "Did you mean 'predict'?" in capsys.readouterr().err
