"""The scenes that a STAC file names: an item, an item collection, a collection or a catalogue.

Of each item one raster is taken, or what the user names. Links between files are followed on this machine only. The address of an
asset is a scene's name like one in a list: naming the file asks for it. Nothing else that the file says is fetched, and no name of
GDAL's own that might fetch something is taken for a file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fsod.errors import UserError, escaped, one_line

REMOTE = ("https", "http", "s3", "gs", "az")
"""Schemes of assets that are read from where they are."""

SUFFIXES = (".json", ".geojson")
RASTERS = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".vrt", ".img")
_SMALL = {"thumbnail", "overview", "metadata"}
"""Roles of assets that are no scenes unless they are asked for."""

_PREFERRED = ("visual", "data")
"""Names or roles, the first of which that one raster alone has is the scene."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_NAMED = 8
DEEPEST = 20
"""Catalogues within catalogues."""

_LONGEST_HREF = 2000

Json = dict[str, Any]


@dataclass(frozen=True)
class StacScene:
    """An asset that is a scene.

    Attributes:
        scene: its path or URL.
        item: what to name its item by: where it says that it lies, else its own file; empty where it has none.
        asset: its key in the item.
    """

    scene: str
    item: str
    asset: str


def stac_scenes(path: Path, asset: str | None = None) -> list[StacScene]:
    """The scenes of a STAC file, in its order.

    Args:
        path: the file.
        asset: key of the assets to take, else their role; the one raster of each item, or the one that is ``visual`` or
            ``data``, if None.

    Raises:
        UserError: not such a file, an item without such an asset or with several, links to other servers.
    """
    found = [one for item, file, own in _items(path, set()) for one in _chosen(item, file, own, asset)]
    if not found:
        raise UserError(f"{path}: lists no item, so there is no scene to search")
    return found


def _items(path: Path, seen: set[Path], depth: int = 0) -> Iterator[tuple[Json, Path, bool]]:
    """Each item with the file that it stands in, and whether it has that file for itself."""
    if path.resolve() in seen:
        return
    if depth > DEEPEST:
        raise UserError(f"{path}: catalogues are nested more than {DEEPEST} deep")
    seen.add(path.resolve())
    content = _read(path)
    kind = content.get("type")
    if kind == "Feature":
        yield _checked(content, path), path, True
    elif kind == "FeatureCollection":
        features = content.get("features")
        for feature in features if isinstance(features, list) else []:
            yield _checked(feature, path), path, False
    elif kind in ("Collection", "Catalog") and "stac_version" in content:
        links = content.get("links")
        for link in links if isinstance(links, list) else []:
            if isinstance(link, dict) and link.get("rel") in ("item", "child"):
                yield from _items(_linked(link.get("href"), path), seen, depth + 1)
    else:
        raise UserError(f"{path}: is not a STAC item, collection or item collection")


def _read(path: Path) -> Json:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a STAC file ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a STAC item, collection or item collection")
    return content


def _checked(item: object, path: Path) -> Json:
    if not isinstance(item, dict) or "stac_version" not in item or not isinstance(item.get("assets"), dict):
        raise UserError(f"{path}: has a feature that is not a STAC item (no stac_version, or no assets)")
    return item


def _linked(href: object, path: Path) -> Path:
    """The file of a link; UserError where it lies on a server."""
    scene = _place(href, path)
    if "://" in scene:
        raise UserError(
            f"{path}: links to {scene}, and STAC files are not fetched from servers; download it beside the file"
        )
    return Path(scene)


def _place(href: object, file: Path) -> str:
    """A path or a URL of what a file names, relative names resolved against the file."""
    try:
        if isinstance(href, str) and href and len(href) <= _LONGEST_HREF and b"\0" not in os.fsencode(unquote(href)):
            return _resolved(href, file)
    except (ValueError, OSError):  # names that no disk and no server can have
        pass
    raise UserError(f"{file}: has a link or an asset without a usable href")


def _resolved(href: str, file: Path) -> str:
    scheme = match[1].lower() if (match := _SCHEME.match(href)) else ""
    if scheme in REMOTE and "://" in href:
        return href
    if scheme == "file":
        href = unquote(urlsplit(href).path)
    elif scheme or href.startswith(("/vsi", "<", "{")):
        known = ", ".join(f"{one}://" for one in REMOTE)
        raise UserError(f"{file}: names {escaped(href[:80])!r}; a scene is a path, or a URL that begins with {known}")
    place = file.absolute().parent / href
    decoded = file.absolute().parent / unquote(href)
    return str(decoded if decoded.exists() and not place.exists() else place)


def _chosen(item: Json, file: Path, own_file: bool, asked: str | None) -> list[StacScene]:
    assets: Mapping[str, Json] = {str(key): asset for key, asset in item["assets"].items() if isinstance(asset, dict)}
    where = f"{file}: item {escaped(str(item.get('id'))[:60])!r}"
    keys = [key for key in assets if key == asked] or [key for key in assets if asked in _roles(assets[key])]
    if asked is None:
        keys = [key for key in assets if _is_raster(assets[key]) and not _SMALL & _roles(assets[key])]
        for wanted in _PREFERRED if len(keys) > 1 else ():
            named = [key for key in keys if key == wanted] or [key for key in keys if wanted in _roles(assets[key])]
            if len(named) == 1:
                keys = named
                break
    there = ", ".join(_shown(key, assets[key]) for key in list(assets)[:_NAMED]) or "none"
    there += ", ..." if len(assets) > _NAMED else ""
    if not keys:
        what = "no raster among its assets" if asked is None else f"no asset of name or role {asked!r}"
        raise UserError(f"{where} has {what}; it has {there} (--asset)")
    if asked is None and len(keys) > 1:
        raise UserError(f"{where} has {len(keys)} rasters; name one by its name or role with --asset: {there}")
    name = _own_place(item) or (str(file.absolute()) if own_file else "")
    return [StacScene(_place(assets[key].get("href"), file), name, key) for key in keys]


def _roles(asset: Json) -> set[str]:
    roles = asset.get("roles")
    return {role for role in roles if isinstance(role, str)} if isinstance(roles, list) else set()


def _shown(key: str, asset: Json) -> str:
    roles = sorted(_roles(asset))
    return escaped(f"{key[:60]} ({', '.join(roles)[:60]})" if roles else key[:60])


def _is_raster(asset: Json) -> bool:
    kind, href = str(asset.get("type") or "").lower(), str(asset.get("href") or "").lower()
    ends = href.partition("?")[0] if "://" in href else href
    return kind.startswith(("image/tiff", "image/jp2", "image/vnd.stac.geotiff")) or ends.endswith(RASTERS)


def _own_place(item: Json) -> str:
    """Where an item says that it lies, if it says so in full."""
    links = item.get("links")
    for link in links if isinstance(links, list) else []:
        if (
            isinstance(link, dict)
            and link.get("rel") == "self"
            and str(link.get("href")).startswith(("https://", "http://"))
        ):
            return str(link["href"])
    return ""
