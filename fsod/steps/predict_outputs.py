"""What ``fsod predict`` may write over: what it wrote itself for the same output, and never what anybody needs.

All names are checked before the first pixel is read. A file is fsod's own if it says so when it is read; a layer in which
somebody has judged is theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyogrio
from PIL import Image

from fsod.errors import UserError
from fsod.geo.journal import FORMAT, lock_path
from fsod.geo.layer_files import NAME, ON_A_MAP
from fsod.geo.qgis_style import CATEGORIES
from fsod.geo.scene import open_dataset
from fsod.geo.vector import VERDICT
from fsod.report.scene_report import overview_path

PICTURE_MARK = "fsod predict"
"""Text of the pictures beside layers."""

RUN = frozenset(("weights", "bank"))
"""Attributes of every layer that ``fsod predict`` writes."""

_HEAD_BYTES = 2**16


def picture_path(layer: Path) -> Path:
    """The picture of what was found, which lies beside a layer."""
    return layer.with_suffix(".png")


def journal_path(layer: Path) -> Path:
    """What is finished of a layer, while it is not written."""
    return layer.with_name(layer.name + ".journal")


def check_outputs(
    layers: Mapping[str, Path], inputs: Iterable[Path | None], *, overwrite: bool, others: Iterable[Path] = ()
) -> None:
    """Whether all that a command is to write may be written.

    Args:
        layers: scene -> its layer; picture, style, overview and journal lie beside it.
        inputs: further files that the command reads.
        overwrite: also replace files that are not fsod's; inputs never.
        others: further files that the command writes, which any earlier one of it may be.

    Raises:
        UserError: the first file that may not be replaced, and why.
    """
    owners: dict[Path, str] = {}
    there: list[Path] = []
    for scene, layer in layers.items():
        style = [layer.with_suffix(".qml")] if layer.suffix.lower() in ON_A_MAP else []
        journal = journal_path(layer)
        for output in (layer, *style, picture_path(layer), overview_path(layer), journal, lock_path(journal)):
            if output in owners:
                raise UserError(
                    f"{output}: would be written for both {owners[output]} and {scene}; name their layers otherwise"
                )
            owners[output] = scene
            if output.exists() or output.is_symlink():
                there.append(output)
    for other in others:
        if other in owners:
            raise UserError(f"{other}: would be written twice by this command; name one of them otherwise")
        if other.exists():
            there.append(other)
    if not there:
        return
    needed = _files_of(layers, inputs)
    for output in there:
        if output.is_symlink() and not output.exists():
            raise UserError(f"{output}: is a link that leads nowhere; remove it, or choose another --out")
        if output.resolve() in needed:
            raise UserError(f"{output}: would be written over, and this command reads it; choose another --out")
        if output in owners and not overwrite and (why := _not_ours(output)):
            raise UserError(f"{output}: is there already and {why}; choose another --out, or --overwrite it")


def _files_of(scenes: Iterable[str], inputs: Iterable[Path | None]) -> set[Path]:
    """All local files that are read, the sources of virtual rasters among them; links are followed."""
    files = {path for path in inputs if path is not None}
    for scene in scenes:
        path = Path(scene)
        if not path.exists():
            continue  # a URL, or one that is complained of when its turn comes
        files.add(path)
        if path.suffix.lower() == ".vrt":
            try:
                with open_dataset(scene) as dataset:
                    files.update(map(Path, dataset.files))
            except UserError:
                continue
        files.update(path.with_name(path.name + end) for end in (".aux.xml", ".ovr", ".msk"))
    return {path.resolve() for path in files}


def _not_ours(path: Path) -> str:
    """Why a file is not to be replaced; empty where fsod wrote it and nobody has worked on it since."""
    try:
        ours, judged = _READERS[path.suffix.lower()](path)
    # each library that reads a format has errors of its own, and none reads as fsod's
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RuntimeError, SyntaxError):
        ours, judged = False, False
    if not ours:
        return "was not written by `fsod predict`"
    return "holds verdicts" if judged else ""


def _geojson(path: Path) -> tuple[bool, bool]:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode(errors="replace")
    found = head.find('"run"')
    run = json.JSONDecoder().raw_decode(head[head.index("{", found) :])[0] if found >= 0 else {}
    return set(run) >= RUN, _is_judged(path, None)


def _geopackage(path: Path) -> tuple[bool, bool]:
    metadata = pyogrio.read_info(path, layer=NAME)["layer_metadata"] or {}
    return set(metadata) >= RUN, _is_judged(path, NAME)


def _fields(path: Path) -> tuple[bool, bool]:
    return set(pyogrio.read_info(path)["fields"]) >= RUN, _is_judged(path, None)


def _parquet(path: Path) -> tuple[bool, bool]:
    from pyarrow import parquet

    names = set(parquet.read_schema(path).names)
    judged = VERDICT in names and any(parquet.read_table(path, columns=[VERDICT])[VERDICT].to_pylist())
    return names >= RUN, judged


def _is_judged(path: Path, layer: str | None) -> bool:
    options = {} if layer is None else {"layer": layer}
    if VERDICT not in pyogrio.read_info(path, **options)["fields"]:
        return False
    table = pyogrio.read_dataframe(path, columns=[VERDICT], read_geometry=False, **options)
    return bool(table[VERDICT].fillna("").astype(bool).any())


def _csv(path: Path) -> tuple[bool, bool]:
    return _fields(path)


def _coco(path: Path) -> tuple[bool, bool]:
    return set(json.loads(path.read_bytes())["info"]) >= RUN, False


def _style(path: Path) -> tuple[bool, bool]:
    with path.open("rb") as file:
        return f'version="3.22.0" styleCategories="{CATEGORIES}"'.encode() in file.read(_HEAD_BYTES), False


def _picture(path: Path) -> tuple[bool, bool]:
    with Image.open(path) as picture:
        return picture.info.get("Software") == PICTURE_MARK, False


def _overview(path: Path) -> tuple[bool, bool]:
    with Image.open(path) as picture:
        return {"size_px", "classes"} <= set(json.loads(picture.info["comment"])), False


def _journal(path: Path) -> tuple[bool, bool]:
    with path.open("rb") as file:
        start = file.read(64)
    kind = FORMAT.rpartition("-")[0].encode()
    # a run that was killed while it wrote the first line left less of it
    return kind in start or not start or b'{"format":"fsod'.startswith(start), False


def _lock(path: Path) -> tuple[bool, bool]:
    return path.stat().st_size == 0, False


_READERS = {
    ".geojson": _geojson,
    ".gpkg": _geopackage,
    ".fgb": _fields,
    ".parquet": _parquet,
    ".csv": _csv,
    ".json": _coco,
    ".qml": _style,
    ".png": _picture,
    ".jpg": _overview,
    ".journal": _journal,
    ".lock": _lock,
}
