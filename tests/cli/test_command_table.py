"""`fsod --help` and the table behind it: cheap, and true to the commands."""

from __future__ import annotations

import subprocess
import sys
from inspect import cleandoc

import pytest

from fsod.cli.commands import COMMANDS, command_called
from tests.command import fsod


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_of_its_help(name: str) -> None:
    assert cleandoc(command_called(name).help).partition("\n")[0] == COMMANDS[name][1]


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
