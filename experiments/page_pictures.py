"""What studies share that take pictures of pages: a server that is started for them, a browser, a small WebP."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

from PIL import Image
from playwright.sync_api import Page, sync_playwright

SIZE_PX = 1400, 860
PATIENCE_MS = 240_000


@contextmanager
def address_of(command: Sequence[str], said: str) -> Iterator[str]:
    """The address that a server prints once it is up; the server ends with the block.

    Args:
        command: that starts it.
        said: pattern of the line, with the address as its group.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            for line in server.stdout:
                if up := re.search(said, line):
                    yield up[1]
                    return
            sys.exit(f"{' '.join(command)}: did not start")
        finally:
            server.terminate()


@contextmanager
def browser_page() -> Iterator[Page]:
    """A page in headless Chromium of this system."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), timeout=PATIENCE_MS)
        page = browser.new_page(viewport={"width": SIZE_PX[0], "height": SIZE_PX[1]})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def webp_within(picture: Image.Image, most_bytes: int) -> bytes:
    """The picture as a WebP that is small enough for a repository."""
    for quality in range(85, 20, -5):
        buffer = BytesIO()
        picture.convert("RGB").save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() <= most_bytes:
            return buffer.getvalue()
    sys.exit(f"the picture does not fit into {most_bytes} bytes")
