"""A browser for tests of pages, where one is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

WAIT_MS = 60_000  # a machine that tests run on is never quiet
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")  # its event loop would be in the way of other modules
def browser() -> Iterator[Browser]:
    """Headless Chromium of the system; nothing is downloaded."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is on the PATH (Debian: apt-get install chromium)")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--disable-gpu"], timeout=2 * WAIT_MS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and what a page that behaves has none of.

    Attributes:
        page: of the browser.
        asked: addresses that it has asked for.
        wrong: its own errors, and what it has written to the console as one.
    """

    page: Page
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def watched_page(browser: Browser, width_px: int, height_px: int, expected: str = "\0") -> Watched:
    """A new page that is watched; errors on the console that hold ``expected`` are no errors."""
    watched = Watched(browser.new_page(viewport={"width": width_px, "height": height_px}))
    watched.page.set_default_timeout(WAIT_MS)
    watched.page.on("request", lambda request: watched.asked.append(request.url))
    watched.page.on("pageerror", lambda error: watched.wrong.append(str(error)))

    def noted(said: ConsoleMessage) -> None:
        if said.type == "error" and expected not in said.text:
            watched.wrong.append(said.text)

    watched.page.on("console", noted)
    return watched
