"""Files that point at servers: nothing is fetched unless a scene was named by its URL."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html import escape
from pathlib import Path

import numpy as np
import pytest
import rasterio

from fsod.errors import UserError
from fsod.geo.features import read_frame
from fsod.geo.scene_opening import open_scene

Asked = Callable[[], bool]

WMS = """<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>
<UpperLeftX>0</UpperLeftX><UpperLeftY>0</UpperLeftY><LowerRightX>32</LowerRightX><LowerRightY>32</LowerRightY>
<SizeX>32</SizeX><SizeY>32</SizeY><TileLevel>0</TileLevel></DataWindow><BandsCount>1</BandsCount></GDAL_WMS>"""
GML = """<?xml version="1.0"?><wfs:FeatureCollection xmlns:wfs="http://www.opengis.net/wfs" xmlns:a="http://a"
xmlns:gml="http://www.opengis.net/gml" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
xsi:schemaLocation="http://a {url}/wfs?service=WFS&amp;version=1.0.0&amp;request=DescribeFeatureType&amp;typename=a:b">
<gml:featureMember><a:b><a:geom><gml:Point><gml:coordinates>1,2</gml:coordinates></gml:Point></a:geom></a:b>
</gml:featureMember></wfs:FeatureCollection>"""
REMOTE = (
    "{url}/a.tif",
    "/vsicurl/{url}/a.tif",
    "/vsicurl_streaming/{url}/a.tif",
    "/vsizip//vsicurl/{url}/a.zip/a.tif",
)
OGR_VRT = (
    '<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>{source}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
)
LAYERS = {
    "schema.gml": GML,
    "service.xml": "<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
    "remote.vrt": OGR_VRT.replace("{source}", "{url}/x.geojson"),
    "file.vrt": OGR_VRT.replace("{source}", "/vsicurl/{url}/x.geojson"),
    "crs.geojson": '{{"type": "FeatureCollection", "features": [],'
    ' "crs": {{"type": "link", "properties": {{"href": "{url}/crs", "type": "ogcwkt"}}}}}}',
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Asked]]:
    """Address of a server that takes connections and says nothing, and whether one has come."""
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    for name in ("no_proxy", "NO_PROXY", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        def asked() -> bool:
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked


def mosaic(path: Path, source: str) -> Path:
    area = '<{0}Rect xOff="0" yOff="0" xSize="32" ySize="32"/>'
    path.write_text(
        f'<VRTDataset rasterXSize="32" rasterYSize="32"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{escape(source)}</SourceFilename><SourceBand>1</SourceBand>"
        f"{area.format('Src')}{area.format('Dst')}</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def read(path: Path | str) -> None:
    with open_scene(path) as scene:
        scene.read_reduced(16)


@pytest.mark.parametrize("source", [*REMOTE, WMS])
def test_a_mosaic_of_remote_pixels_fetches_nothing(tmp_path: Path, server: tuple[str, Asked], source: str) -> None:
    url, asked = server
    path = mosaic(tmp_path / "mosaic.vrt", source.format(url=url))
    with ThreadPoolExecutor(1) as thread:  # as windows are read
        assert isinstance(thread.submit(read, path).exception(), UserError)
    with pytest.raises(UserError, match=r"^[^\n]*mosaic.vrt: .*; it refers to a server: name the URL itself"):
        read(path)
    assert not asked()


def test_a_service_that_is_called_tif_is_no_raster(tmp_path: Path, server: tuple[str, Asked]) -> None:
    url, asked = server
    path = tmp_path / "scene.tif"
    path.write_text(WMS.format(url=url))
    with pytest.raises(UserError, match="cannot be opened as a raster"):
        read(path)
    assert not asked()


def test_drivers_are_kept_out_of_a_program_that_imported_rasterio_first(
    tmp_path: Path, server: tuple[str, Asked]
) -> None:
    """They are registered by then, and GDAL_SKIP comes too late; the program itself may go on using them."""
    url, asked = server
    path, raster = tmp_path / "scene.tif", tmp_path / "raster.tif"
    path.write_text(WMS.format(url=url))
    with rasterio.open(raster, "w", driver="GTiff", width=7, height=5, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 5, 7), np.uint8))
    program = (
        "import sys, rasterio\n"
        "with rasterio.Env() as environment: assert 'WMS' in environment.drivers()\n"
        "from fsod.errors import UserError\n"
        "from fsod.geo.scene_opening import open_scene\n"
        "try: open_scene(sys.argv[1])\n"
        "except UserError as error: print(error)\n"
        "with open_scene(sys.argv[2]) as scene: print(scene.width_px, scene.height_px)\n"
        "with rasterio.Env() as environment: assert 'WMS' in environment.drivers()\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "GDAL_SKIP"}
    done = subprocess.run(
        [sys.executable, "-c", program, path, raster], env=environment, capture_output=True, text=True, check=True
    )
    assert "scene.tif: cannot be opened as a raster" in done.stdout
    assert done.stdout.endswith("7 5\n")
    assert not asked()


def test_overviews_of_a_sidecar_are_not_fetched(tmp_path: Path, server: tuple[str, Asked]) -> None:
    url, asked = server
    path = tmp_path / "scene.tif"
    with rasterio.open(path, "w", driver="GTiff", width=256, height=256, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 256, 256), np.uint8))
    overview = f'<MDI key="OVERVIEW_FILE">/vsicurl/{url}/a.tif</MDI>'
    Path(f"{path}.aux.xml").write_text(f'<PAMDataset><Metadata domain="OVERVIEWS">{overview}</Metadata></PAMDataset>')
    read(path)
    assert not asked()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_fetches_nothing(tmp_path: Path, server: tuple[str, Asked], name: str) -> None:
    url, asked = server
    path = tmp_path / name
    path.write_text(LAYERS[name].format(url=url))
    with suppress(UserError):
        read_frame(path, None)
    assert not asked()


def test_what_is_named_by_its_url_or_allowed_is_fetched(
    tmp_path: Path, server: tuple[str, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = server
    with pytest.raises(UserError) as caught:
        read(f"{url}/named.tif")
    assert "it refers to a server" not in str(caught.value)
    assert asked()
    while asked():
        pass
    monkeypatch.setenv("CPL_VSIL_CURL_ALLOWED_EXTENSIONS", ".tif")
    with pytest.raises(UserError):
        read(mosaic(tmp_path / "mosaic.vrt", f"/vsicurl/{url}/allowed.tif"))
    assert asked()


PYTHON = """
import sys
from fsod.geo.scene_opening import open_scene
with open_scene(sys.argv[1]) as scene:
    scene.read_reduced(16)
