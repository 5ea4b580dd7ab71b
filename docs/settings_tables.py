"""MkDocs hook: the tables of all settings on the page of configurations, from the settings themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from fsod import config

PLACE = re.compile(r"^\{\{ settings (\w+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """The Markdown of a page with a table for each ``{{ settings CLASS }}``."""
    return PLACE.sub(lambda place: table(getattr(config, place[1])), markdown)


def table(section: type[BaseModel]) -> str:
    """A row for each key that is a value: name, type, default and meaning."""
    rows = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        cells = [f"`{name}`", f"`{_type(field.annotation)}`", _default(field.get_default()), field.description or ""]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _type(annotation: Any) -> str:  # noqa: ANN401, whatever a field may be annotated with
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    text = re.sub(r"typing\.|pathlib\.|_local\.|annotated_types\.", "", str(annotation))
    while (plain := re.sub(r"Annotated\[([^\[\]]+?), [^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\]", r"\1", text)) != text:
        text = plain
    text = re.sub(r"Literal\[([^\]]+)\]", lambda names: names[1].replace("'", "").replace(", ", " / "), text)
    return re.sub(r"Optional\[(.+)\]", r"\1 | None", text).replace("NoneType", "None").replace("None", "null")


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, Path):
        return "null" if value is None else f"`{value}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"
