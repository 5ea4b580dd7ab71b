"""The report of a scene in a browser, as its reader uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyproj
import pytest
from affine import Affine
from playwright.sync_api import Browser, Page, expect

from fsod.boxes import Detections
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.report.scene_report import scene_report, write_overview
from tests.browser import watched_page

EVIL = "<script>document.title='broken'</script>"
NAMES = ("harbor", EVIL, "unseen")
SIDE_PX = 1000
GROUND, HARBOR = (90, 90, 90), (230, 159, 0)  # the first class's colour

BOXES = np.array([[100, 100, 200, 200], [120, 120, 140, 140], [600, 600, 800, 800], [10, 900, 60, 950]], np.float64)
SCORES = np.array([0.9, 0.5, 0.8, 0.3], np.float32)
CLASSES = np.array([0, 0, 1, 0])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layer = tmp_path_factory.mktemp("found") / "found.geojson"
    place = Georeference(pyproj.CRS("EPSG:32633"), Affine(1, 0, 500_000, 0, -1, 5_000_000), None)
    found = Detections(BOXES, SCORES, CLASSES)
    write_layer(layer, Layer(found, NAMES, place, f"{EVIL}.tif", (SIDE_PX, SIDE_PX), {}))
    write_overview(layer, np.full((500, 500, 3), GROUND, np.uint8), (SIDE_PX, SIDE_PX), list(NAMES))
    out = layer.with_suffix(".html")
    scene_report(layer, out)
    return out


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The page, which must ask for nothing else and make no mistake, whatever a test does with it."""
    watched = watched_page(browser, 1200, 800)
    page = watched.page
    page.goto(report.as_uri())
    expect(page.locator(".row").first).to_be_visible(timeout=60_000)
    yield page
    assert [url for url in watched.asked if not url.startswith(("data:", "file:"))] == []
    assert watched.wrong == []
    page.close()


def zoom(page: Page) -> float:
    return float((page.locator("#zoom-value").text_content() or "").removesuffix(" %")) / 100


def colour(page: Page, x: float, y: float) -> list[int]:
    """Colour of the canvas at a pixel of the scene's whole view (left as it was opened)."""
    script = """([x, y, side]) => {
        const canvas = document.querySelector("#map canvas"), shown = Math.min(canvas.clientWidth, canvas.clientHeight);
        const left = (canvas.clientWidth - shown) / 2, top = (canvas.clientHeight - shown) / 2;
        const at = [Math.round(left + x * shown / side), Math.round(top + y * shown / side)];
        return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
    }"""
    return list(page.evaluate(script, [x, y, SIDE_PX]))


def settle(page: Page) -> None:
    """Waits for what was asked for to be drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_names_from_files_are_text(page: Page) -> None:
    assert page.title() == f"{EVIL}.tif: detections"
    expect(page.locator("h1")).to_have_text(f"{EVIL}.tif")
    expect(page.locator("fieldset .name")).to_have_text(["harbor", EVIL])
    expect(page.locator(".row .name")).to_have_text(["harbor", EVIL, "harbor", "harbor"])
    assert page.locator("script").count() == 2
    expect(page.locator("#count")).to_have_text("4 of 4 shown")


def test_filter_by_class(page: Page) -> None:
    settle(page)
    assert np.allclose(colour(page, 100, 150), HARBOR, atol=60)
    page.locator(".row").nth(0).click()
    expect(page.locator("#selected")).to_contain_text("harbor, score 0.900")
    page.locator("#zoom-all").click()
    page.get_by_role("checkbox").nth(0).uncheck()
    expect(page.locator("#selected")).to_be_hidden()
    expect(page.locator(".row .name")).to_have_text([EVIL])
    expect(page.locator("#count")).to_have_text("1 of 4 shown")
    settle(page)
    assert np.allclose(colour(page, 100, 150), GROUND, atol=3)
    page.get_by_role("button", name="none").click()
    expect(page.locator(".row")).to_have_count(0)
    page.get_by_role("button", name="all").click()
    expect(page.locator(".row")).to_have_count(4)


def test_least_score(page: Page) -> None:
    slider = page.get_by_role("slider")
    slider.fill("0.5")  # reached by the one with exactly this score
    expect(page.locator("#count")).to_have_text("3 of 4 shown")
    expect(page.locator("#score-value")).to_have_text("0.50")
    expect(page.locator("fieldset .count")).to_have_text(["2", "1"])
    slider.press("ArrowRight")
    expect(page.locator("#count")).to_have_text("2 of 4 shown")
    slider.fill("1")
    expect(page.locator("#count")).to_have_text("0 of 4 shown")
    settle(page)
    assert np.allclose(colour(page, 100, 150), GROUND, atol=3)


def test_zoom_by_button_wheel_and_key(page: Page) -> None:
    whole = zoom(page)
    assert whole == pytest.approx(800 / SIDE_PX, abs=0.01)
    page.get_by_role("button", name="+").click()
    settle(page)
    assert zoom(page) == pytest.approx(1.5 * whole, rel=0.02)
    page.locator("#zoom-all").click()
    settle(page)
    assert zoom(page) == whole
    page.mouse.move(300, 300)
    page.mouse.wheel(0, -500)
    page.wait_for_function("text => document.querySelector('#zoom-value').textContent !== text", arg="80 %")
    assert zoom(page) > 1.5 * whole
    page.locator("#map").press("0")
    page.locator("#map").press("-")
    settle(page)
    assert zoom(page) == pytest.approx(whole / 1.5, rel=0.02)


def test_wheel_zooms_around_the_pointer_and_dragging_moves(page: Page) -> None:
    """What lies under the pointer stays there; the small harbor in the large one is what a click takes."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    left = (box["width"] - 800) / 2
    x, y = left + 130 * 0.8, 130 * 0.8
    page.mouse.move(x, y)
    page.mouse.wheel(0, -800)
    page.wait_for_function("text => document.querySelector('#zoom-value').textContent !== text", arg="80 %")
    page.mouse.click(x, y)
    expect(page.locator("#selected")).to_contain_text("harbor, score 0.500, ")
    expect(page.locator("#selected")).to_contain_text("box 120.0, 120.0, 140.0, 140.0 px")
    page.mouse.down()
    page.mouse.move(x + 150, y + 250, steps=30)  # the map takes the first for the place where it was taken hold of
    page.mouse.up()
    settle(page)
    page.mouse.click(x + 150, y + 250)
    expect(page.locator("#selected")).to_contain_text("box 120.0, 120.0, 140.0, 140.0 px")
    page.mouse.click(x + 150 + 0.8 * 4.95 * 140, y + 250)
    expect(page.locator("#selected")).to_be_hidden()


def test_a_row_leads_to_its_detection_and_says_where_it_is(page: Page) -> None:
    row = page.locator(".row").nth(1)
    lon, lat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(500_700, 4_999_300)
    expect(row.locator(".where")).to_have_text(f"{lat:.6f}° N, {lon:.6f}° E")
    row.click()
    expect(page.locator(".row.selected .name")).to_have_text(EVIL)
    expect(page.locator("#selected")).to_contain_text("score 0.800")
    settle(page)
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # it is in the middle now
    expect(page.locator("#selected")).to_contain_text("score 0.800")
