"""What a person reads: names that are safe to show."""

from __future__ import annotations

import pytest

from fsod.cli import commands, main
from fsod.errors import escaped, is_printable, printable, spaced
from fsod.progress import console, say


@pytest.mark.parametrize("name", ["storage tank", "کشتی\u200cها", "駐機\u3000場", "char\u00a0rouge", "👩\u200d🌾"])
def test_names_in_any_script_are_printable(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize(
    "name", ["\x1b[2Jship", "ship\n", "a\u2028b", "\u202epihs", "ship\u3164", "\u00adship", "\x9b2J", "\ud800"]
)
def test_what_steers_a_terminal_or_turns_text_around_is_not(name: str) -> None:
    assert not is_printable(name)
    with pytest.raises(ValueError, match="cannot be printed"):
        printable(name)


def test_names_that_look_alike_are_one() -> None:
    assert spaced(" Kra\N{COMBINING DIAERESIS}n  1\n") == "Kr\N{LATIN SMALL LETTER A WITH DIAERESIS}n 1"


def test_texts_from_files_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert escaped("a\x1b[2Jb\u202ec\ud800 ü 駐\n") == "a\\x1b[2Jb\\u202ec\\ud800 ü 駐\n"
    say("ship\x1b]0;owned\x07")
    console.print("warning: \x1b[31mship\u202e")
    printed = capsys.readouterr()
    assert printed.out == "ship\\x1b]0;owned\\x07\n"
    assert "\x1b" not in printed.err
    assert "\\x1b[31mship\\u202e" in printed.err


def test_an_interruption_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "fsod: interrupted; run the same command again to go on or to start over\n"
