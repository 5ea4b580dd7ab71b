"""All local files that stand behind what a command is told to read, so that none of them is written over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from fsod.errors import UserError
from fsod.geo.raster_file import open_dataset
from fsod.geo.scene_list import list_scenes
from fsod.geo.tile_names import tile_source
from fsod.store.any_header import read_any_header
from fsod.store.checkpoint import CheckpointHeader
from fsod.store.class_bank import BankHeader, checkpoint_of

_SIDECARS = (".aux.xml", ".ovr", ".msk")
_PARTS = {
    ".shp": (".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix"),
    ".tab": (".dat", ".map", ".id", ".ind"),
    ".mif": (".mid",),
}
"""Formats of which a vector file is one of several."""
_WEIGHTS = ".safetensors"
_MOST_NESTED = 10


def files_behind(names: Iterable[str | Path | None]) -> Iterator[Path]:
    """Every file that the names stand for, see ``_behind_one``; those that are not there are left out."""
    for name in names:
        if name is not None and str(name):
            with suppress(OSError, ValueError):  # names that no disk can have
                yield from _behind_one(str(name))


def _behind_one(name: str) -> Iterator[Path]:
    """The file itself; of a list or pattern the scenes; of rasters their sources; of a bank its weights, of weights their scenes."""
    path = Path(name.removeprefix("@"))
    if path.exists():
        yield path
    scenes = [name]
    with suppress(UserError):  # is complained of when its turn comes
        scenes = list_scenes([name])
    for scene in scenes:
        yield from _of_raster(scene)
    for part in _PARTS.get(path.suffix.lower(), ()):
        yield from (other for other in (path.with_suffix(part), path.with_suffix(part.upper())) if other.is_file())
    if path.suffix == _WEIGHTS and path.is_file():
        yield from _of_weights(path)


def _of_raster(scene: str, depth: int = 0) -> Iterator[Path]:
    path = Path(scene)
    if not path.is_file():
        tiles = tile_source(scene)
        if tiles is not None and tiles.is_dir():
            yield tiles
        yield from _in_a_name(scene)
        return
    yield path
    yield from (path.with_name(path.name + end) for end in _SIDECARS)
    if depth < _MOST_NESTED and _is_virtual(path):
        sources: list[str] = []
        with suppress(UserError), open_dataset(scene) as dataset:
            sources = dataset.files
        for source in sources:
            if source != scene:
                yield from _of_raster(source, depth + 1)


def _is_virtual(path: Path) -> bool:
    """Whether a raster is XML that names others."""
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _in_a_name(name: str) -> Iterator[Path]:
    """Files within what GDAL takes for a raster's name: ``/vsizip/a.zip/b.tif``, ``NETCDF:"a.nc":red``."""
    for piece in (name, *re.split(r'["{}]|(?<=[A-Za-z0-9]):', name)):
        piece = re.sub(r"^(/?vsi[a-z]+/)+", "", piece.lstrip("/") if piece.startswith("/vsi") else piece)
        path = Path(piece)
        for part in (path, *path.parents):
            if part.is_file():
                yield part
                break


def _of_weights(path: Path) -> Iterator[Path]:
    with suppress(UserError, SafetensorError, LookupError, TypeError):
        header = read_any_header(path)
        if header.get("format") == BankHeader.FORMAT:
            yield checkpoint_of(path)
        elif header.get("format") == CheckpointHeader.FORMAT:
            yield from (Path(marks["scene"]) for marks in (header.get("learned_from") or {}).get("marks", []))
