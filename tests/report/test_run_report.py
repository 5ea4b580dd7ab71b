from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from fsod.data.coco_folder import write_json
from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.report.evaluation_pictures import ERRORS, FOUND, NUMBERS
from fsod.report.run_report import run_report
from fsod.store.checkpoint import Checkpoint, save_checkpoint
from fsod.tracking.run_scores import by_k, evaluations, half_interval

EVIL = "<img src=x onerror=alert(1)>"
SETTINGS = {"name": f"study {EVIL}", "size": "nano", "data": {"novel": ["crane"]}}


def scores(novel: float | None, base: float) -> dict[str, Any]:
    return {
        "novel_map50": novel,
        "base_map50": base,
        "harmonic_map50": None,
        "all_map50": base,
        "all_map": base / 2,
        "per_class_ap50": {EVIL: base, "crane": novel},
        "images": 7,
        "objects": 31,
        "machine": "cpu",
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two seeds of K=3, one of K=10 with pictures."""
    folder = tmp_path / "run"
    for k, seed, measured in ((3, 0, scores(0.2, 0.5)), (3, 1, scores(0.4, 0.5)), (10, 0, scores(0.6, 0.7))):
        write_json(folder / f"k{k}-seed{seed}" / "scores.json", measured)
    last = folder / "k10-seed0"
    save_checkpoint(
        last / "finetune.safetensors", Checkpoint(Detector("nano", 2), "nano", ("a", "b"), "finetune", SETTINGS)
    )
    noise = np.random.default_rng(0).integers(0, 255, (900, 3000, 3)).astype(np.uint8)
    Image.fromarray(noise).save(last / FOUND)
    Image.fromarray(noise[:50, :80]).save(last / ERRORS)
    write_json(last / NUMBERS, {"confused": [{"true": EVIL, "detected": "crane", "count": 4}]})
    (folder / "k5-seed0").mkdir()
    return folder


def test_means_and_intervals_over_seeds(run: Path) -> None:
    found = evaluations(run)
    assert [(each.k, each.seed) for each in found] == [(3, 0), (3, 1), (10, 0)]
    assert by_k(found, "novel_map50") == {3: [0.2, 0.4], 10: [0.6]}
    assert by_k(found, "per_class_ap50", EVIL) == {3: [0.5, 0.5], 10: [0.7]}
    assert by_k(found, "harmonic_map50") == {}
    # scipy.stats.t.interval(0.95, 2, 2, 1 / 3 ** 0.5) is 2 ± 2.484138
    assert half_interval([1, 2, 3]) == pytest.approx(2.484138, abs=1e-6)
    assert np.isnan(half_interval([1]))


def test_a_run_in_the_browser(run: Path, browser: Browser) -> None:
    out = run / "report.html"
    assert run_report(run, out)["evaluations"] == 3
    page = browser.new_page()
    dialogs: list[str] = []
    asked: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(out.as_uri())
    expect(page.locator("h1")).to_have_text(f"study {EVIL}")
    novel = page.locator("tr", has=page.get_by_role("rowheader", name="novel", exact=True)).first
    expect(novel.locator(".value")).to_have_text(["0.300 ± 1.271", "0.600"])
    expect(page.locator("tr", has_text="harmonic").locator("td")).to_have_text(["-", "-"])
    expect(page.locator("summary").nth(2)).to_have_text("K = 10, seed 0, novel 0.600, base 0.700")
    expect(page.get_by_text("Most often taken for another class")).to_contain_text(f"{EVIL} for crane (4).")
    sizes = page.evaluate("() => [...document.images].map(image => [image.naturalWidth, image.naturalHeight])")
    # the chart over K, the small chart as it is, the photo made smaller
    assert [80, 50] in sizes
    assert [2400, 720] in sizes
    assert len(sizes) == 3
    assert all(width > 0 for width, _ in sizes)
    assert dialogs == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    page.close()


def test_pages_are_no_larger_than_what_they_show(run: Path) -> None:
    """Noise is the worst case: half a byte a pixel."""
    run_report(run, run / "report.html")
    assert (run / "report.html").stat().st_size < 4_000_000
    assert not re.search(r"(?:src|href)=\"(?!data:)", (run / "report.html").read_text())


def test_damaged_errors_are_named(run: Path) -> None:
    (run / "k10-seed0" / NUMBERS).write_text('{"confused": [')
    with pytest.raises(UserError, match=r"k10-seed0/errors\.json: not the errors of an evaluation .*; evaluate again"):
        run_report(run, run / "report.html")


def test_damaged_scores_are_named(run: Path) -> None:
    (run / "k3-seed1" / "scores.json").write_text("{")
    with pytest.raises(UserError, match=r"k3-seed1/scores.json: not the scores of an evaluation .*evaluate again"):
        run_report(run, run / "report.html")
    (run / "k3-seed1" / "scores.json").write_text("[]")
    with pytest.raises(UserError, match="not the scores"):
        evaluations(run)
