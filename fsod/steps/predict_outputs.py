"""What ``fsod predict`` writes, and how it knows its own files again: a layer in which somebody has judged is theirs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyogrio
from PIL import Image

from fsod.draw import is_preview
from fsod.errors import UserError
from fsod.geo.geopackage_file import NAME, check_takes_layer
from fsod.geo.journal import FORMAT, lock_path
from fsod.geo.label_item import check_can_be_labels, label_item_path
from fsod.geo.layer_files import ON_A_MAP, as_results, results_path
from fsod.geo.layer_table import VERDICT
from fsod.geo.qgis_style import is_style
from fsod.geo.scene_list import layer_paths
from fsod.geo.searched_layer import searched_path
from fsod.replacing import Output, check_outputs, not_by
from fsod.report.scene_report import overview_path
from fsod.steps.input_files import files_behind

RUN = frozenset(("weights", "bank"))
"""Attributes of every layer that ``fsod predict`` writes."""

WORK = (VERDICT, "score")
"""Attributes by which what people have done to a layer is known."""

_HEAD_BYTES = 2**16
"""The beginning of a GeoJSON that is read at once."""


def picture_path(layer: Path) -> Path:
    """The picture of what was found, which lies beside a layer."""
    return layer.with_suffix(".png")


def journal_path(layer: Path) -> Path:
    """What is finished of a layer, while it is not written."""
    return layer.with_name(layer.name + ".journal")


def check_layers(
    layers: Mapping[str, Path],
    inputs: Iterable[Path | None],
    *,
    overwrite: bool,
    others: Sequence[Output] = (),
    stac: bool = False,
) -> None:
    """Whether all that ``fsod predict`` is to write may be written, see ``fsod.replacing``.

    Args:
        layers: scene -> its layer; picture, style, overview and journal lie beside it.
        inputs: further files that the command reads.
        overwrite: also replace files that are not fsod's; inputs never.
        others: further files that the command writes.
        stac: an item of a catalogue is written beside each layer.

    Raises:
        UserError: the first file that may not be replaced, and why; a layer that another program is working on.
    """
    for layer in layers.values() if stac else ():
        check_can_be_labels(layer)
    outputs = [Output(path, _why_not, of=scene) for scene, layer in layers.items() for path in _beside(layer, stac)]
    check_outputs([*outputs, *others], lambda: files_behind([*layers, *inputs]), overwrite=overwrite)
    for layer in layers.values():
        check_takes_layer(layer)


def together_paths(scenes: Sequence[str], out: Path) -> dict[str, Path]:
    """Of each scene that goes into one layer, the name that its journal lies under.

    Raises:
        UserError: the layer is not one file, or has a format without places on the ground.
    """
    if out.suffix.lower() not in ON_A_MAP or "{scene}" in str(out) or out.is_dir():
        raise UserError(f"{out}: --together makes one file; name one that ends in {', '.join(ON_A_MAP)}")
    stems = [Path(scene.partition("?")[0]).stem for scene in scenes]
    of_each = "{scene}" if len(set(stems)) == len(stems) else "{parent}-{scene}"
    return layer_paths(scenes, out.with_name(f"{out.stem}.{of_each}{out.suffix}"))


def check_together(
    layers: Mapping[str, Path],
    out: Path,
    inputs: Iterable[Path | None],
    *,
    overwrite: bool,
    others: Sequence[Output] = (),
) -> None:
    """The same as ``check_layers`` for one layer of all scenes, with a journal of each."""
    journals = [journal_path(layer) for layer in layers.values()]
    pictures = (".png", ".jpg", ".journal", ".lock")
    files = {path for path in _beside(out, stac=False) if path.suffix not in pictures}
    files |= {path for journal in journals for path in (journal, lock_path(journal))}
    outputs = [Output(path, _why_not) for path in sorted(files)]
    check_outputs([*outputs, *others], lambda: files_behind([*layers, *inputs]), overwrite=overwrite)
    check_takes_layer(out)


def remove_own(paths: Iterable[Path]) -> None:
    """Removes what an earlier run wrote for a layer and this one does not write: it would tell of another layer."""
    for path in paths:
        if path.is_file() and not _why_not(path):
            path.unlink()


def remove_pictures(layer: Path) -> None:
    """Removes the pictures that an earlier run drew of a layer; those of one in another format, f.gpkg for f.csv, stay."""
    overview = overview_path(layer)
    if overview.is_file() and not _why_not(overview):
        with Image.open(overview) as picture:
            if json.loads(picture.info["comment"]).get("layer", layer.name) != layer.name:
                return
    remove_own([picture_path(layer), overview])


def remove_item(layer: Path) -> None:
    """Removes the STAC item that an earlier run wrote of a layer; one of another layer stays."""
    path = label_item_path(layer)
    if path.is_file() and not _why_not(path):
        assets = json.loads(path.read_bytes()).get("assets", {})
        if any(Path(str(asset.get("href"))).name == layer.name for asset in assets.values()):
            path.unlink()


def _beside(layer: Path, stac: bool) -> Iterator[Path]:
    """All that is written for a layer."""
    journal = journal_path(layer)
    yield layer
    if searched_path(layer) != layer:
        yield searched_path(layer)
        yield searched_path(layer).with_suffix(".qml")
    if layer.suffix.lower() in ON_A_MAP:
        yield layer.with_suffix(".qml")
    if (results := results_path(layer)) is not None:
        yield results
    if stac:
        yield label_item_path(layer)
    yield from (picture_path(layer), overview_path(layer), journal, lock_path(journal))


def _why_not(path: Path) -> str:
    """Why a file is not to be replaced; empty where fsod wrote it, and nobody has judged or drawn in it since."""
    judged = False

    def is_own(path: Path) -> bool:
        nonlocal judged
        own, judged = _READERS[path.suffix.lower()](path)
        return own

    return not_by("predict", is_own)(path) or ("holds verdicts, or objects drawn by hand" if judged else "")


def _geojson(path: Path) -> tuple[bool, bool]:
    return set(_run_of_geojson(path)) >= RUN, _is_judged(path, None)


def _run_of_geojson(path: Path) -> dict[str, object]:
    """What a collection says it was made by; it says so first, and names all scenes, so that may be long."""
    with path.open("rb") as file:
        head = b""
        while part := file.read(max(_HEAD_BYTES, len(head))):
            head += part
            text = head.decode(errors="replace")
            if (found := text.find('"run"')) < 0:
                break
            try:
                return dict(json.JSONDecoder().raw_decode(text[text.index("{", found) :])[0])
            except ValueError:  # it ends further on
                continue
    return {}


def _geopackage(path: Path) -> tuple[bool, bool]:
    metadata = pyogrio.read_info(path, layer=NAME)["layer_metadata"] or {}
    return set(metadata) >= RUN, _is_judged(path, NAME)


def _fields(path: Path) -> tuple[bool, bool]:
    return set(pyogrio.read_info(path)["fields"]) >= RUN, _is_judged(path, None)


def _parquet(path: Path) -> tuple[bool, bool]:
    from pyarrow import parquet

    names = set(parquet.read_schema(path).names)
    own = [name for name in WORK if name in names]
    return names >= RUN, _holds_work(parquet.read_table(path, columns=own).to_pandas())


def _is_judged(path: Path, layer: str | None) -> bool:
    options = {} if layer is None else {"layer": layer}
    own = [name for name in WORK if name in pyogrio.read_info(path, **options)["fields"]]
    return bool(own) and _holds_work(pyogrio.read_dataframe(path, columns=own, read_geometry=False, **options))


def _holds_work(table: pd.DataFrame) -> bool:
    """Whether anything is judged, or without a score, which is drawn by hand."""
    # an unchecked box says no
    judged = VERDICT in table and bool((table[VERDICT].notna() & (table[VERDICT] != "")).any())
    return judged or ("score" in table and bool(table["score"].isin(["", None]).any() or table["score"].isna().any()))


def _csv(path: Path) -> tuple[bool, bool]:
    return _fields(path)


def _coco(path: Path) -> tuple[bool, bool]:
    content = json.loads(path.read_bytes())
    if "stac_version" in content:
        return {f"fsod:{key}" for key in RUN} <= set(content["properties"]), False
    return (_is_beside(path, content) if isinstance(content, list) else set(content["info"]) >= RUN), False


def _is_beside(path: Path, results: list[object]) -> bool:
    """Whether COCO results, which cannot say who wrote them, are those of the layer beside them, or of an unfinished one."""
    layer = path.with_suffix("").with_suffix(".json")
    if path != results_path(layer):
        return False
    return journal_path(layer).exists() or results == as_results(json.loads(layer.read_bytes())["annotations"])


def _style(path: Path) -> tuple[bool, bool]:
    return is_style(path), False


def _picture(path: Path) -> tuple[bool, bool]:
    return is_preview(path), False


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
