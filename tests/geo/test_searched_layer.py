"""The layer of what was searched lies where the scene does, in every frame that a scene may have."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.features import read_frame
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.searched_area import BLANK, SEARCHED, SearchedArea
from fsod.geo.searched_layer import SearchedLayer, searched_path, write_searched
from fsod.report.found_layer import read_found

SIZE_PX = (100, 80)
HOLE = shapely.box(20, 20, 60, 60)
AREA = SearchedArea({SEARCHED: shapely.box(0, 0, *SIZE_PX).difference(HOLE), BLANK: HOLE}, SIZE_PX)
RUN = {"weights": "a", "bank": "b", "gsd_m": None}
UTM = Georeference(pyproj.CRS("EPSG:32633"), Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), (0.5, 0.5))
DATE_LINE = Georeference(pyproj.CRS("EPSG:4326"), Affine(0.1, 0, 176, 0, -0.1, 5), (11e3, 11e3))
POLE = Georeference(pyproj.CRS("EPSG:3413"), Affine(5e3, 0, -2e5, 0, -5e3, 2e5), (5e3, 5e3))
PICTURE = Georeference(None, Affine.identity(), None)


def write(path: Path, place: Georeference) -> geopandas.GeoDataFrame:
    """Both layers of a scene, and the second one read back."""
    found = Detections(np.array([[1.0, 2, 9, 9]]), np.array([0.5], np.float32), np.array([0]))
    write_layer(path, Layer(found, ["ship"], place, "s.tif", SIZE_PX, RUN))
    write_searched(path, SearchedLayer(AREA, place, "s.tif", RUN))
    return geopandas.read_file(searched_path(path), **({"layer": "searched"} if path.suffix == ".gpkg" else {}))


def test_a_geopackage_has_both_and_readers_of_one_need_not_choose(tmp_path: Path) -> None:
    path = tmp_path / "f.gpkg"
    for _ in range(2):
        parts = write(path, UTM)
    assert pyogrio.list_layers(path).tolist() == [
        ["detections", "Polygon"],
        ["searched", "MultiPolygon"],
        ["layer_styles", None],
    ]
    assert parts["status"].tolist() == ["searched", "blank"]
    assert parts["area_km2"].to_numpy() == pytest.approx(parts.area.to_numpy() / 1e6, rel=1e-3)
    assert parts["share"].tolist() == [0.8, 0.2]
    assert parts.total_bounds.tolist() == [500_000, 4_999_960, 500_050, 5_000_000]
    assert len(read_frame(path, None)) == len(read_found(path).scores) == 1
    assert read_frame(path, "searched")["status"].tolist() == ["searched", "blank"]


@pytest.mark.parametrize("place", [UTM, DATE_LINE, POLE])
def test_geojson_is_longitude_and_latitude_whatever_lies_in_the_scene(tmp_path: Path, place: Georeference) -> None:
    parts = write(tmp_path / "f.csv", place)
    assert parts.crs.equals(pyproj.CRS("OGC:CRS84"), ignore_axis_order=True)
    assert parts.is_valid.all()
    assert parts.total_bounds[0] >= -180
    assert parts.total_bounds[2] <= 180
    searched = parts.geometry.iloc[0]
    for column, row, is_in in ((10, 10, True), (99.9, 40, True), (40, 40, False), (19.9, 40, True), (20.1, 40, False)):
        point = shapely.Point(*place.to_lonlat(np.array([[column, row]]))[0])
        turned = shapely.Point((point.x + 180) % 360 - 180, point.y)
        assert searched.covers(turned) == is_in, (column, row)
    content = json.loads((tmp_path / "f.searched.geojson").read_text())
    assert content["run"]["bank"] == "b"


def test_a_picture_has_pixels_and_no_area(tmp_path: Path) -> None:
    parts = write(tmp_path / "f.geojson", PICTURE)
    assert parts["area_km2"].isna().all()
    assert parts.total_bounds.tolist() == [0, -80, 100, 0]
    assert "pixels" in json.loads((tmp_path / "f.searched.geojson").read_text())["coordinate_frame"]
    assert SearchedLayer(AREA, PICTURE, "s.tif", RUN).said == "searched 80.0% of its pixels"


def test_what_is_said_has_digits_enough(tmp_path: Path) -> None:
    assert SearchedLayer(AREA, UTM, "s.tif", RUN).said == "searched 0.00160 of 0.00200 km2"
    large = Georeference(UTM.crs, Affine(110, 0, 500_000, 0, -110, 5_000_000), (110, 110))
    assert SearchedLayer(AREA, large, "s.tif", RUN).said == "searched 77.5 of 96.9 km2"
    little = SearchedArea({SEARCHED: shapely.box(0, 0, 3, 2), BLANK: shapely.box(3, 0, 100, 80)}, (100, 80))
    assert SearchedLayer(little, large, "s.tif", RUN).said == "searched 0.073 of 94.0 km2"
    larger = Georeference(UTM.crs, Affine(1100, 0, 500_000, 0, -1100, 5_000_000), (1100, 1100))
    assert SearchedLayer(little, larger, "s.tif", RUN).said == "searched 7.3 of 9403 km2"


def test_a_geopackage_that_cannot_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.gpkg"
    write(path, UTM)
    before = path.read_bytes()

    def fail(*arguments: object, **options: object) -> None:
        raise pyogrio.errors.DataSourceError("no space left on device")

    monkeypatch.setattr(pyogrio, "write_dataframe", fail)
    with pytest.raises(UserError, match=r"f.gpkg: cannot be written \(no space left on device\)"):
        write_searched(path, SearchedLayer(AREA, UTM, "s.tif", RUN))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["f.gpkg"]
