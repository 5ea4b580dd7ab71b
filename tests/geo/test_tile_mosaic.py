"""Map tiles are one raster: where a GeoTIFF of the same ground lies, with the same pixels."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsod.errors import UserError
from fsod.geo.scene import Scene
from fsod.geo.scene_list import is_gone, kept_name, layer_paths, short_name
from fsod.geo.scene_opening import open_scene
from fsod.geo.tile_mosaic import KEPT_BYTES
from tests.map_tiles import X, Y, make_mbtiles, make_scene, unpacked


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scene.tif, area.mbtiles, tiles and, with rows from the south, tms."""
    folder = tmp_path_factory.mktemp("tiles")
    mbtiles = make_mbtiles(folder / "area.mbtiles", make_scene(folder / "scene.tif"))
    unpacked(folder / "tiles", mbtiles)
    unpacked(folder / "tms", mbtiles, upwards=True)
    (folder / "tms" / "tilemapresource.xml").write_text('<TileMap><TileSets profile="mercator"/></TileMap>')
    unpacked(folder / "bare", mbtiles, upwards=True)
    return folder


def pixels(scene: Scene, xyxy_px: tuple[int, int, int, int] = (10, 20, 700, 500)) -> np.ndarray:
    return scene.read_rectangle(xyxy_px)[0]


@pytest.mark.parametrize(
    "name", ["area.mbtiles", "tiles", "tiles/18", "tiles/{z}/{x}/{y}.png", "tms", "bare/18/{x}/{-y}.png"]
)
def test_tiles_lie_where_the_raster_lies(made: Path, name: str) -> None:
    with open_scene(made / "scene.tif") as raster, open_scene(made / name) as tiles:
        assert (tiles.width_px, tiles.height_px) == (768, 512)
        assert tiles.georeference.crs == raster.georeference.crs
        assert tiles.georeference.transform.almost_equals(raster.georeference.transform, 1e-6)
        assert tiles.georeference.gsd_m == pytest.approx(0.299, abs=0.001), (
            "on the ground at 60 degrees north, not on the map"
        )
        np.testing.assert_array_equal(pixels(tiles), pixels(raster))
        valid = tiles.read_rectangle((0, 0, 768, 512))[1]
        assert not valid[256:, 512:].any(), "no tile, no pixels"
        assert valid.sum() == 5 * 256**2


def test_reading_resamples_as_gdal_does(made: Path) -> None:
    with open_scene(made / "scene.tif", gsd_m=0.2) as raster, open_scene(made / "tiles", gsd_m=0.2) as tiles:
        inside = (100, 40, 500, 300)
        np.testing.assert_allclose(pixels(tiles, inside).astype(int), pixels(raster, inside).astype(int), atol=1)


def test_large_tiles_take_no_more_memory_than_small_ones(tmp_path: Path) -> None:
    """Of tiles of 4096 px, 512 would take 34 GB."""
    (tmp_path / "18" / "5").mkdir(parents=True)
    for y in range(20):
        Image.new("L", (2048, 2048), y).save(tmp_path / "18" / "5" / f"{y}.png")
    with open_scene(tmp_path) as scene:
        tracemalloc.start()
        for y in range(20):
            assert (scene.read_rectangle((0, 2048 * y, 64, 2048 * y + 64))[0] == y).all()
        kept_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept_bytes < 1.1 * KEPT_BYTES


def test_a_coarse_look_is_at_a_lower_zoom_that_covers_all(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made / "tiles", tmp_path / "tiles")
    for path in (folder / "17").rglob("*.png"):
        Image.new("RGBA", (256, 256), (9, 8, 7, 255)).save(path)
    with open_scene(folder) as scene:
        assert set(map(tuple, scene.read_reduced(300)[0].reshape(-1, 3))) == {(9, 8, 7)}
        assert scene.read_reduced(500)[0].std() > 9
    with open_scene(folder / "17") as scene:
        assert (scene.width_px, scene.height_px) == (512, 512)
        assert (scene.grid_gsd_m or 0) == pytest.approx(0.598, abs=0.001)
    path.unlink()
    with open_scene(folder) as scene:
        assert scene.read_reduced(300)[0].std() > 9, "a zoom with gaps is no overview"


