"""Names of map tiles as a scene: a folder ``Z/X/Y.png``, one zoom of it, a pattern as QGIS writes it, an MBTiles file.

::

    tiles                          the highest zoom that is there
    tiles/17                       this zoom
    tiles/17/{x}/{-y}.png          rows count upwards (TMS), whatever the folder says itself
    area.mbtiles, area.mbtiles/17  the same of an MBTiles file, which GDAL reads
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fsod.errors import UserError
from fsod.files import decoded

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
MERCATOR = ("mercator", "global-mercator", "spherical-mercator")
"""Profiles of gdal2tiles and of the TMS standard that are laid out as web maps are."""

MBTILES = ".mbtiles"

_PATTERN = re.compile(r"(?P<root>.*?)/?(?P<zoom>\{z\}|\d+)/\{x\}/\{(?P<minus>-?)y\}\.\w+")
_LOOKED_AT = 1000
"""Entries of a folder that are looked at to tell what it is."""


@dataclass(frozen=True)
class TileName:
    """Tiles in a folder.

    Attributes:
        root: the folder of the zooms.
        zoom: the one to read; the highest if None.
        upwards: whether rows count from the south, as in TMS.
    """

    root: Path
    zoom: int | None
    upwards: bool


def tiles_named(scene: str) -> TileName | None:
    """The tiles that a scene's name stands for; None where it is no folder or pattern of tiles.

    Raises:
        UserError: tiles on a server, or of another layout than that of web maps.
    """
    if (match := _PATTERN.fullmatch(scene)) is not None:
        root, zoom = Path(match["root"] or "."), match["zoom"]
        if "://" in scene:
            raise UserError(f"{scene}: tiles are read from a folder or an MBTiles file, never from a server")
        upwards = _profile(root) if not match["minus"] else True
        return TileName(root, int(zoom) if zoom.isdigit() else None, upwards)
    path = Path(scene)
    if not path.is_dir():
        return None
    depth = _depth(path)
    if depth == 2 and path.resolve().name.isdigit():
        root = path.resolve().parent
        return TileName(root, int(path.resolve().name), _profile(root))
    return TileName(path, None, _profile(path)) if depth == 3 else None


def tile_source(scene: str) -> Path | None:
    """The folder or file that a name stands for which says more than that: a pattern, a zoom. Nothing need be there."""
    if (match := _PATTERN.fullmatch(scene)) is not None:
        return Path(match["root"] or ".")
    path = Path(scene)
    if not path.name.isdigit():
        return None
    is_zoom = path.parent.suffix.lower() == MBTILES if not path.is_dir() else _depth(path) == 2
    return path.parent if is_zoom else None


def zoom_of_mbtiles(scene: str) -> int | None:
    """The zoom that is named of an MBTiles file, as in ``area.mbtiles/17``."""
    path = Path(scene)
    is_one = path.name.isdigit() and path.parent.suffix.lower() == MBTILES and path.parent.is_file()
    return int(path.name) if is_one else None


def _depth(folder: Path) -> int:
    """3 for a folder of zooms, 2 for that of one zoom, 0 for any other; by the first of each that is there."""
    try:
        for first in islice(folder.iterdir(), _LOOKED_AT):
            if not (first.name.isdigit() and first.is_dir()):
                continue
            for second in islice(first.iterdir(), _LOOKED_AT):
                if second.name.isdigit() and second.is_dir():
                    return 3
                if second.stem.isdigit() and second.suffix.lower() in PICTURES:
                    return 2
    except OSError:
        return 0
    return 0


def _profile(root: Path) -> bool:
    """Whether rows count upwards, by what programs that make tiles leave beside them.

    gdal2tiles writes tilemapresource.xml for tiles of TMS; mbutil says ``scheme`` in metadata.json. Else the rows of web maps.

    Raises:
        UserError: tiles in longitude and latitude, or of a picture.
    """
    resource = root / "tilemapresource.xml"
    if resource.is_file():
        found = re.search(
            r'<TileSets\b[^>]*\bprofile\s*=\s*"([^"]*)"', decoded(resource.read_bytes()[:65536], "replace")
        )
        if found is not None and found[1] not in MERCATOR:
            raise UserError(
                f"{resource}: its tiles have the profile {found[1][:40]!r}; fsod reads those of web maps (gdal2tiles "
                "--profile=mercator)"
            )
        return True
    try:
        said = json.loads((root / "metadata.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("scheme") == "tms"
