"""Who gets an answer, and that an answer means that it is in the file."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from PIL import Image

from fsod.errors import UserError
from fsod.review.server import MOST_BYTES, serve
from fsod.review.session import Session
from tests.command import fsod
from tests.review.made_review import Client, make_layer, served


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_layer(tmp_path_factory.mktemp("served") / "found.gpkg", 6)


@pytest.fixture(scope="module")
def ask(layer: Path) -> Iterator[Client]:
    """One server for all tests; each leaves the layer as it was."""
    with served(Session(layer, None, None)) as client:
        yield client


def verdicts(layer: Path) -> list[str]:
    return [text or "" for text in geopandas.read_file(layer)["verdict"]]


@pytest.mark.parametrize("path", ["", "layer", "files/review.js", "piece/0,0,64,64/64.jpg", "progress"])
def test_nobody_gets_in_without_the_token_or_by_another_name(ask: Client, path: str) -> None:
    assert ask(path)[0] == 200
    assert ask(path, token="another-token-of-the-tests")[0] == 404
    assert ask(path, token="")[0] == 404
    assert ask(path, Host="evil.example")[0] == 400
    assert ask(path, Host="127.0.0.1.evil.example:80")[0] == 400
    assert ask(path, Host="localhost:1234")[0] == 200


def test_changes_need_the_token_the_name_and_json(ask: Client, layer: Path) -> None:
    said = {"id": 1, "verdict": "yes"}
    assert ask("judge", said, token="x")[0] == 404
    assert ask("judge", said, Host="evil.example")[0] == 400
    # what a form of another page could send, if it knew the token
    assert ask("judge", said, **{"Content-Type": "text/plain"}) == (400, {"error": "the request is not JSON"})
    assert ask("judge")[0] == 405
    assert verdicts(layer) == [""] * 6


def test_the_page_closes_itself_to_everything_but_this_server(ask: Client) -> None:
    import urllib.request

    with urllib.request.urlopen(f"{ask.root}/a-token-of-the-tests/") as answer:
        policy = answer.headers["content-security-policy"]
        assert b"openlayers.js" in answer.read()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_an_answered_change_is_in_the_file(ask: Client, layer: Path) -> None:
    status, shown = ask("layer")
    assert status == 200
    assert [one["ask"] for one in shown["found"]] == [1, 2, 3, 4, 5, 6]
    assert [one["name"] for one in shown["classes"]] == ["ship", "tank"]
    status, answer = ask("judge", {"id": 2, "verdict": "no"})
    assert (status, answer["changed"]["2"]["verdict"], answer["undoable"]) == (200, "no", "verdict no")
    assert verdicts(layer) == ["", "no", "", "", "", ""]
    status, answer = ask("box", {"box_xyxy_px": [300, 200, 340, 240], "class_name": "ship"})
    assert (status, answer["changed"]["7"]["score"]) == (200, None)
    assert verdicts(layer)[-1] == "yes"
    status, answer = ask("box", {"id": 1, "box_xyxy_px": [4, 4, 30, 26]})
    assert answer["changed"]["1"]["box_xyxy_px"] == [4, 4, 30, 26]
    assert ask("area", {"ring_px": [[0, 0], [100, 0], [100, 100]]})[1]["areas"]
    assert [ask("undo", {})[1]["undone"] for _ in range(5)] == [
        "drawn area",
        "mended box",
        "drawn box",
        "verdict no",
        "",
    ]
    assert verdicts(layer) == [""] * 6
    assert ask("layer")[1]["found"] == shown["found"]


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("judge", {"id": 1, "verdict": "maybe"}, "verdict"),
        ("judge", {"id": 99, "verdict": "yes"}, "feature 99 is not there"),
        ("box", {"box_xyxy_px": [1, 2, float("nan"), 4], "class_name": "a"}, "box_xyxy_px"),
        ("box", {"box_xyxy_px": [900, 900, 950, 950], "class_name": "a"}, "lies outside the scene"),
        ("box", {"box_xyxy_px": [9, 9, 9.5, 20], "class_name": "a"}, "smaller than a pixel"),
        ("box", {"box_xyxy_px": [1, 2, 30, 40]}, "needs a class"),
        ("area", {"ring_px": [[0, 0]]}, "ring_px"),
        ("erase", {"id": 1}, "say no to a detection"),
        ("erase", {}, "not there any more"),
        ("learn", {"minutes": 1e9}, "minutes"),
        ("learn", {}, "--bank FILE"),
        ("judge", {"id": 1, "verdict": "x" * MOST_BYTES}, "too long"),
    ],
)
def test_what_cannot_be_done_is_answered_with_the_reason(
    ask: Client, layer: Path, path: str, body: dict[str, Any], why: str
) -> None:
    before = layer.read_bytes()
    status, answer = ask(path, body)
    assert status == 400
    assert why in answer["error"]
    assert layer.read_bytes() == before


def test_a_page_of_another_layer_changes_nothing(ask: Client, layer: Path) -> None:
    """As one whose tab was open while a round ended in another: its ids are of other features now."""
    for path, body in {"judge": {"id": 1, "verdict": "yes"}, "undo": {}, "learn": {}}.items():
        status, answer = ask(path, {**body, "layer": "found-1.gpkg"})
        assert (status, answer["error"]) == (
            400,
            "found-1.gpkg was learned from meanwhile; from here on this page shows found.gpkg",
        )
    assert verdicts(layer) == [""] * 6


def test_pieces_are_the_scene_and_nothing_beyond_a_limit(ask: Client) -> None:
    status, content = ask("piece/5,5,25,25/40.jpg")
    assert status == 200
    assert np.asarray(Image.open(BytesIO(content))).mean() > 190  # the bright square of the first detection
    status, content = ask("piece/-100,-100,-36,-36/64.jpg")
    assert np.asarray(Image.open(BytesIO(content))).max() == 0
    for path in (
        "0,0,64,32/64",
        "0,0,0,0/64",
        "64,64,0,0/64",
        "0,0,64,64/4096",
        "0,0,64,64/0",
        "a,b,c,d/64",
        "1,2,3/64",
    ):
        assert ask(f"piece/{path}.jpg")[0] == 404
    assert ask("files/..%2Fserver.py")[0] == 404
    assert ask("files/review.html")[0] == 404


def test_a_review_that_cannot_begin_says_what_to_do(
    tmp_path: Path, layer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served_scene = layer.with_name("scene.tif")
    layer = Path(shutil.copy(layer, tmp_path))
    assert fsod("review", layer) == 2
    assert "its scene scene.tif is neither beside it nor in this folder; name the raster" in capsys.readouterr().err
    assert fsod("review", layer, "--scene", tmp_path / "gone.tif") == 2
    assert "gone.tif: cannot be opened as a raster" in capsys.readouterr().err
    assert fsod("review", layer, "--scene", served_scene, "--bank", tmp_path / "gone.safetensors") == 2
    assert "gone.safetensors: no such file" in capsys.readouterr().err
    assert fsod("review", tmp_path / "nothing.gpkg") == 2
    assert "nothing.gpkg: no such layer" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(layer: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: is taken"):
            serve(Session(layer, None, None), port, print)