def test_kinds_of_tiles_may_be_mixed_and_reading_is_in_parts(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(made / "tiles" / "18", tmp_path / "18")
    Image.new("L", (256, 256), 77).save(folder / str(X) / f"{Y}.jpg")
    (folder / str(X) / f"{Y}.png").unlink()
    Image.new("P", (256, 256), 0).save(folder / str(X + 2) / f"{Y + 1}.png")
    with open_scene(tmp_path / "18") as scene:
        whole, valid = scene.read_reduced(96)
        assert valid.all()
        assert (whole[:32, :32] == 77).all()
        monkeypatch.setattr("fsod.geo.tile_mosaic.MOST_PX", 50_000)
        np.testing.assert_allclose(scene.read_reduced(96)[0].astype(int), whole.astype(int), atol=1)
    with open_scene(tmp_path / "18", nodata=77) as scene:
        assert not scene.read_rectangle((0, 0, 768, 512))[1][:256, :256].any()


def test_names_of_tiles(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    for name, source in {"tiles": "tiles", "tiles/17": "tiles", "tiles/{z}/{x}/{-y}.png": "tiles",
                         "area.mbtiles/17": "area.mbtiles"}.items():  # fmt: skip
        assert short_name(name) == source
        assert kept_name(name) == str(made / name)
        assert not is_gone(kept_name(name))
        assert layer_paths([name], Path("found/{parent}-{scene}.gpkg"))[name].stem == f"{made.name}-{Path(source).stem}"
    assert is_gone(str(made / "gone" / "{z}" / "{x}" / "{y}.png"))


def refused(name: Path | str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_scene(name)
    assert "\n" not in str(caught.value)


def test_what_is_no_map_is_one_line(made: Path, tmp_path: Path) -> None:
    refused(
        "https://example.org/{z}/{x}/{y}.png", "tiles are read from a folder or an MBTiles file, never from a server"
    )
    refused(made / "tiles" / "16" / "{x}" / "{y}.png", "holds no tiles of zoom 16; it has 17, 18")
    refused(made / "area.mbtiles" / "25", r"area.mbtiles/25: cannot be opened as a raster")
    refused(tmp_path / "{z}" / "{x}" / "{y}.png", r"holds no tiles Z/X/Y.png")
    refused(tmp_path / "gone" / "{z}" / "{x}" / "{y}.png", r"gone: cannot be read as a folder of tiles")
    column = tmp_path / "t" / "3" / "2"
    column.mkdir(parents=True)
    (column / "1.png").write_bytes(b"no picture")
    refused(tmp_path / "t", r"1.png: cannot be read as a tile")
    Image.new("RGB", (256, 128)).save(column / "1.png")
    refused(tmp_path / "t", r"1.png: a tile of 256 x 128 px; tiles are squares")
    Image.new("RGB", (256, 256)).save(column / "1.png")
    Image.new("RGB", (512, 512)).save(column / "2.png")
    with (
        open_scene(tmp_path / "t") as scene,
        pytest.raises(UserError, match=r"2.png: has 512 x 512 px of kind RGB; the first"),
    ):
        scene.read_rectangle((0, 0, 256, 512))
    (column / "8.png").touch()
    refused(tmp_path / "t", r"8.png: zoom 3 has columns and rows 0 to 7 only")
    (tmp_path / "t" / "tilemapresource.xml").write_text('<TileMap><TileSets profile="geodetic"></TileSets></TileMap>')
    refused(tmp_path / "t", "its tiles have the profile 'geodetic'; fsod reads those of web maps")
