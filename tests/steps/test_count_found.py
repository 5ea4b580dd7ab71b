"""Counts by district: each object once, areas on the ellipsoid, and never a number without its interval."""

from __future__ import annotations

from pathlib import Path

import geopandas
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine

from fsod.errors import UserError
from fsod.evidence import Evidence, Trials
from fsod.geo.georeference import Georeference
from fsod.steps.count_found import count_files
from fsod.true_count import true_count
from tests.command import fsod
from tests.found_layers import SHIP, UTM, write_found

PLACES = [(100, 100), (400, 100), (500, 700), (900, 900)]


def districts(path: Path, boxes: dict[str, tuple[float, ...]], crs: str = "EPSG:4326") -> Path:
    """Boxes in metres from the scene's top left corner, south counted down."""
    shapes = [shapely.box(500_000 + a, 5_000_000 - d, 500_000 + c, 5_000_000 - b) for a, b, c, d in boxes.values()]
    table = {"name": list(boxes)}
    geopandas.GeoDataFrame(table, geometry=shapes, crs="EPSG:32633").to_crs(crs).to_file(path)
    return path


def test_counts_shares_and_intervals_of_districts_in_another_crs(tmp_path: Path) -> None:
    left = shapely.box(0, 0, 1000, 2000)
    found = write_found(tmp_path / "f.gpkg", PLACES, searched_px=left)
    by = districts(
        tmp_path / "d.geojson", {"west": (0, 0, 500, 1000), "east": (500, 0, 1000, 1000), "far": (2000, 0, 2100, 50)}
    )
    told = count_files(found, tmp_path / "c.gpkg", by, None)
    west, _, far = told["rows"]
    # one lies on the border, and counts in the first
    assert [row["count"] for row in told["rows"]] == [3, 1, 0]
    assert [row["searched_share"] for row in told["rows"]] == pytest.approx([1, 0, 0], abs=2e-3)
    scale = 0.9996**2  # of UTM at its central meridian
    assert west["area_km2"] == pytest.approx(0.5 / scale, rel=1e-5)
    assert (west["low"], west["high"]) == true_count(3, Trials(9, 12), Trials(8, 10))
    assert west["low"] <= 3 < west["high"]
    assert (west["recall_hits"], west["recall_trials"], west["precision_trials"]) == (9, 12, 10)
    assert (far["low"], far["high"]) == (None, None)
    assert told["searched_km2"] == pytest.approx(0.5 / scale, rel=1e-5)
    layer = geopandas.read_file(tmp_path / "c.gpkg", layer="count")
    assert layer["district"].tolist() == ["west", "east", "far"]
    assert layer["ship"].tolist() == [3, 1, 0]
    assert layer["coverage"].tolist()[::2] == ["searched", "not searched"]
    assert layer["said"][0] == f"3 ship ({west['low']} to {west['high']})"
    assert "coverage" in (tmp_path / "c.qml").read_text()
    assert pd.read_csv(tmp_path / "c.csv")["count"].tolist() == [3, 1, 0]
    assert "9 of 12 trials (42 to 95 %)" in told["evidence"][0]
    count_files(found, tmp_path / "c.gpkg", by, None)
    assert pyogrio.list_layers(tmp_path / "c.gpkg")[:, 0].tolist() == ["count"]


def test_a_grid_is_round_and_covers_what_was_searched(tmp_path: Path) -> None:
    told = count_files(write_found(tmp_path / "f.geojson", PLACES), tmp_path / "c.geojson", None, 500)
    layer = geopandas.read_file(tmp_path / "c.geojson")
    assert sum(row["count"] for row in told["rows"]) == 4
    assert len(layer) == 4, "squares begin at multiples of 500 m"
    assert layer["searched_share"].tolist() == pytest.approx([1] * 4, abs=1e-3)
    with pytest.raises(UserError, match=r"--grid-m 0.5: gives 4000000 squares, more than 250000"):
        count_files(tmp_path / "f.geojson", tmp_path / "c.geojson", None, 0.5)


def test_intervals_of_squares_that_hold_as_many_are_taken_once(tmp_path: Path) -> None:
    """They are 2,000 draws each, and a grid may have 250,000 squares, most of them empty."""
    true_count.cache_clear()
    told = count_files(write_found(tmp_path / "f.gpkg", PLACES), tmp_path / "c.gpkg", None, 50)
    assert told["districts"] == 400
    assert true_count.cache_info().misses == len({row["count"] for row in told["rows"]}) == 2


