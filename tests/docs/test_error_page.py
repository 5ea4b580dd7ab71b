"""Messages on the page of errors are messages of the program, word by word."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BETWEEN_LITERALS = re.compile(r"\"\s+f?\"")


def test_every_message_is_one_of_the_program() -> None:
    source = "\n".join(path.read_text() for folder in ("fsod", "data_prep") for path in (ROOT / folder).rglob("*.py"))
    source = BETWEEN_LITERALS.sub("", source)
    page = (ROOT / "docs/errors.md").read_text()
    messages = re.findall(r"^`(.+)`$", page, re.MULTILINE)
    assert len(messages) > 30
    # a message that begins with a file's name goes on after it: ": has no CRS"
    wrong = [
        message
        for message in messages
        for part in message.split("…")
        if len(part.strip(" :;,().'")) > 3 and part.strip(" '`") not in source
    ]
    assert wrong == []
