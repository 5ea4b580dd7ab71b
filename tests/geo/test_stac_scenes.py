"""STAC files as lists of scenes: what they name on this machine, and what they may not make fsod do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fsod.errors import UserError
from fsod.geo.scene_list import list_scenes
from fsod.geo.stac_scenes import stac_scenes

TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(**assets: Any) -> dict[str, Any]:
    """Of assets that are given as an href, or an href and roles."""
    made = {}
    for key, asset in assets.items():
        href, *roles = asset if isinstance(asset, tuple) else (asset,)
        made[key] = {"href": href, "type": TIFF, "roles": roles} if roles else {"href": href}
    return {"type": "Feature", "stac_version": "1.1.0", "id": "a", "links": [], "assets": made}


def save(path: Path, content: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def test_items_collections_and_item_collections(tmp_path: Path) -> None:
    one = save(tmp_path / "one" / "item.json", item(visual="./a%20b.tif", thumb=("a.png", "thumbnail")))
    (tmp_path / "one" / "a b.tif").touch()
    assert list_scenes([one]) == [str(tmp_path / "one" / "a b.tif")]
    (tmp_path / "one" / "a%20b.tif").touch()
    assert list_scenes([one]) == [str(tmp_path / "one" / "a%20b.tif")], "as it stands, where that is there"
    two = item(data=("https://example.org/b.tif?key=1", "data"), local=("file:///x/c.tif", "overview"))
    several = save(
        tmp_path / "found.geojson", {"type": "FeatureCollection", "features": [two, item(a="/x/d.tif"), two]}
    )
    assert list_scenes([several, "e.tif"]) == ["https://example.org/b.tif?key=1", "/x/d.tif", "e.tif"]
    links = [{"rel": rel, "href": href} for rel, href in
             (("self", "https://example.org/c.json"), ("root", "../gone.json"), ("item", "one/item.json"),
              ("child", "./collection.json"), ("item", "found.geojson"))]  # fmt: skip
    whole = save(tmp_path / "collection.json", {"type": "Collection", "stac_version": "1.1.0", "links": links})
    assert list_scenes([whole]) == [str(tmp_path / "one" / "a%20b.tif"), "https://example.org/b.tif?key=1", "/x/d.tif"]
    assert [(s.item, s.asset) for s in stac_scenes(Path(one))] == [(one, "visual")]
    assert {s.item for s in stac_scenes(Path(several))} == {""}, "an item within a file has no place of its own"


def test_which_asset_is_the_scene(tmp_path: Path) -> None:
    bands = {f"B{i}": (f"b{i}.tif", "data") for i in range(3)}
    path = save(tmp_path / "a.json", item(**bands, meta="m.xml"))
    with pytest.raises(UserError, match=r"item 'a' has 3 rasters; name one .* --asset: B0 \(data\), B1 \(data\), B2"):
        list_scenes([path])
    assert [Path(s).name for s in list_scenes([path], "B1")] == ["b1.tif"]
    assert [Path(s).name for s in list_scenes([path], "data")] == ["b0.tif", "b1.tif", "b2.tif"]
    with pytest.raises(UserError, match=r"no asset of name or role 'red'; it has B0"):
        list_scenes([path], "red")
    path = save(tmp_path / "a.json", item(**bands, tci=("t.tif", "visual")))
    assert [Path(s).name for s in list_scenes([path])] == ["t.tif"]
    path = save(tmp_path / "a.json", item(image=("t.tif", "data"), small=("s.tif", "overview"), mask="m.tif"))
    assert [Path(s).name for s in list_scenes([path])] == ["t.tif"]
    with pytest.raises(UserError, match="--asset data: needs a STAC file among the scenes, and there is none"):
        list_scenes(["a.tif"], "data")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (item(a="/vsicurl/http://127.0.0.1/a.tif"), "names '/vsicurl/http"),
        (item(a="WMS:http://127.0.0.1/a.tif"), "a scene is a path, or a URL that begins with https://, http://, s3://"),
        (item(a="<VRTDataset>.tif"), "names '<VRTDataset>.tif'"),
        (item(a="ftp://127.0.0.1/a.tif"), "names 'ftp"),
        (item(a="file://[/a.tif"), "without a usable href"),
        (item(a="\ud800.tif"), "without a usable href"),
        (item(a="%00.tif"), "without a usable href"),
        (item(a={"b": 1}), "no raster among its assets"),
        (
            {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None}]},
            "a feature that is not a STAC",
        ),
        ({"type": "FeatureCollection", "features": []}, "lists no item, so there is no scene to search"),
        ({"type": "Feature"}, "no stac_version, or no assets"),
        ({"type": "Collection"}, "is not a STAC item, collection or item collection"),
        ([1], "is not a STAC item, collection or item collection"),
        (
            {"type": "Collection", "stac_version": "1", "links": [{"rel": "item", "href": "http://127.0.0.1/i.json"}]},
            "STAC files are not fetched from servers; download it",
        ),
        ({"type": "Catalog", "stac_version": "1", "links": [{"rel": "child"}]}, "without a usable href"),
        (
            {"type": "Catalog", "stac_version": "1", "links": [{"rel": "child", "href": "no.json"}]},
            "no.json: cannot be read",
        ),
    ],
)
def test_what_names_no_scene_is_one_line_and_fetches_nothing(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        list_scenes([save(tmp_path / "a.json", content)])
    assert "\n" not in str(caught.value)
