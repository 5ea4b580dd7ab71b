"""Links between files of the repository lead somewhere; those among the pages are also checked by ``mkdocs build --strict``."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("configs", "data_prep", "docs", "experiments", "fsod", "tests")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def test_links_lead_to_files() -> None:
    pages = [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
    links = [
        (page, target)
        for page in pages
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:")
    ]
    assert len(links) > 100
    assert [f"{page}: {to}" for page, to in links if not page.parent.joinpath(to).exists()] == []
