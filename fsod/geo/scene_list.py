"""Which scenes a command names, and where the layer of each goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fsod.errors import UserError
from fsod.files import decoded
from fsod.geo.layer_files import check_layer_path
from fsod.geo.raster_in_memory import IN_MEMORY, is_in_memory
from fsod.geo.stac_scenes import SUFFIXES, StacScene, stac_scenes
from fsod.geo.tile_names import tile_source


def list_scenes(arguments: Sequence[str], asset: str | None = None) -> list[str]:
    """The scenes that arguments stand for, in order, each once.

    - ``FILE.json``, ``FILE.geojson``: the assets of a STAC file that ``asset`` names, see ``stac_scenes``.
    - ``@FILE`` or ``FILE.txt``: a scene a line; empty lines and those that begin with ``#`` are skipped.
    - A pattern with ``*``, ``?`` or ``[`` that is not itself the name of a file: all files that match, sorted; ``**``
      goes into folders.
    - Anything else is a scene, and taken as it stands. Nobody looks for it here, as it may be a URL (s3://, https://) or
      one of GDAL's own file systems (/vsicurl/, /vsizip/).

    Raises:
        UserError: a list that cannot be read or names nothing, a pattern that nothing matches; an asset without a STAC file.
    """
    if asset is not None and not any(map(is_stac, arguments)):
        raise UserError(f"--asset {asset}: needs a STAC file among the scenes, and there is none")
    scenes = [scene for argument in arguments for scene in _expand(argument, asset)]
    return list(dict.fromkeys(scenes))


def is_stac(argument: str) -> bool:
    """Whether an argument is to be read as a STAC file."""
    return argument.lower().endswith(SUFFIXES) and not _is_remote(argument) and not set("*?[") & set(argument)


def stac_sources(arguments: Sequence[str], asset: str | None = None) -> dict[str, StacScene]:
    """Scene -> where it comes from, of those that STAC files name."""
    return {one.scene: one for argument in filter(is_stac, arguments) for one in stac_scenes(Path(argument), asset)}


def _expand(argument: str, asset: str | None) -> list[str]:
    if is_stac(argument):
        return [one.scene for one in stac_scenes(Path(argument), asset)]
    if argument.startswith("@") or argument.lower().endswith(".txt"):
        return _read_list(Path(argument.removeprefix("@")))
    pattern = Path(argument)
    if _is_remote(argument) or not set("*?[") & set(argument) or pattern.exists():
        return [argument]
    found = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
    # hidden ones are what macOS leaves beside files on foreign disks, and no scenes
    scenes = sorted(str(path) for path in found if path.is_file() and not path.name.startswith("."))
    if not scenes:
        raise UserError(f"{argument}: no file matches this pattern")
    return scenes


def _read_list(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in decoded(path.read_bytes()).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of scenes ({error})") from error
    scenes = [line for line in lines if line and not line.startswith("#")]
    if not scenes:
        raise UserError(f"{path}: lists no scene; write one path or URL per line")
    return scenes


def _is_remote(scene: str) -> bool:
    return "://" in scene or scene.startswith("/vsi")


def short_name(scene: str) -> str:
    """The name of a scene's file alone: neither folders nor the key that a URL may carry."""
    if is_in_memory(scene):
        return IN_MEMORY
    return (tile_source(scene) or Path(_without_query(scene))).name


def kept_name(scene: str) -> str:
    """By what a file remembers a scene: its place on this machine, or its URL without the key that it may carry.

    What is named as GDAL names things stays as it is.
    """
    path = Path(scene)
    return str(path.resolve()) if path.exists() or tile_source(scene) else _without_query(scene)


def is_gone(kept: str) -> bool:
    """Whether a scene of ``kept_name`` lay on this machine and does not any more."""
    return Path(kept).is_absolute() and not _is_remote(kept) and not (tile_source(kept) or Path(kept)).exists()


def _without_query(scene: str) -> str:
    if Path(scene).exists():
        return scene
    head, protocol, tail = scene.rpartition("://")
    return head + protocol + tail.partition("?")[0]


def layer_paths(scenes: Sequence[str], out: Path) -> dict[str, Path]:
    """The layer of each scene.

    Args:
        scenes: their names.
        out: a file, for one scene; a pattern such as ``found/{parent}-{scene}.gpkg``, with the names of the scene and of
            the folder that it lies in; or a folder (what has no extension or is one already), which gets GeoJSON.

    Raises:
        UserError: one file for several scenes, two scenes with one layer, an extension that is no format.
    """
    if "{scene}" not in str(out) and (out.is_dir() or not out.suffix):
        out = out / "{scene}.geojson"
    if len(scenes) > 1 and "{scene}" not in str(out):
        raise UserError(f"{out}: one file for {len(scenes)} scenes; name a folder, or a pattern with {{scene}} in it")
    layers: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for scene in scenes:
        # absolute: the folder that ".." in a name leads to, and not a way out of the one that --out names
        path = Path(os.path.abspath(tile_source(scene) or _without_query(scene)))  # noqa: PTH100, resolve would follow links
        layer = Path(str(out).replace("{scene}", path.stem).replace("{parent}", path.parent.name))
        check_layer_path(layer)
        if layer in taken:
            how = "tell them apart with {parent} in --out"
            if Path(taken[layer]).parent == Path(scene).parent:
                how = "rename one of them, or search them one after the other"
            raise UserError(f"{layer}: of both {taken[layer]} and {scene}; {how}")
        layers[scene] = layer
        taken[layer] = scene
    return layers
