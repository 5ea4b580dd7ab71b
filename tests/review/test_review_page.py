"""The page in a browser, as an analyst uses it: by keys, with the mouse, and round the loop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
from playwright.sync_api import Browser, Page, expect

from fsod.boxes import Detections
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene
from fsod.geo.verdicts import read_verdicts
from fsod.report.scene_report import write_overview
from fsod.review import learning
from fsod.review.session import Session
from fsod.store.checkpoint import SHIPPED, load_checkpoint
from fsod.store.class_bank import learned_bank, save_bank
from tests.browser import watched_page
from tests.labelled_scene import STRAIGHT
from tests.review.made_review import SIZE_PX, TOKEN, make_layer, served

DETECTIONS = 24


@dataclass
class Opened:
    page: Page
    layer: Path
    session: Session
    root: str


@pytest.fixture
def review(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """The page of a review, which must ask for nothing but this server and make no mistake."""
    layer = make_layer(tmp_path / "found.gpkg", DETECTIONS)
    session = Session(layer, None, None)
    with served(session) as client:
        # Chromium notes every refusal, which the page tells in its own words
        watched = watched_page(browser, 1400, 860, expected="400")
        page = watched.page
        open_page(page, client.root)
        yield Opened(page, layer, session, client.root)
        assert [url for url in watched.asked if not url.startswith((client.root, "data:", "blob:"))] == []
        assert watched.wrong == []
        page.close()


def open_page(page: Page, root: str) -> None:
    page.goto(f"{root}/{TOKEN}/")
    page.wait_for_selector("body[data-ready]", state="attached")


def settle(page: Page) -> None:
    """Waits until the server has answered everything."""
    page.wait_for_function("() => !Number(document.body.dataset.pending || 0)")


def table(layer: Path) -> Any:
    return geopandas.read_file(layer)


def on_screen(
    page: Page, *places_px: tuple[float, float], size_px: tuple[int, int] = SIZE_PX
) -> list[tuple[float, float]]:
    """Places of the scene in the window, while the map shows the whole of it."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    (width, height), zoom = size_px, min(box["width"] / size_px[0], box["height"] / size_px[1])
    left, top = box["x"] + (box["width"] - width * zoom) / 2, box["y"] + (box["height"] - height * zoom) / 2
    return [(left + x * zoom, top + y * zoom) for x, y in places_px]


def drag(page: Page, *places: tuple[float, float]) -> None:
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def test_twenty_verdicts_by_keyboard_are_in_the_file_in_the_order_of_ask(review: Opened) -> None:
    page = review.page
    expect(page.locator(".chip")).to_have_count(DETECTIONS)
    for i in range(20):
        page.keyboard.press("n" if i % 5 == 4 else "y")
    settle(page)
    expect(page.locator("#counts")).to_have_text("16 yes, 4 no, 4 to judge")
    frame = table(review.layer).sort_values("ask")
    assert frame["verdict"].tolist()[:20] == (["yes"] * 4 + ["no"]) * 4
    assert not any(frame["verdict"].tolist()[20:])
    page.keyboard.press("u")
    settle(page)
    assert table(review.layer).sort_values("ask")["verdict"].tolist()[18:20] == ["yes", ""]
    # the tab is closed and opened again: nothing is lost, and undo goes on
    open_page(page, review.root)
    expect(page.locator("#counts")).to_have_text("16 yes, 3 no, 5 to judge")
    page.keyboard.press("u")
    settle(page)
    assert (table(review.layer)["verdict"] == "yes").sum() == 15


def test_two_tabs_show_what_the_other_has_said(review: Opened, browser: Browser) -> None:
    page = review.page
    other = browser.new_page()
    open_page(other, review.root)
    other.keyboard.press("n")
    settle(other)
    page.keyboard.press("s")
    page.keyboard.press("y")
    settle(page)
    expect(page.locator("#counts")).to_have_text(f"1 yes, 1 no, {DETECTIONS - 2} to judge")
    other.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(other.locator("#counts")).to_have_text(f"1 yes, 1 no, {DETECTIONS - 2} to judge")
    other.close()


def test_the_wall_shows_what_passes_the_filters(review: Opened) -> None:
    page = review.page
    page.keyboard.press("y")
    page.locator("#which").select_option("open")
    expect(page.locator(".chip")).to_have_count(DETECTIONS - 1)
    page.get_by_role("checkbox", name="ship").uncheck()
    expect(page.locator(".chip .class").first).to_have_text("tank")
    page.locator("#score").fill("0.6")
    shown = table(review.layer)
    wanted = ((shown["class"] == "tank") & (shown["score"] >= 0.6) & (shown["verdict"] != "yes")).sum()
    expect(page.locator(".chip")).to_have_count(int(wanted))
    page.wait_for_function("() => [...document.images].filter((i) => i.complete && i.naturalWidth === 240).length > 3")


