"""The pages build without a warning, ask no other machine for anything, and hold no large file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fsod.tracking.run_paths import RunPaths

ROOT = Path(__file__).parents[2]
LARGEST = 150_000
FETCHED = re.compile(
    r'(?:<(?:script|img|source|iframe)[^>]*\ssrc=|<link[^>]*\shref=|url\(|@import\s*)["\']?(https?:)?//'
)
"""What a browser fetches of itself from elsewhere; links that a person follows are no matter."""


def test_pictures_are_small() -> None:
    assert [path.name for path in (ROOT / "docs/pictures").iterdir() if path.stat().st_size > LARGEST] == []


def test_a_container_may_write_the_records_that_lie_beside_the_run_of_the_demo() -> None:
    page = (ROOT / "docs/operations/docker.md").read_text()
    mounted, run_dir = re.findall(r'-v "\$PWD/demo:(\S+)" fsod demo run_dir=(\S+)', page)[0]
    assert RunPaths(Path(run_dir)).database.parent == Path(mounted)


def test_pages_build_strictly_and_fetch_nothing(tmp_path: Path) -> None:
    if missing := [name for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml") if find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install 'fsod[docs]')")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 25
    fetched = [f.name for f in [*pages, *(tmp_path / "site").rglob("*.css")] if FETCHED.search(f.read_text())]
    assert fetched == []
    method = (tmp_path / "site/method/meta_cross_loss.html").read_text()
    assert method.count("<math") >= 5
    assert "arithmatex" not in method
    assert "<code>per_negative_pair</code>" in (tmp_path / "site/research/configurations.html").read_text()
    assert 'id="fsod.library.Detector"' in (tmp_path / "site/api.html").read_text()