"""
UNDER_RASTERIO = """
import sys, rasterio
from fsod.geo.scene_opening import open_scene
with rasterio.Env(GDAL_VRT_ENABLE_PYTHON="YES"), open_scene(sys.argv[1]) as scene:
    scene.read_reduced(16)
"""


@pytest.mark.parametrize("by", ["variable", "file", "program"])
def test_a_raster_that_brings_python_does_not_run_it(tmp_path: Path, by: str) -> None:
    """Not even where the user lets other programs do so: by a variable, by GDAL's own file, which may come before that."""
    ran = tmp_path / "ran"
    code = f"def f(a, out, *more, **named):\n    open({str(ran)!r}, 'w').close()\n    out[:] = 7\n"
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=32, height=32, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 32, 32), np.uint8))
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="32" rasterYSize="32"><VRTRasterBand dataType="Byte" band="1" '
        'subClass="VRTDerivedRasterBand"><PixelFunctionType>f</PixelFunctionType>'
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
        f"<PixelFunctionCode>{escape(code)}</PixelFunctionCode><SimpleSource>"
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    config = tmp_path / "gdalrc"
    config.write_text("[directives]\nignore-env-vars=yes\n[configoptions]\nGDAL_VRT_ENABLE_PYTHON=YES\n")
    told = {"variable": {"GDAL_VRT_ENABLE_PYTHON": "YES"}, "file": {"GDAL_CONFIG_FILE": str(config)}}.get(by, {})
    done = subprocess.run(
        [sys.executable, "-c", PYTHON if by != "program" else UNDER_RASTERIO, str(tmp_path / "a.vrt")],
        env=os.environ | told,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.exists()
    assert "UserError" in done.stderr
    assert "needs to be executed, but this has been explicitly disabled" in done.stderr