def test_a_missed_object_is_drawn_and_a_box_is_mended_with_the_mouse(review: Opened) -> None:
    page = review.page
    page.keyboard.press("0")
    page.locator("#draw-class").fill("barge")
    page.locator("#draw").click()
    drag(page, *on_screen(page, (300, 200), (360, 250)))
    expect(page.get_by_role("checkbox", name="barge")).to_be_checked()
    settle(page)  # a class that nobody has drawn before makes the page read the layer again
    expect(page.locator(".chip .class").first).to_have_text("barge")
    drawn = table(review.layer).iloc[-1]
    assert (drawn["class"], drawn["verdict"], drawn["scene"]) == ("barge", "yes", "scene.tif")
    judged = read_verdicts(review.layer, [open_scene(review.layer.with_name("scene.tif"))])[0].yes
    assert judged.boxes_xyxy_px[0] == pytest.approx([300, 200, 360, 250], abs=1)
    page.keyboard.press("Escape")
    drag(page, *on_screen(page, (360, 250), (380, 270)))
    settle(page)
    judged = read_verdicts(review.layer, [open_scene(review.layer.with_name("scene.tif"))])[0].yes
    assert judged.boxes_xyxy_px[0] == pytest.approx([300, 200, 380, 270], abs=1.5)
    x1, y1, x2, y2 = judged.boxes_xyxy_px[0]
    expect(page.locator("#selected")).to_contain_text(f"box {x1:.1f}, {y1:.1f}, {x2:.1f}, {y2:.1f} px")
    page.locator("#erase").click()
    expect(page.locator(".chip")).to_have_count(DETECTIONS)
    settle(page)
    assert len(table(review.layer)) == DETECTIONS


def test_a_click_on_an_edge_says_nothing(review: Opened) -> None:
    page = review.page
    page.keyboard.press("0")
    page.locator(".chip").nth(DETECTIONS - 1).click()  # the first box of the file
    page.keyboard.press("n")
    settle(page)
    page.locator(".chip").nth(DETECTIONS - 1).click()
    page.keyboard.press("0")
    page.mouse.click(*on_screen(page, (25, 15))[0])
    page.wait_for_timeout(200)
    settle(page)
    assert sorted(table(review.layer)["verdict"])[-2:] == ["", "no"]


def test_keys_judge_again_once_a_filter_is_chosen(review: Opened) -> None:
    page = review.page
    page.locator("#which").focus()
    page.locator("#which").select_option("open")
    page.keyboard.press("n")
    settle(page)
    page.locator("#score").focus()
    page.keyboard.press("y")
    page.locator("#draw-class").fill("barge")
    page.locator("#draw-class").press("Enter")
    page.keyboard.press("y")
    settle(page)
    assert sorted(table(review.layer)["verdict"])[-3:] == ["no", "yes", "yes"]
    expect(page.locator("#draw-class")).to_have_value("barge")


def test_what_the_server_has_not_heard_does_not_look_judged(browser: Browser, tmp_path: Path) -> None:
    session = Session(make_layer(tmp_path / "found.gpkg", 3), None, None)
    page = browser.new_page()
    with served(session) as client:
        open_page(page, client.root)
        page.keyboard.press("y")
        settle(page)
        page.route("**/judge", lambda route: route.abort())
        page.route("**/layer", lambda route: route.abort())
        page.keyboard.press("y")
        expect(page.locator("#message")).to_contain_text("does not answer")
        expect(page.locator("#counts")).to_have_text("1 yes, 0 no, 2 to judge")
        page.close()


def test_an_area_is_drawn_and_taken_back(review: Opened) -> None:
    page = review.page
    page.keyboard.press("0")
    page.locator("#area").click()
    corners = on_screen(page, (20, 100), (200, 100), (200, 250), (20, 250))
    for corner in corners[:-1]:
        page.mouse.click(*corner, delay=20)
        page.wait_for_timeout(350)  # two clicks at once end the outline
    page.mouse.dblclick(*corners[-1])
    expect(page.get_by_role("button", name="area 1", exact=True)).to_be_visible()
    settle(page)
    areas = geopandas.read_file(review.layer.with_suffix(".areas.geojson")).to_crs(32633)
    assert areas.area.sum() == pytest.approx(180 * 150 * 0.25, rel=0.03)
    page.get_by_role("button", name="remove area 1").click()
    settle(page)
    assert not review.layer.with_suffix(".areas.geojson").exists()