def test_what_is_judged_wrong_does_not_count_and_overlaps_are_said_once(tmp_path: Path) -> None:
    found = write_found(tmp_path / "f.gpkg", PLACES)
    rows = geopandas.read_file(found, layer="detections")
    rows.loc[:, "verdict"] = [" N ", "true", "no?", ""]  # the third is no verdict
    rows.to_file(found, layer="detections")
    by = districts(tmp_path / "d.gpkg", {"a": (0, 0, 600, 1000), "b": (300, 0, 900, 800), "c": (0, 0, 100, 100)})
    told = count_files(found, tmp_path / "c.parquet", by, None)
    assert [row["count"] for row in told["rows"]] == [2, 2, 0]
    assert told["judged_wrong"] == 1
    assert told["warnings"] == [
        f"{found}: verdicts that are neither yes nor no count as not judged (1, such as 'no?')",
        f"{by}: districts overlap (a and b), so an object may count in two",
        "1 of 3 objects lie in no district",
    ]


def test_what_was_drawn_without_a_class_is_named_and_no_class_of_its_own(tmp_path: Path) -> None:
    found = write_found(tmp_path / "f.gpkg", PLACES)
    rows = geopandas.read_file(found, layer="detections")
    rows["class"], rows["verdict"] = [None, " ", "ship", "ship"], ["", "", "no", "yes"]
    rows.to_file(found, layer="detections")
    with pytest.raises(UserError, match="feature 1, 2: no class in its attribute class"):
        count_files(found, tmp_path / "c.gpkg", None, 500)
    rows["verdict"] = ["no", "no", "", ""]
    rows.to_file(found, layer="detections")
    assert count_files(found, tmp_path / "c.gpkg", None, 500)["found"] == {"ship": 2}


def test_where_nothing_was_judged_any_may_be_wrong(tmp_path: Path) -> None:
    """But for those that have the verdict yes themselves; those that have none may all be right."""
    found = write_found(tmp_path / "f.gpkg", PLACES, known={"ship": Evidence(12, (0.9,) * 9 + (0.0,) * 3)})
    by = districts(tmp_path / "d.gpkg", {"a": (0, 0, 1000, 1000)})
    (row,) = count_files(found, tmp_path / "c.gpkg", by, None)["rows"]
    assert (row["low"], row["high"]) == true_count(4, Trials(9, 12), None)
    assert row["low"] == 0
    rows = geopandas.read_file(found, layer="detections")
    rows.loc[:, "verdict"] = ["yes", "", "no", "Y"]
    rows.to_file(found, layer="detections")
    told = count_files(found, tmp_path / "c.gpkg", by, None)
    assert (told["rows"][0]["count"], told["rows"][0]["low"]) == (3, 2)
    assert told["evidence"][0].endswith(
        "none was judged, so the least counts what has the verdict yes, and the most takes all for right"
    )


def test_a_layer_of_another_program_is_counted_without_what_nobody_knows(tmp_path: Path) -> None:
    shape = shapely.box(500_010, 4_999_900, 500_020, 4_999_910)
    other = tmp_path / "other.gpkg"
    geopandas.GeoDataFrame({"class": ["car"]}, geometry=[shape], crs="EPSG:32633").to_file(other)
    by = districts(tmp_path / "d.geojson", {"a": (0, 0, 600, 1000)})
    told = count_files(other, tmp_path / "c.fgb", by, None)
    assert (told["rows"][0]["count"], told["rows"][0]["low"], told["rows"][0]["searched_share"]) == (1, None, None)
    assert "does not say what was searched" in told["warnings"][0]
    assert geopandas.read_file(tmp_path / "c.fgb")["coverage"].tolist() == ["unknown"]


def test_nothing_found_says_how_many_there_may_be(tmp_path: Path) -> None:
    known = {"ship": SHIP, "car": Evidence(2)}
    found = write_found(tmp_path / "f.gpkg", [], known=known)
    told = count_files(found, tmp_path / "c.gpkg", None, 1000)
    ship, car = told["rows"][:2]
    assert (ship["count"], ship["low"], ship["class"]) == (0, 0, "ship")
    assert 0 < ship["high"] < 40
    assert (car["count"], car["low"], car["high"], car["recall_trials"]) == (0, None, None, None)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
def test_layers_in_which_nothing_was_found_count_in_every_format(tmp_path: Path, suffix: str) -> None:
    found = write_found(tmp_path / f"f{suffix}", [])
    told = count_files(found, tmp_path / "c.gpkg", districts(tmp_path / "d.geojson", {"a": (0, 0, 500, 500)}), None)
    assert [(row["class"], row["count"], row["searched_share"]) for row in told["rows"]] == [("ship", 0, 1.0)]


