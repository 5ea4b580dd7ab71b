from __future__ import annotations

from pathlib import Path

import pytest

from fsod.errors import UserError
from fsod.geo.scene_list import layer_paths, list_scenes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.tif", "a.tif", "odd[1].tif", "deep/er/c.tif", "._a.tif", "notes.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_patterns_and_lists(folder: Path) -> None:
    assert list_scenes(["b.tif", "a.tif", "b.tif"]) == ["b.tif", "a.tif"]
    assert list_scenes(["?.tif"]) == ["a.tif", "b.tif"]
    assert list_scenes(["**/*.tif"]) == ["a.tif", "b.tif", "deep/er/c.tif", "odd[1].tif"]
    assert list_scenes([f"{folder}/?.tif"]) == [f"{folder}/a.tif", f"{folder}/b.tif"]
    assert list_scenes(["odd[1].tif"]) == ["odd[1].tif"]
    Path("list.txt").write_text("# of spring\n\n b.tif \ns3://bucket/x.tif?versionId=3\nodd[1].tif\n")
    expected = ["b.tif", "s3://bucket/x.tif?versionId=3", "odd[1].tif"]
    assert list_scenes(["list.txt"]) == list_scenes(["@list.txt"]) == expected


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_as_windows_editors_save_them(encoding: str) -> None:
    Path("list.txt").write_bytes("a.tif\r\n# größer\r\n".encode(encoding))
    assert list_scenes(["list.txt"]) == ["a.tif"]


def test_what_is_not_here_passes_as_it_stands() -> None:
    urls = ["/vsicurl/https://example.org/a*.tif", "s3://bucket/b.tif", "https://example.org/c.tif?x=[1]", "gone.tif"]
    assert list_scenes(urls) == urls


@pytest.mark.usefixtures("folder")
def test_names_of_nothing_are_refused() -> None:
    with pytest.raises(UserError, match=r"\*.jp2: no file matches"):
        list_scenes(["*.jp2"])
    with pytest.raises(UserError, match=r"gone.txt: cannot be read as a list"):
        list_scenes(["@gone.txt"])
    Path("empty.txt").write_text("# nothing\n")
    with pytest.raises(UserError, match=r"empty.txt: lists no scene"):
        list_scenes(["empty.txt"])


def test_where_layers_go(folder: Path) -> None:
    one, two = "x/a.tif", "s3://bucket/y/b.tif?versionId=3.1"
    assert layer_paths([one], Path("out.gpkg")) == {one: Path("out.gpkg")}
    assert layer_paths([one], Path("out")) == {one: Path("out/a.geojson")}
    assert layer_paths([one, two], Path("out")) == {one: Path("out/a.geojson"), two: Path("out/b.geojson")}
    (folder / "v1.0").mkdir()
    assert layer_paths([one], Path("v1.0")) == {one: Path("v1.0/a.geojson")}
    (folder / "q?x=1.tif").touch()
    assert layer_paths(["q?x=1.tif"], Path("out")) == {"q?x=1.tif": Path("out/q?x=1.geojson")}
    assert layer_paths([one, two], Path("{parent}_{scene}.fgb")) == {one: Path("x_a.fgb"), two: Path("y_b.fgb")}


def test_layers_that_would_be_lost_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"one file for 2 scenes; name a folder, or a pattern with \{scene\}"):
        layer_paths(["a.tif", "b.tif"], Path("out.gpkg"))
    with pytest.raises(UserError, match=r"out/a.geojson: of both x/a.tif and x/a.png; rename one of them"):
        layer_paths(["x/a.tif", "x/a.png"], Path("out"))
    with pytest.raises(UserError, match=r"out/a.geojson: of both x/a.tif and y/a.tif; .*\{parent\}"):
        layer_paths(["x/a.tif", "y/a.tif"], Path("out"))
    with pytest.raises(UserError, match=r"names no known format"):
        layer_paths(["a.tif"], Path("{scene}.shp"))


@pytest.mark.parametrize("scene", ["../{here}/a.tif", "x/../a.tif", "{folder}/x/../a.tif", "a.tif", "./a.tif"])
def test_the_name_of_the_parent_leads_out_of_no_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, scene: str
) -> None:
    monkeypatch.chdir(folder)
    scene = scene.format(here=folder.name, folder=folder)
    (layer,) = layer_paths([scene], Path("found/{parent}/{scene}.gpkg")).values()
    assert layer == Path("found") / folder.name / "a.gpkg"
    assert layer_paths([".."], Path("found/{scene}.gpkg"))[".."].parent == Path("found")
