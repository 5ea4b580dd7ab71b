"""The shell completes commands and options."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import fsod


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("fsod pre", {"pretrain", "predict"}), ("fsod predict --sc", {"--score", "--scales"}), ("fsod bank m", {"merge"})],
)
def test_commands_and_options_are_offered(
    typed: str, offered: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_FSOD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert fsod() == 0
    assert set(capsys.readouterr().out.split()) == offered


def test_it_is_installed_where_the_shell_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    assert fsod("--install-completion") == 0
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert str(script) in (tmp_path / ".bashrc").read_text()
    assert "_FSOD_COMPLETE=complete_bash" in script.read_text()