def test_a_click_on_the_map_chooses_and_the_map_follows_the_wall(review: Opened) -> None:
    page = review.page
    page.keyboard.press("0")
    (place,) = on_screen(page, (15, 15))
    page.mouse.click(*place)
    expect(page.locator("#selected")).to_contain_text("tank, score 0.900, box 5.0, 5.0, 25.0, 25.0 px")
    expect(page.locator(".chip.current .score")).to_have_text("0.90")
    page.locator(".chip").nth(3).click()
    expect(page.locator("#selected")).to_contain_text(f"score {np.linspace(0.9, 0.3, DETECTIONS)[-4]:.3f}")


def test_what_the_file_refuses_is_said_and_shown_as_it_is(review: Opened) -> None:
    page = review.page
    page.locator("#learn").click()
    expect(page.locator("#message")).to_contain_text("--bank FILE")
    review.layer.rename(review.layer.with_suffix(".away"))
    page.keyboard.press("y")
    expect(page.locator("#message")).to_contain_text("no such layer")
    review.layer.with_suffix(".away").rename(review.layer)
    page.reload()
    expect(page.locator("#counts")).to_have_text(f"0 yes, 0 no, {DETECTIONS} to judge")


def test_a_scene_of_30000_px_opens_without_being_read(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No overviews of its own: what is coarse comes from the picture beside the layer."""
    side = 30_000
    shape = {"width": side, "height": side, "count": 3, "dtype": "uint8", "tiled": True, "sparse_ok": True}
    rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", crs="EPSG:32633", transform=STRAIGHT, **shape).close()
    layer = tmp_path / "found.gpkg"
    corners = np.random.default_rng(0).uniform(0, side - 100, (500, 2))
    found = Detections(np.concatenate([corners, corners + 40], axis=1), np.full(500, 0.5), np.zeros(500, np.int64))
    place = Georeference(pyproj.CRS("EPSG:32633"), STRAIGHT, (0.5, 0.5))
    write_layer(layer, Layer(found, ["ship"], place, "scene.tif", (side, side), {}, np.arange(1, 501)))
    write_overview(layer, np.full((2048, 2048, 3), (0, 90, 0), np.uint8), (side, side), ["ship"])
    read_px: list[int] = []
    read = Scene.read_raw

    def noted(self: Scene, xyxy_px: tuple[int, int, int, int], shape: tuple[int, int]) -> Any:
        left, top, right, bottom = xyxy_px
        read_px.append((right - left) * (bottom - top))
        return read(self, xyxy_px, shape)

    monkeypatch.setattr(Scene, "read_raw", noted)
    with served(Session(layer, None, None)) as client:
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.set_default_timeout(60_000)
        open_page(page, client.root)
        page.keyboard.press("0")
        page.wait_for_timeout(500)
        place_px = page.locator("#map canvas").evaluate(
            "map => [...map.getContext('2d').getImageData(map.width / 2 + 3, map.height / 2 + 3, 1, 1).data]"
        )
        assert place_px[:3] == pytest.approx([0, 90, 0], abs=3)
        page.close()
    assert sum(read_px) < 0.02 * side**2


def test_twenty_verdicts_and_a_drawn_box_are_learned_and_change_what_is_found(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way with real training, of a few steps: judge, draw, learn, and what is found then."""
    monkeypatch.setattr(learning, "FSOD", (sys.executable, "-P", str(Path(__file__).with_name("few_steps.py"))))
    layer = make_layer(tmp_path / "found.gpkg", DETECTIONS)
    bank = tmp_path / "roofs.safetensors"
    save_bank(bank, learned_bank(load_checkpoint(SHIPPED)), SHIPPED)
    with served(Session(layer, None, bank)) as client:
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.set_default_timeout(60_000)
        open_page(page, client.root)
        for i in range(20):
            page.keyboard.press("n" if i % 5 == 4 else "y")
        page.keyboard.press("0")
        page.keyboard.press("d")
        drag(page, *on_screen(page, (300, 200), (360, 250)))
        page.keyboard.press("Escape")
        settle(page)
        judged = table(layer)
        assert (judged["verdict"] != "").sum() == 21
        page.locator("#minutes").fill("0.05")
        page.locator("#learn").click()
        expect(page.locator("#stage")).to_contain_text("learning")
        expect(page.locator("#message")).to_contain_text("24 detections before", timeout=300_000)
        expect(page.locator("#name")).to_have_text("found-2.gpkg")
        after = table(tmp_path / "found-2.gpkg")
        expect(page.locator(".chip")).to_have_count(min(len(after), 200))
        page.close()
    assert len(after)
    assert not set(after["score"]) & set(judged["score"])
    assert table(layer).equals(judged)  # what was said stays where it was said
    assert not list(tmp_path.glob("*.unfinished"))
