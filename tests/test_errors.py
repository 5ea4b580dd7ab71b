"""What a person reads: names that are safe to show."""

from __future__ import annotations

import pytest

from fsod.errors import is_printable, printable


@pytest.mark.parametrize("name", ["storage tank", "کشتی\u200cها", "駐機\u3000場", "char\u00a0rouge", "👩\u200d🌾"])
def test_names_in_any_script_are_printable(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize("name", ["\x1b[2Jship", "ship\n", "a\u2028b", "\u202epihs", "\x9b2J", "\ud800"])
def test_what_steers_a_terminal_or_turns_text_around_is_not(name: str) -> None:
    assert not is_printable(name)
    with pytest.raises(ValueError, match="cannot be printed"):
        printable(name)
