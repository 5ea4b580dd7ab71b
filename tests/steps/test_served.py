"""A registered detector: the same boxes as `fsod predict`, and a reason for whatever cannot be answered."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from base64 import b64encode, encodebytes
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas
import pytest
import rasterio
from mlflow.exceptions import MlflowException
from PIL import Image
from rasterio.io import MemoryFile

from fsod.errors import UserError
from fsod.steps.predict_scenes import predict_files
from fsod.steps.served import scene_path
from tests.registered_model import PLAN, folder, registered

__all__ = ["folder", "registered"]


@pytest.fixture(scope="module")
def model(registered: str, folder: Path) -> Any:
    """The model as the server loads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSOD_SCENES", str(folder / "scenes"))
        return mlflow.pyfunc.load_model(registered)


def ask(model: Any, **columns: object) -> dict[str, Any]:
    """The answer to a request of one row."""
    [answer] = model.predict(pandas.DataFrame([columns]))
    return dict(answer)


def base64_of(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()


def predicted(folder: Path, raster: Path) -> list[dict[str, Any]]:
    """Features of the layer that `fsod predict` writes of a raster."""
    out = folder / f"{raster.name}.geojson"
    predict_files([str(raster)], None, folder / "bank.safetensors", out, PLAN)
    return list(json.loads(out.read_text())["features"])


def assert_same(answer: dict[str, Any], features: list[dict[str, Any]]) -> None:
    assert len(features) > 10
    assert len(answer["detections"]) == len(features)
    for found, feature in zip(answer["detections"], features, strict=True):
        known = feature["properties"]
        assert found["class"] == known["class"]
        assert found["score"] == pytest.approx(known["score"], abs=1e-4)
        assert found["box_xyxy_px"] == pytest.approx([known[f"{side}_px"] for side in ("x1", "y1", "x2", "y2")])


@pytest.mark.parametrize("name", ["image.png", "image.jpg"])
def test_an_image_gets_the_boxes_of_predict(folder: Path, model: Any, name: str) -> None:
    answer = ask(model, image=base64_of(folder / name))
    assert (answer["width_px"], answer["height_px"]) == (200, 150)
    assert answer["detections"][0]["lonlat"] is None
    assert_same(answer, predicted(folder, folder / name))


def test_an_image_gets_the_warnings_of_predict(folder: Path, model: Any) -> None:
    assert ask(model, image=base64_of(folder / "image.png"))["warnings"] == []
    pixels = np.full((150, 200), 90, np.uint16)
    pixels[:, :60], pixels[:, 60:80] = 40_000, 130
    Image.fromarray(pixels).save(folder / "deep.png")
    (said,) = ask(model, image=base64_of(folder / "deep.png"))["warnings"]
    assert said.startswith("image: 40000 fills 30% of it"), said


def test_a_scene_gets_the_boxes_of_predict_and_their_place(folder: Path, model: Any) -> None:
    scene = folder / "scenes" / "in" / "scene.tif"
    features = predicted(folder, scene)
    for path in ("in/scene.tif", str(scene), "in/../in/scene.tif"):
        answer = ask(model, scene=path)
        assert_same(answer, features)
    assert answer["gsd_m"] == pytest.approx(0.5, rel=0.05)  # the bank's
    here, there = answer["detections"][0]["lonlat"], features[0]["geometry"]
    assert here["type"] == there["type"]
    ring_here, ring_there = (np.array(shape["coordinates"][0])[:-1] for shape in (here, there))
    np.testing.assert_allclose(np.sort(ring_here, axis=0), np.sort(ring_there, axis=0), atol=1e-8)


def test_rows_may_be_of_either_kind_and_base64_may_be_wrapped(folder: Path, model: Any) -> None:
    wrapped = encodebytes((folder / "image.png").read_bytes()).decode()
    image, scene = model.predict(pandas.DataFrame([{"image": wrapped}, {"scene": "in/scene.tif"}]))
    assert image["detections"] == ask(model, image=base64_of(folder / "image.png"))["detections"]
    assert scene["gsd_m"] is not None
    assert image["gsd_m"] is None


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def broken_images(folder: Path) -> dict[str, str]:
    """Reason -> image."""
    png, jpg = ((folder / name).read_bytes() for name in ("image.png", "image.jpg"))
    files = {
        "image: neither PNG nor JPEG": b"<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>",
        "image: a damaged PNG": png[:20],
        "image: a damaged JPEG": jpg[:20],
        "Premature end of JPEG": jpg[: len(jpg) // 2],
        "image: damaged or cut short": png[: len(png) // 2],
        "image: 60000 x 60000 px is more than 100 million": png_that_claims(60000, 60000),
    }
    texts = {reason: b64encode(content).decode() for reason, content in files.items()}
    return texts | {"image: not base64": "no base64!", "image: more than 64 MiB": "A" * (90 * 2**20)}


def broken_scenes(folder: Path) -> dict[str, tuple[str, ...]]:
    """Reason -> scenes."""
    return {
        "lies outside the folder": (
            "../outside.tif",
            str(folder / "outside.tif"),
            "link.tif",
            "/etc/passwd",
            "../not there.tif",
            "/vsicurl/http://127.0.0.1:9/scene.tif",
        ),
        "no such file": (
            "missing.tif",
            "in",
            "http://127.0.0.1:9/scene.tif",
            "zip+file://scenes.zip!scene.tif",
            "a\0b",
            "a" * 5000,
        ),
        "cannot be opened as a GeoTIFF": ("text.tif", "mosaic.tif"),
    }


def test_a_broken_request_gets_a_reason_and_status_400(folder: Path, model: Any) -> None:
    requests: list[tuple[str, dict[str, str | None]]]
    requests = [(reason, {"image": image}) for reason, image in broken_images(folder).items()]
    requests += [(reason, {"scene": path}) for reason, paths in broken_scenes(folder).items() for path in paths]
    row = "a row needs either 'image' (base64 of a PNG or JPEG) or 'scene' (path of a GeoTIFF)"
    requests += [(row, {"imgae": "x"}), (row, {"image": None}), (row, {"image": "x", "scene": "y"})]
    for reason, columns in requests:
        with pytest.raises(MlflowException) as caught:
            ask(model, **columns)
        assert caught.value.get_http_status_code() == 400
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
        assert "/vsimem" not in str(caught.value)
    assert ask(model, image=base64_of(folder / "image.png"))["detections"]


def test_a_jpeg_is_not_read_as_the_mosaic_in_its_comment(folder: Path, model: Any) -> None:
    source = f"<SimpleSource><SourceFilename>{folder / 'outside.tif'}</SourceFilename></SimpleSource>"
    band = f'<VRTRasterBand dataType="Byte" band="1">{source}</VRTRasterBand>'
    mosaic = f'<VRTDataset rasterXSize="96" rasterYSize="96">{band}</VRTDataset>'.encode().ljust(300)
    plain = (folder / "image.jpg").read_bytes()
    image = plain[:2] + b"\xff\xfe" + struct.pack(">H", len(mosaic) + 2) + mosaic + plain[2:]
    with MemoryFile(image) as file, rasterio.open(file.name) as opened:
        assert opened.driver == "VRT"  # what GDAL makes of it when nobody says what it is
    answer = ask(model, image=b64encode(image).decode())
    assert answer == ask(model, image=base64_of(folder / "image.jpg"))


def test_without_a_folder_no_scene_is_read(folder: Path) -> None:
    with pytest.raises(UserError, match="FSOD_SCENES=FOLDER"):
        scene_path(str(folder / "outside.tif"), None)


def post(url: str, body: object, host: str | None = None) -> tuple[int, str]:
    """Status and text of an answer to a request, which may call the server by another name."""
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({} if host is None else {"Host": host})
    request = urllib.request.Request(url, content, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_server_answers_refuses_and_stays_up(registered: str, folder: Path, model: Any) -> None:
    command = [sys.executable, "-m", "fsod", "serve", "made", "--database", str(folder / "mlflow.db"), "--port", "5741"]
    environment = os.environ | {"PATH": os.defpath}  # an environment that nobody has activated
    server = subprocess.Popen(
        [*command, "--scenes", str(folder / "scenes")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    lines = []
    try:
        for line in server.stdout:
            lines.append(line)
            if "Uvicorn running" in line:
                break
        url = next(word for line in lines for word in line.split() if word.endswith("/invocations"))
        assert url.startswith("http://127.0.0.1:")
        good = {"dataframe_records": [{"image": base64_of(folder / "image.jpg")}, {"scene": "in/scene.tif"}]}
        for bad in ({"image": "no base64!"}, {"scene": "../outside.tif"}, {"imgae": ""}):
            status, text = post(url, {"dataframe_records": [bad]})
            assert status == 400
            assert json.loads(text)["message"]
        for unreadable in (
            "[" * 100_000,
            '{"a":' * 100_000,
            f'{{"dataframe_records": [{"9" * 5000}]}}',
            "[]",
            "7",
            "{",
        ):
            assert 400 <= post(url, unreadable)[0] < 500, unreadable[:40]
        for host in ("evil.example", "evil.example:5741", "127.0.0.1.evil.example", "[::1]:5741"):
            assert post(url, good, host) == (400, "Invalid host header")
        assert post(url, good, "localhost:5741")[0] == 200
        status, text = post(url, good)
        assert status == 200
        image, scene = json.loads(text)["predictions"]
        assert image["detections"] == ask(model, image=base64_of(folder / "image.jpg"))["detections"]
        assert scene["detections"] == json.loads(json.dumps(ask(model, scene="in/scene.tif")["detections"]))
    finally:
        server.terminate()
        server.communicate(timeout=30)
