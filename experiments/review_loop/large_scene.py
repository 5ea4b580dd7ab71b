"""How long a scene of 30,000 px takes to open in `fsod review`: from the address to a page with all its chips and its map.

    .venv/bin/python -m experiments.review_loop.large_scene

The scene is a sparse, tiled GeoTIFF with 500 detections. It is opened with the picture that `fsod predict` leaves beside a layer,
with overviews of its own instead, and with neither. The record goes to large_scene.json. Needs Chromium.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyproj
import rasterio
from affine import Affine

from experiments.page_pictures import address_of, browser_page
from experiments.records import Record, commit
from fsod.boxes import Detections
from fsod.data.coco_folder import write_json
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.report.scene_report import write_overview

RESULTS = Path(__file__).with_name("large_scene.json")
SIDE_PX = 30_000
FOUND = 500
REPEATS = 3
OVERVIEWS = [2, 4, 8, 16]
PLACE = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
SHOWN = """() => document.body.dataset.ready !== undefined && document.querySelector("#map canvas")
  && [...document.images].every((one) => one.getBoundingClientRect().top > innerHeight || (one.complete && one.naturalWidth))"""
KINDS = ("picture of predict", "overviews", "neither")


def main() -> None:
    with TemporaryDirectory() as folder:
        write_json(RESULTS, {"commit": commit(), **{kind: opened(Path(folder) / kind, kind) for kind in KINDS}})


def opened(folder: Path, kind: str) -> Record:
    """Medians over a few openings, each of a server of its own."""
    layer = made(folder, kind)
    command = [sys.executable, "-m", "fsod", "review", str(layer)]
    starts, pages = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        with address_of(command, r"review: (\S+)") as address, browser_page() as page:
            starts.append(time.perf_counter() - start)
            page.goto("about:blank")
            start = time.perf_counter()
            page.goto(address)
            page.wait_for_function(SHOWN)
            pages.append(time.perf_counter() - start)
    record = {
        "server_and_browser_start_s": round(float(np.median(starts)), 2),
        "page_s": round(float(np.median(pages)), 2),
        "load": round(os.getloadavg()[0], 1),
    }
    print(kind, record, flush=True)
    return record


def made(folder: Path, kind: str) -> Path:
    """Writes a scene and its layer; returns the layer."""
    folder.mkdir()
    shape = {"width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8", "tiled": True, "sparse_ok": True}
    scene = folder / "scene.tif"
    with rasterio.open(scene, "w", driver="GTiff", crs="EPSG:32633", transform=PLACE, **shape) as file:
        file.write(np.full((3, 512, 512), 90, np.uint8), window=rasterio.windows.Window(0, 0, 512, 512))
    if kind == "overviews":
        with rasterio.open(scene, "r+") as file:
            file.build_overviews(OVERVIEWS)
    corners = np.random.default_rng(0).uniform(0, SIDE_PX - 100, (FOUND, 2))
    found = Detections(np.concatenate([corners, corners + 40], axis=1), np.full(FOUND, 0.5), np.zeros(FOUND, np.int64))
    layer, place = folder / "found.gpkg", Georeference(pyproj.CRS("EPSG:32633"), PLACE, (0.5, 0.5))
    size = (SIDE_PX, SIDE_PX)
    write_layer(layer, Layer(found, ["ship"], place, "scene.tif", size, {}, np.arange(1, FOUND + 1)))
    if kind == "picture of predict":
        write_overview(layer, np.full((2048, 2048, 3), 90, np.uint8), size, ["ship"])
    return layer


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
