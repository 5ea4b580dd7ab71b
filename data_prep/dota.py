"""DOTA (1.0, 1.5, 2.0) and other sets in its layout.

::

    SOURCE/{train,val,test}/images/NAME.png    or in one folder below, as the archives unpack
    SOURCE/{train,val,test}/labelTxt/NAME.txt  or any folder labelTxt*, or in one folder below it
    SOURCE/images/, SOURCE/labelTxt/           a single part, without a list

A label file starts with ``imagesource:...`` and ``gsd:...`` (metres, or null), which may be missing. Then comes a line an object:
``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``. The GSD goes to the image's record, ``difficult`` to the annotation.

Oriented boxes become their axis-aligned hull, which is larger than the object where it lies askew; the card says so. Objects
at an edge were annotated beyond it: the hull is clipped to the image and counted in the card. Parts without labels (``test``)
are left out, as nobody knows what they show, and counted as well. Copies with axis-aligned labels (``..._hbb``,
``..._reclabelTxt``) are not read.

Coordinates: vertices are points in pixels that count from 0 at the upper left corner of the image; x = least x, y = least
y, width and height to the greatest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.reading import write_source
from data_prep.source import Box, Item, Problem, Source, checked_box
from data_prep.source_files import files, image_files, number, numbered_lines, pair
from fsod.errors import UserError

PARTS = ("train", "val", "test")
_AXIS_ALIGNED = ("hbb", "reclabel")
_GSD = "gsd:"
_HEADER = (_GSD, "imagesource:")
_UNKNOWN = ("", "null", "none", "nan")


def prepare_dota(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Reads a data set in the layout of DOTA and writes a prepared folder.

    Args:
        source: the folder that holds ``train`` and ``val``, or ``images`` and ``labelTxt``.
        out: the folder to write.
        skip_bad: leave out images with anything that cannot be used instead of raising at the first; the card lists it.

    Returns:
        The card; see :func:`data_prep.reading.write_source`.

    Raises:
        UserError: not this layout, labels of several versions; unless ``skip_bad``, the first thing that cannot be used,
            with file and line.
    """
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    parts = {name: source / name for name in PARTS if (source / name / "images").is_dir()}
    if (source / "images").is_dir():
        parts[""] = source
    if not parts:
        raise UserError(
            f"{source}: not DOTA, there is no 'train/images' or 'images' in it; give the folder that holds it"
        )
    labels = {name: _label_files(folder) for name, folder in parts.items()}
    images = {name: _images(folder) for name, folder in parts.items()}
    labelled = [name for name in parts if labels[name]]
    items, problems = pair(
        [p for name in labelled for p in images[name]], [p for name in labelled for p in labels[name]]
    )
    found = Source(
        "dota",
        source,
        [replace(item, gsd_m=_gsd_m(item)) for item in items],
        _read,
        problems,
        lists={
            name: [item.stem for item in items if item.image.is_relative_to(parts[name])] for name in labelled if name
        },
        card={
            "boxes_are": "axis-aligned hulls of oriented boxes, clipped to the image",
            "unlabelled_images_left_out": {name: len(images[name]) for name in parts if not labels[name]},
        },
    )
    return write_source(found, out, skip_bad=skip_bad)


def _images(part: Path) -> list[Path]:
    inner = sorted(path for path in (part / "images").iterdir() if path.is_dir())
    return [path for folder in (part / "images", *inner) for path in image_files(folder)]


def _label_files(part: Path) -> list[Path]:
    """The files of the one version of oriented labels that a part has; none where it has no labels."""
    tops = [path for path in sorted(part.glob("labelTxt*")) if path.is_dir()]
    folders = [*tops, *(path for top in tops for path in sorted(top.rglob("*")) if path.is_dir())]
    oriented = [path for path in folders if not any(word in str(path.relative_to(part)) for word in _AXIS_ALIGNED)]
    versions = {path: found for path in oriented if (found := files(path, ".txt"))}
    if len(versions) > 1:
        raise UserError(f"{part}: has labels of several versions ({', '.join(map(str, versions))}); leave one there")
    return next(iter(versions.values()), [])


def _gsd_m(item: Item) -> float | None:
    """The GSD of an image's label file, None where it does not know it."""
    for _, line in numbered_lines(item.truth) if item.truth else ():
        if line.startswith(_GSD):
            gsd_m = number(line.removeprefix(_GSD).strip())
            return gsd_m if gsd_m and gsd_m > 0 else None
    return None


def _read(item: Item, size_px: tuple[int, int]) -> Iterator[Box | Problem]:
    if item.truth is None:
        return
    for n, line in numbered_lines(item.truth):
        if line.startswith(_HEADER):
            value = line.removeprefix(_GSD).strip()
            if line.startswith(_GSD) and item.gsd_m is None and value.lower() not in _UNKNOWN:
                yield Problem(item.truth, f"GSD is {value[:60]!r}, expected metres or null", n)
            continue
        box = _parse(line, size_px)
        yield box if isinstance(box, Box) else Problem(item.truth, box, n)


def _parse(line: str, size_px: tuple[int, int]) -> Box | str:
    """A box, or what is wrong with the line."""
    words = line.split()
    vertices = [number(word) for word in words[:8]]
    if len(words) not in (9, 10) or None in vertices:
        return f"malformed line {line[:60]!r}, expected x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
    points = [value for value in vertices if value is not None]
    xs, ys = points[::2], points[1::2]
    hull = (min(xs), min(ys), max(xs), max(ys))
    return checked_box(words[8], hull, size_px, slack_px=math.inf, difficult=words[9:] == ["1"])
