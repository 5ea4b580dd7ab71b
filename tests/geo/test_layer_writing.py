"""What writing a layer leaves alone, and what it refuses before the work."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from fsod.errors import UserError
from fsod.geo.geopackage_file import check_takes_layer
from fsod.geo.layer_files import check_layer_path, write_layer
from tests.forked import Forked
from tests.little_room import files_up_to
from tests.placed_layer import ALL, BOXES, PIXELS, layer, place


@pytest.mark.parametrize("name", ["out.shp", "out", "out.geojsn", "out.png"])
def test_an_unknown_extension_is_one_line_that_names_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as error:
        check_layer_path(tmp_path / name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    assert all(suffix in str(error.value) for suffix in ALL)
    with pytest.raises(UserError, match=r"known: \.geojson"):
        write_layer(tmp_path / name, layer(PIXELS))
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_the_layer_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out.gpkg").mkdir()
    with pytest.raises(UserError, match=r"out.gpkg: is a folder"):
        check_layer_path(tmp_path / "out.gpkg")


def no_space(self: Path, content: object) -> int:
    with self.open("wb") as file:
        file.write(b"half")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    path = tmp_path / "out.gpkg"
    path.write_text("old")

    def no_rename(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, method, no_space if method == "write_bytes" else no_rename)
    with pytest.raises(UserError, match=r"out.gpkg: cannot be written \(No space left on device\)"):
        write_layer(path, layer(place("utm")))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.gpkg"]
    with pytest.raises(UserError, match="cannot be written"):
        write_layer(path / "below.geojson", layer(PIXELS))


def test_where_files_cannot_grow_every_format_is_an_error_and_no_file(tmp_path: Path) -> None:
    def write_in_little_room() -> list[str]:
        layers, said = layer(place("utm")), []
        for suffix in ALL:
            with files_up_to(300), pytest.raises(UserError) as caught:
                write_layer(tmp_path / f"out{suffix}", layers)
            said.append(str(caught.value))
        return said

    lines = Forked(write_in_little_room).answer()
    assert all(
        f"out{suffix}: cannot be written (File too large)" in line for suffix, line in zip(ALL, lines, strict=True)
    )
    assert not list(tmp_path.iterdir())


def test_a_geopackage_that_another_program_is_working_on_stays(tmp_path: Path) -> None:
    """Its last changes lie in a file beside it, which would be put into the one that takes its place."""
    path = tmp_path / "found.gpkg"
    geopandas.GeoDataFrame({"a": ["mine"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326).to_file(path, layer="roads")
    check_takes_layer(path)
    with closing(sqlite3.connect(path)) as elsewhere:
        elsewhere.execute("PRAGMA journal_mode=WAL")
        elsewhere.execute("UPDATE gpkg_contents SET description = 'new'")
        elsewhere.commit()
        with pytest.raises(UserError, match=r"found\.gpkg: is open in another program, such as QGIS; close it there"):
            check_takes_layer(path)
    check_takes_layer(path)
    with closing(sqlite3.connect(path)) as later:
        assert later.execute("SELECT description FROM gpkg_contents").fetchall() == [("new",)]


def add_rasters(path: Path, *names: str) -> Path:
    """Puts rasters into a GeoPackage."""
    shape = {"width": 64, "height": 64, "count": 3, "dtype": "uint8", "driver": "GPKG"}
    for name in names:
        about = {"crs": "EPSG:32633", "transform": Affine(1, 0, 5e5, 0, -1, 5e6), "RASTER_TABLE": name}
        with rasterio.open(path, "w", **shape, **about, APPEND_SUBDATASET="YES", TILE_FORMAT="PNG") as file:
            file.write(np.full((3, 64, 64), len(name), np.uint8))
    return path


@pytest.mark.parametrize("names", [("ortho",), ("ortho", "dem")])
def test_rasters_of_a_geopackage_stay(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = add_rasters(tmp_path / "found.gpkg", *names)
    for _ in range(2):
        check_takes_layer(path)
        write_layer(path, layer(place("utm")))
    assert len(geopandas.read_file(path, layer="detections")) == len(BOXES)
    with closing(sqlite3.connect(path)) as package:
        tables = package.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall()
    assert set(tables) == {*((name, "tiles") for name in names), ("detections", "features")}
    for name in names:
        with rasterio.open(f"GPKG:{path}:{name}") as file:
            assert (file.read()[:3, :64, :64] == len(name)).any()


def test_a_raster_of_the_layers_name_is_found_before_the_work(tmp_path: Path) -> None:
    path = add_rasters(tmp_path / "found.gpkg", "dem", "detections")
    before = path.read_bytes()
    for refuse in (check_takes_layer, lambda path: write_layer(path, layer(place("utm")))):
        with pytest.raises(UserError, match=r"found\.gpkg: holds a raster called 'detections'"):
            refuse(path)
    assert path.read_bytes() == before
