"""A registered detector: the same boxes as `fsod predict`, and a reason for whatever cannot be answered."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from base64 import b64encode, encodebytes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas
import pytest
import rasterio
import torch
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from fsod.cli import INTERRUPTED
from fsod.config import PredictSettings
from fsod.errors import UserError
from fsod.steps.predict_scenes import predict_files
from fsod.steps.register import register_model, serve_model
from fsod.steps.served import scene_path
from tests.command import fsod
from tests.untrained import make_bank

PLAN = PredictSettings(window_px=96, overlap_px=32, score=0.02, precision="float32", batch=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights by chance with their bank, a database, and a folder of scenes with things beside it."""
    folder = tmp_path_factory.mktemp("served model")
    make_bank(folder)
    pixels = np.random.default_rng(0).integers(0, 255, (150, 200, 3)).astype(np.uint8)
    for name in ("image.png", "image.jpg"):
        Image.fromarray(pixels).save(folder / name)
    (folder / "scenes" / "in").mkdir(parents=True)
    for path in (folder / "scenes" / "in" / "scene.tif", folder / "outside.tif"):
        with rasterio.open(
            path, "w", width=200, height=150, count=3, dtype="uint8", crs=32631, transform=from_origin(5e5, 5e6, 1, 1)
        ) as file:
            file.write(pixels.transpose(2, 0, 1))
    (folder / "scenes" / "link.tif").symlink_to(folder / "outside.tif")
    (folder / "scenes" / "text.tif").write_text("not a raster")
    mosaic = f'<VRTDataset rasterXSize="1" rasterYSize="1"><SRS>{folder}</SRS></VRTDataset>'
    (folder / "scenes" / "mosaic.tif").write_text(mosaic)
    return folder


@pytest.fixture(scope="module")
def registered(folder: Path, migrated: Path) -> Iterator[str]:
    """The model as the registry knows it. Registering leaves no store behind that later runs would take for the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        shutil.copy(migrated, folder / "mlflow.db")
        result = register_model(folder / "bank.safetensors", None, "made", "champion", PLAN, folder / "mlflow.db")
        assert "MLFLOW_TRACKING_URI" not in os.environ
        patch.setenv("MLFLOW_TRACKING_URI", result["registry"])
        yield result["model"]


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


def test_what_is_registered(registered: str, folder: Path) -> None:
    found = mlflow.models.get_model_info(registered)
    assert [column["name"] for column in found.signature.inputs.to_dict()] == ["image", "scene"]
    assert found.metadata["classes"] == "boat, car"
    place = Path(mlflow.artifacts.download_artifacts(registered, dst_path=str(folder / "copy")))
    assert {path.name for path in place.rglob("*") if path.suffix in (".safetensors", ".py", ".pkl")} == {
        "mlflow_model.py",
        "bank.safetensors",
        "weights.safetensors",
    }
    pinned = (place / "requirements.txt").read_text().split()
    assert f"torch=={torch.__version__.partition('+')[0]}" in pinned
    assert all("==" in line for line in pinned)


def test_the_alias_moves_and_a_bad_name_is_refused(
    registered: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, database = folder / "bank.safetensors", folder / "mlflow.db"
    again = register_model(bank, folder / "weights.safetensors", "made", "champion", PLAN, database)
    assert int(again["version"]) == 2
    assert (
        fsod(
            "register",
            "--bank",
            bank,
            "--name",
            "made",
            "--alias",
            "distractor",
            "--score",
            "0.5",
            "--database",
            database,
        )
        == 0
    )
    versions = {
        alias: mlflow.MlflowClient().get_model_version_by_alias("made", alias) for alias in ("champion", "distractor")
    }
    assert {alias: int(version.version) for alias, version in versions.items()} == {"champion": 2, "distractor": 3}
    for change, reason in (({"window_px": 650}, "window of 650 px"), ({"overlap_px": 100}, "overlap of 100 px")):
        with pytest.raises(UserError, match=reason):
            register_model(bank, None, "made", "champion", PLAN.model_copy(update=change), database)
    for name in ("no/slash", "no:colon", " "):
        with pytest.raises(UserError, match=f"--name '{name}': give a name without / and :"):
            register_model(bank, None, name, "champion", PLAN, database)
    for alias in ("two words", "", "a" * 256):
        with pytest.raises(UserError, match=f"--alias '{alias}': give letters, digits"):
            register_model(bank, None, "made", alias, PLAN, database)
    for alias in ("latest", "v1"):
        with pytest.raises(UserError, match=f"--alias {alias}: MLflow keeps it"):
            register_model(bank, None, "made", alias, PLAN, database)
    assert len(mlflow.MlflowClient().search_model_versions("name='made'")) == 3
    with pytest.raises(
        UserError, match=r"this model cannot be had from there, see `fsod register`: .*alias beta not found"
    ):
        serve_model("made", "beta", None, 5000, 60, database)
    nowhere = folder / "no" / "mlflow.db"
    with monkeypatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with pytest.raises(UserError, match="no such database"):
            serve_model("made", "champion", None, 5000, 60, nowhere)
    assert not nowhere.exists()


def test_registering_that_is_interrupted_is_done_by_the_same_command(
    registered: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the files are copied, and when all is there but the alias; the alias then points to what is whole."""
    bank = folder / "bank.safetensors"
    command = ("register", "--bank", bank, "--name", "cut", "--database", folder / "mlflow.db")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place, name in (
        (LocalArtifactRepository, "log_artifacts"),
        (mlflow.MlflowClient, "set_registered_model_alias"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, interrupt)
            assert fsod(*command) == INTERRUPTED
        with pytest.raises(MlflowException):
            mlflow.MlflowClient().get_model_version_by_alias("cut", "champion")
    assert fsod(*command) == 0
    place = Path(mlflow.artifacts.download_artifacts("models:/cut@champion", dst_path=str(folder / "whole")))
    (copied,) = place.rglob("bank.safetensors")
    assert copied.read_bytes() == bank.read_bytes()


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
