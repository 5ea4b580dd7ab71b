from __future__ import annotations

import json
import re
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyproj
import pytest
from affine import Affine
from PIL import Image

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.marks import class_colour
from fsod.report.scene_report import overview_path, scene_report, write_overview
from tests.command import fsod

PIXELS = Georeference(None, Affine.identity(), None)
UTM = Georeference(pyproj.CRS("EPSG:32633"), Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), (0.5, 0.5))
RGB = np.full((60, 90, 3), 120, np.uint8)


def layer(folder: Path, boxes: int) -> Path:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 800, (boxes, 2))
    scores = rng.random(boxes).astype(np.float32)
    found = Detections(np.concatenate([corners, corners + 20], axis=1), scores, np.full(boxes, 1))
    path = folder / "found.json"
    write_layer(path, Layer(found, ["ship", "</script><b>&'\""], PIXELS, "s.tif", (900, 600), {}))
    return path


def data(html: str) -> dict[str, list[float]]:
    return dict(json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[0]))


def test_one_file_that_holds_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = layer(tmp_path, 20)
    write_overview(path, RGB, (900, 600), ["ship", "</script><b>&'\""])
    assert fsod("report", path) == 0
    assert "detections: 20" in capsys.readouterr().out
    html = path.with_suffix(".html").read_text()
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)
    assert "url(" not in html
    assert "@import" not in html
    assert html.count("</script>") == 2
    assert "<b>" not in html
    assert "&lt;/script&gt;&lt;b&gt;&amp;&#39;&#34;" in html
    # the class that was found keeps the colour that it has among all classes
    assert "#{:02x}{:02x}{:02x}".format(*class_colour(1)) in html
    assert '<span class="name">ship' not in html
    content = data(html)
    assert content["scores"] == sorted(content["scores"], reverse=True)
    assert len(content["boxes"]) == 80
    assert content["size_px"] == [900, 600]


def test_a_scene_without_detections_has_a_report(tmp_path: Path) -> None:
    path = layer(tmp_path, 0)
    write_overview(path, RGB, (900, 600), ["ship"])
    assert scene_report(path, tmp_path / "out" / "r.html")["detections"] == 0
    assert "Nothing was found" in (tmp_path / "out" / "r.html").read_text()


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".csv", ".parquet"])
def test_what_was_judged_wrong_is_not_handed_on(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"found{suffix}"
    boxes = np.array([[10, 10, 30, 30], [50, 50, 70, 70], [90, 10, 110, 30]], np.float64)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, np.int64))
    write_layer(path, Layer(found, ["ship"], UTM, "s.tif", (900, 600), {}, np.arange(1, 4)))
    write_overview(path, RGB, (900, 600), ["ship"])
    verdicts = ["nein", "No", "yes"]
    if suffix == ".csv":
        pd.read_csv(path).assign(verdict=verdicts).to_csv(path, index=False)
    elif suffix == ".parquet":
        geopandas.read_parquet(path).assign(verdict=verdicts).to_parquet(path)
    else:
        geopandas.read_file(path).assign(verdict=verdicts).to_file(path, layer="detections")
    told = scene_report(path, tmp_path / "r.html")
    assert (told["detections"], told["judged_wrong"]) == (2, 1)
    assert told["warnings"] == [f"{path}: verdicts that are neither yes nor no count as not judged (1, such as 'nein')"]
    html = (tmp_path / "r.html").read_text()
    assert data(html)["scores"] == [0.9, 0.7]
    assert "1 judged wrong, not shown" in html


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = layer(tmp_path, 3)
    with pytest.raises(UserError, match=r"found.overview.jpg: the picture of the scene is missing; `fsod predict`"):
        scene_report(path, tmp_path / "r.html")
    Image.fromarray(RGB).save(overview_path(path))
    with pytest.raises(UserError, match=r"found.overview.jpg: not the picture that `fsod predict` wrote"):
        scene_report(path, tmp_path / "r.html")
    for kind in ("PNG", "TIFF", "GIF"):
        Image.fromarray(RGB).save(overview_path(path), kind)
        with pytest.raises(UserError, match=r"found.overview.jpg: not the picture that `fsod predict` wrote"):
            scene_report(path, tmp_path / "r.html")
    for content in (b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"):
        overview_path(path).write_bytes(content)
        with pytest.raises(UserError, match=r"found.overview.jpg: not the picture that `fsod predict` wrote"):
            scene_report(path, tmp_path / "r.html")
    assert fsod("report", tmp_path) == 2
    assert "holds no evaluation (kK-seedS/scores.json)" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.html"))