def test_columns_of_classes_never_share_a_name(tmp_path: Path) -> None:
    classes = ["ship", "Ship", "fid", "geometry", "said", "ship_low"]
    found = write_found(
        tmp_path / "f.gpkg", [(50 + 90 * i, 100) for i in range(6)], known=dict.fromkeys(classes, SHIP), classes=classes
    )
    by = districts(tmp_path / "d.geojson", {"a": (0, 0, 1000, 1000)})
    for suffix in (".gpkg", ".geojson", ".parquet"):
        out = tmp_path / f"c{suffix}"
        count_files(found, out, by, None)
        layer = geopandas.read_parquet(out) if suffix == ".parquet" else geopandas.read_file(out)
        names = ["ship", "Ship_count", "fid_count", "geometry_count", "said_count", "ship_low_count"]
        assert layer[names].iloc[0].tolist() == [1] * 6
        assert len({name.lower() for name in layer.columns}) == len(layer.columns)


def test_districts_that_are_named_by_a_number_keep_it_where_one_has_none(tmp_path: Path) -> None:
    found = write_found(tmp_path / "f.gpkg", PLACES)
    by = districts(tmp_path / "d.gpkg", {"a": (0, 0, 600, 1000), "b": (600, 0, 900, 1000)})
    geopandas.read_file(by).assign(name=[5162004, None]).to_file(by)
    told = count_files(found, tmp_path / "c.gpkg", by, None)
    assert [row["district"] for row in told["rows"]] == ["5162004", "2"]


def test_districts_beyond_180_degrees_hold_what_lies_there(tmp_path: Path) -> None:
    at_180 = Georeference(pyproj.CRS("EPSG:4326"), Affine(1e-5, 0, 179.99, 0, -1e-5, 10), (1.1, 1.1))
    found = write_found(tmp_path / "f.geojson", [(100, 100), (700, 100)], place=at_180)  # at 179.992 and -179.996
    by = tmp_path / "d.geojson"
    shapes = [shapely.box(179, 9, 180, 11), shapely.box(180, 9, 181, 11)]
    geopandas.GeoDataFrame({"name": ["west", "east"]}, geometry=shapes, crs=4326).to_file(by, RFC7946="NO")
    told = count_files(found, tmp_path / "c.gpkg", by, None)
    assert [row["count"] for row in told["rows"]] == [1, 1]


def test_a_run_that_is_killed_between_its_layers_leaves_no_share_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = write_found(tmp_path / "f.gpkg", PLACES)
    monkeypatch.setattr("tests.found_layers.write_searched", lambda *_: None)
    write_found(found, PLACES[:1])
    told = count_files(found, tmp_path / "c.gpkg", districts(tmp_path / "d.geojson", {"a": (0, 0, 500, 500)}), None)
    assert told["rows"][0]["count"] == 1
    assert "does not say what was searched" in told["warnings"][0]


def test_bad_input_is_one_line_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write_found(tmp_path / "f.gpkg", PLACES)
    plain = write_found(tmp_path / "plain.geojson", PLACES, place=Georeference(None, UTM.transform, None))
    empty = tmp_path / "empty.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    no_class = districts(tmp_path / "no_class.gpkg", {"a": (0, 0, 600, 1000)})
    of_pixels = tmp_path / "pixels.geojson"
    geopandas.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(0, 0, 900, 430)]).to_file(of_pixels)
    several = tmp_path / "several.gpkg"
    for name in ("east", "west"):
        geopandas.read_file(no_class).to_file(several, layer=name)
    out = tmp_path / "c.gpkg"
    for arguments, why in (
        ((found, "--by", empty), "holds no features"),
        ((found, "--by", several), "several.gpkg: has several layers; name one of east, west (--by-layer)"),
        ((plain, "--by", no_class), "has no coordinate system"),
        ((no_class, "--grid-m", 100), "no attribute 'class'"),
        ((found,), "give either --by FILE with districts, or --grid-m METRES"),
        ((found, "--by", of_pixels), "longitudes of 0 to 900 degrees are nowhere on the globe"),
        ((found, "--by", no_class, "--name", "nam"), "no attribute 'nam' (did you mean 'name'?)"),
        ((found, "--by", no_class, "--out", found), "would be overwritten, but this command reads it"),
    ):
        assert fsod("count", "--out", out, *arguments) == 2
        said = capsys.readouterr().err.strip()
        assert why in said
        assert len(said.splitlines()) == 1
        assert not out.exists()
    assert fsod("count", found, "--by", no_class, "--out", out, "--json", tmp_path / "c.json") == 0
    assert "district  class  count  low  high" in capsys.readouterr().out
