"""Two dates: what appeared, what is gone, what stays, and what nobody can tell."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine

from fsod.errors import UserError
from fsod.geo.georeference import Georeference
from fsod.geo.same_objects import same_objects
from fsod.steps.compare_found import compare_files
from tests.command import fsod
from tests.found_layers import SHIP, write_found


def test_what_became_of_each_object(tmp_path: Path) -> None:
    both = {"ship": SHIP, "car": SHIP}
    before = write_found(
        tmp_path / "a.gpkg",
        [(100, 100), (200, 200), (700, 100), (300, 300)],
        known=both,
        classes=["ship", "ship", "ship", "car"],
    )
    west = shapely.box(0, 0, 1000, 2000)
    after = write_found(tmp_path / "b.geojson", [(103, 100), (400, 400), (300, 300)], searched_px=west)
    told = compare_files(before, after, tmp_path / "c.gpkg", 4)
    assert told["changes"] == {
        "ship": {"appeared": 2, "gone": 1, "still there": 1, "not comparable": 1},
        "car": {"appeared": 0, "gone": 0, "still there": 0, "not comparable": 1},
    }
    assert told["warnings"] == [f"car: was not looked for in {after}, so it cannot be compared"]
    assert told["both_searched_km2"] == pytest.approx(0.5 / 0.9996**2, rel=1e-5)
    layer = geopandas.read_file(tmp_path / "c.gpkg", layer="compare").set_index("change")
    assert layer.loc["still there", "moved_m"] == pytest.approx(3, abs=0.02)
    assert layer.loc["gone", "seen"] == "before"
    assert "9 of 12 trials" in told["evidence"][0]
    assert (tmp_path / "c.csv").read_text().startswith("class,change,count\nship,appeared,2")
    tight = compare_files(before, after, tmp_path / "c.gpkg", 2)
    assert tight["changes"]["ship"]["still there"] == 0
    assert compare_files(before, after, tmp_path / "c.gpkg", None)["tolerance_m"] == pytest.approx(5, rel=1e-2)


def test_two_dates_of_unlike_detectors_are_compared_with_a_warning(tmp_path: Path) -> None:
    before = write_found(tmp_path / "a.gpkg", [(100, 100)])
    other = write_found(tmp_path / "b.gpkg", [], bank="c")
    (said,) = compare_files(before, other, tmp_path / "c.gpkg", 4)["warnings"]
    assert said.startswith(f"{before} and {other} were searched with different banks, so what appeared or is gone may")
    higher = write_found(tmp_path / "d.geojson", [], shown_from=0.5)
    (said,) = compare_files(before, higher, tmp_path / "c.gpkg", 4)["warnings"]
    assert "were shown from different scores (ship 0.3 and 0.5), so" in said
    assert compare_files(before, write_found(tmp_path / "e.gpkg", []), tmp_path / "c.gpkg", 4)["warnings"] == []


def test_what_is_gone_at_180_degrees_is_not_laid_around_the_globe(tmp_path: Path) -> None:
    fiji = Georeference(pyproj.CRS("EPSG:3832"), Affine(0.5, 0, 3_338_900, 0, -0.5, -1_900_000), None)
    x = float(pyproj.Transformer.from_crs(4326, 3832, always_xy=True).transform(180, -16)[0]) - 3_338_900
    before = write_found(tmp_path / "a.gpkg", [(x, 100)], place=fiji)
    after = write_found(tmp_path / "b.geojson", [], place=fiji)
    told = compare_files(before, after, tmp_path / "c.gpkg", None)
    assert told["changes"]["ship"]["gone"] == 1
    (shape,) = geopandas.read_file(tmp_path / "c.gpkg").geometry
    assert shape.area == pytest.approx(1e-4**2 * 0.8, rel=0.3)
    assert shape.bounds[0] == pytest.approx(-180)


def test_a_line_among_the_objects_has_no_outline(tmp_path: Path) -> None:
    before = write_found(tmp_path / "a.gpkg", [(100, 100)])
    rows = geopandas.read_file(before, layer="detections")
    rows.geometry = rows.geometry.boundary
    rows.to_file(before, layer="detections")
    told = compare_files(before, write_found(tmp_path / "b.gpkg", []), tmp_path / "c.gpkg", 4)
    assert told["changes"]["ship"]["gone"] == 1


@pytest.mark.parametrize("suffix", [".fgb", ".gpkg"])
def test_heights_of_one_date_alone_are_left_out(tmp_path: Path, suffix: str) -> None:
    before = write_found(tmp_path / "a.gpkg", [(100, 100), (300, 300)])
    after = write_found(tmp_path / "b.gpkg", [(100, 100)])
    rows = geopandas.read_file(after, layer="detections")
    rows.geometry = shapely.force_3d(np.asarray(rows.geometry), 12.0)
    rows.to_file(after, layer="detections")
    told = compare_files(before, after, tmp_path / f"c{suffix}", 4)
    assert [told["changes"]["ship"][what] for what in ("still there", "gone")] == [1, 1]
    assert not geopandas.read_file(tmp_path / f"c{suffix}").has_z.any()


def test_scores_that_were_saved_as_text_are_numbers_or_named(tmp_path: Path) -> None:
    before, after = (write_found(tmp_path / f"{name}.gpkg", [(100, 100)]) for name in "ab")
    rows = geopandas.read_file(after, layer="detections")
    for text, told in (("0.25", 0.25), (" ", np.nan), ("0,25", None)):
        rows["score"] = [text]
        rows.to_file(after, layer="detections")
        if told is None:
            with pytest.raises(UserError, match=r"b.gpkg: score '0,25' is no number"):
                compare_files(before, after, tmp_path / "c.gpkg", 4)
        else:
            compare_files(before, after, tmp_path / "c.gpkg", 4)
            (score,) = geopandas.read_file(tmp_path / "c.gpkg")["score_after"]
            assert score == pytest.approx(told, nan_ok=True)


def test_verdicts_in_another_language_are_said(tmp_path: Path) -> None:
    before, after = (write_found(tmp_path / f"{name}.gpkg", [(100, 100), (300, 300)]) for name in "ab")
    rows = geopandas.read_file(after, layer="detections")
    rows["verdict"] = ["nein", "ja"]
    rows.to_file(after, layer="detections")
    told = compare_files(before, after, tmp_path / "c.gpkg", 4)
    assert told["changes"]["ship"]["still there"] == 2
    (said,) = told["warnings"]
    assert said == f"{after}: verdicts that are neither yes nor no count as not judged (2, such as 'nein')"


def test_a_row_of_cars_is_paired_as_a_whole() -> None:
    before, after = (np.array([[x, 0.0] for x in xs]) for xs in ((0, 5, 10), (4, 9, 14)))
    # they moved by 1 m, not by 4
    first, second = same_objects(before, after, 4.5)
    assert dict(zip(first.tolist(), second.tolist(), strict=True)) == {1: 0, 2: 1}
    stay = same_objects(before, np.array([[5.0, 0], [10, 0], [15, 0]]), 5.5)
    assert [each.tolist() for each in stay] == [[1, 2], [0, 1]]
    # one that two could be goes to the one that has no other
    lone = same_objects(np.array([[0.0, 0], [3, 0]]), np.array([[1.0, 0], [-2, 0]]), 2.5)
    assert [each.tolist() for each in lone] == [[0, 1], [1, 0]]
    assert [len(each) for each in same_objects(before, np.zeros((0, 2)), 1)] == [0, 0]


def test_a_layer_of_several_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = write_found(tmp_path / "a.gpkg", [(100, 100)]), write_found(tmp_path / "b.geojson", [(100, 100)])
    rows = geopandas.read_file(before, layer="detections")
    searched = geopandas.read_file(before, layer="searched")
    before.unlink()
    for name in ("ships", "notes"):
        rows.to_file(before, layer=name)
    searched.to_file(before, layer="searched")
    out = tmp_path / "c.gpkg"
    assert fsod("compare", before, after, "--out", out) == 2
    assert "name one of ships, notes (--layer)" in capsys.readouterr().err
    assert fsod("compare", before, after, "--out", out, "--layer", "boats") == 2
    assert "--layer boats: no file has such a layer" in capsys.readouterr().err
    assert fsod("compare", before, after, "--out", out, "--layer", "ships") == 0
    assert geopandas.read_file(out)["change"].tolist() == ["still there"]


def test_the_table_that_is_printed_has_what_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write_found(tmp_path / "a.gpkg", [(100, 100)], searched_px=shapely.box(0, 0, 500, 500))
    after = write_found(tmp_path / "b.gpkg", [(900, 900)])
    assert fsod("compare", before, after, "--out", tmp_path / "c.gpkg") == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert table == [["class", "appeared", "gone", "still", "there", "not", "comparable"], ["ship", "0", "1", "0", "1"]]


def test_who_cannot_tell_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write_found(tmp_path / "a.geojson", [(100, 100)], searched_px=shapely.box(0, 0, 500, 500))
    east = write_found(tmp_path / "b.gpkg", [(900, 900)], searched_px=shapely.box(1000, 1000, 2000, 2000))
    bare = write_found(tmp_path / "bare.geojson", [(100, 100)])
    (tmp_path / "bare.searched.geojson").unlink()
    out = tmp_path / "c.gpkg"
    for arguments, why in (
        ((found, bare), "bare.geojson: does not say what was searched"),
        ((found, east), "so nothing can be compared"),
        ((found, tmp_path / "x.gpkg"), "no such vector file"),
        ((found, found), "a.geojson: is given for both dates, and a file says of one date"),
    ):
        assert fsod("compare", *arguments, "--out", out) == 2
        said = capsys.readouterr().err.strip()
        assert why in said
        assert len(said.splitlines()) == 1
        assert not out.exists()


@pytest.mark.parametrize("at_once", [1, 7])
def test_objects_that_are_paired_in_parts_are_paired_as_all_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        before, after = (rng.uniform(0, 30, (count, 2)) for count in rng.integers(0, 60, 2))
        whole = set(zip(*same_objects(before, after, 3.0), strict=True))
        with monkeypatch.context() as patched:
            patched.setattr("fsod.geo.same_objects.AT_ONCE", at_once)
            assert set(zip(*same_objects(before, after, 3.0), strict=True)) == whole


def test_a_hundred_thousand_objects_are_paired() -> None:
    before = np.random.default_rng(0).uniform(0, 7000, (100_000, 2))
    first, second = same_objects(before, before + 0.5, 4.5)
    assert (first == second).mean() > 0.9
