"""A scene, a layer of detections on it as ``fsod predict`` writes one, and a server for the two."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import uvicorn
from affine import Affine

from fsod.boxes import Detections
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from fsod.review.judged_layer import JudgedLayer
from fsod.review.server import review_app
from fsod.review.session import Session
from tests.labelled_scene import STRAIGHT, make_scene

SIZE_PX = (400, 300)
NAMES = ("tank", "ship")
LAYER = "found.gpkg"
TOKEN = "a-token-of-the-tests"


def grid_boxes(count: int) -> np.ndarray:
    """Boxes of 20 px in rows of 16."""
    x, y = 5.0 + 24 * (np.arange(count) % 16), 5.0 + 24 * (np.arange(count) // 16)
    return np.stack([x, y, x + 20, y + 20], axis=1)


def make_layer(
    path: Path,
    count: int = 3,
    crs: str | None = "EPSG:32633",
    transform: Affine = STRAIGHT,
    bank_sha256: str = "ba9876543210",
) -> Path:
    """``scene.tif`` with a bright square for each of ``count`` detections, and their layer at ``path``."""
    boxes = grid_boxes(count)
    scene = make_scene(path.parent / "scene.tif", boxes, SIZE_PX, crs, transform if crs else None)
    place = Georeference(pyproj.CRS(crs), transform, (0.5, 0.5)) if crs else Georeference(None, Affine.identity(), None)
    found = Detections(boxes, np.linspace(0.9, 0.3, count).astype(np.float32), np.arange(count) % 2)
    ask = np.arange(count, 0, -1)
    run = {"weights": "0123456789ab", "bank": bank_sha256}
    write_layer(path, Layer(found, NAMES, place, scene.name, SIZE_PX, run, ask))
    return path


@dataclass(frozen=True)
class Client:
    """Asks a server as the page does.

    Attributes:
        root: its address without token.
    """

    root: str

    def __call__(
        self, path: str, body: dict[str, Any] | None = None, *, token: str = TOKEN, **headers: str
    ) -> tuple[int, Any]:
        """Status and answer, JSON where it is that; ``body`` is posted, as of a page that shows ``LAYER``."""
        sent = None if body is None else json.dumps({"layer": LAYER, **body}).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.root}/{token}/{path}", sent, {**kind, **headers})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, content, form = answer.status, answer.read(), answer.headers["content-type"]
        except urllib.error.HTTPError as error:
            status, content, form = error.code, error.read(), error.headers["content-type"]
        return status, json.loads(content) if form == "application/json" else content


@contextmanager
def served(session: Session) -> Iterator[Client]:
    """A server of a session, on a port that is free."""
    server = uvicorn.Server(uvicorn.Config(review_app(session, TOKEN), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Client(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(30)
        session.close()


def opened(path: Path) -> JudgedLayer:
    return JudgedLayer(path, None, open_scene(path.parent / "scene.tif", north_up=False))


def on_disk(path: Path) -> dict[str, list[Any]]:
    frame = geopandas.read_file(path)
    return {column: frame[column].tolist() for column in frame.columns}


def verdicts(path: Path) -> list[str]:
    return [text or "" for text in on_disk(path)["verdict"]]
