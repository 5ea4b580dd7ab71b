"""Links between files of the repository lead somewhere; those among the pages are also checked by ``mkdocs build --strict``."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def test_links_lead_to_files() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout, so it is not known which files are the repository's")
    links = [
        (page, target)
        for page in listed.stdout.splitlines()
        for target in LINK.findall((ROOT / page).read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:")
    ]
    assert len(links) > 100
    assert [f"{page}: {to}" for page, to in links if not (ROOT / page).parent.joinpath(to).exists()] == []
