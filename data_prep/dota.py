"""DOTA (1.0, 1.5, 2.0) and other sets in its layout.

::

    SOURCE/{train,val,test}/images/NAME.png    or in one folder below, as the archives unpack
    SOURCE/{train,val,test}/labelTxt/NAME.txt  or any folder labelTxt*, or in one folder below it
    SOURCE/images/, SOURCE/labelTxt/           a single part, without a list
    SOURCE/images/{train,val,test}/, SOURCE/labels/{train,val}/   as Ultralytics lays it out

Labels may be in ``labels`` instead of ``labelTxt``. Where Ultralytics has converted them to its own form, it keeps the originals in
``labels/train_original``, which are read. A label file starts with ``imagesource:...`` and ``gsd:...`` (metres, or null), which may be missing. Then comes a line an object:
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.reading import write_source
from data_prep.source import Box, Item, Problem, Source, checked_box
from data_prep.source_files import files, folders_within, image_files, is_set, no_utf8, number, numbered_lines, pair
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
    parts = _parts(source)
    if not parts:
        raise UserError(
            f"{source}: not DOTA, there is no 'train/images' or 'images' in it; give the folder that holds it"
        )
    labels = {name: part.label_files() for name, part in parts.items()}
    images = {name: part.image_files() for name, part in parts.items()}
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
            name: [item.stem for item in items if item.image.is_relative_to(parts[name].images)]
            for name in labelled
            if name
        },
        card={
            "boxes_are": "axis-aligned hulls of oriented boxes, clipped to the image",
            "unlabelled_images_left_out": {name: len(images[name]) for name in parts if not labels[name]},
        },
    )
    return write_source(found, out, skip_bad=skip_bad)


@dataclass(frozen=True)
class _Part:
    """Where a part of a data set is.

    Attributes:
        images: the folder of its images.
        labels: folders that its labels are in or below, each of another version.
        root: what they all lie in.
    """

    images: Path
    labels: list[Path]
    root: Path

    def image_files(self) -> list[Path]:
        """Its images, those one folder below among them."""
        inner = sorted(path for path in self.images.iterdir() if path.is_dir())
        return [path for folder in (self.images, *inner) for path in image_files(folder)]

    def label_files(self) -> list[Path]:
        """The files of the one version of oriented labels that a part has; none where it has no labels."""
        folders = [path for top in self.labels for path in folders_within(top)]
        own = [path for path in folders if not any(w in str(path.relative_to(self.root)) for w in _AXIS_ALIGNED)]
        versions = {path: found for path in own if (found := files(path, ".txt"))}
        if len(versions) > 1:
            shown = ", ".join(map(str, versions))
            raise UserError(f"{self.root}: has labels of several versions ({shown}); leave one there")
        return next(iter(versions.values()), [])


def _parts(source: Path) -> dict[str, _Part]:
    """The parts of a data set by name; the whole as a part without a name."""
    parts = {name: source / name for name in PARTS if (source / name / "images").is_dir()}
    inner = {name: source / "images" / name for name in PARTS if (source / "images" / name).is_dir()}
    found = {name: _Part(folder / "images", _label_folders(folder), folder) for name, folder in parts.items()}
    if not found and inner:
        for name, folder in inner.items():
            ways = (source / "labels" / f"{name}_original", source / "labels" / name, source / "labelTxt" / name)
            found[name] = _Part(folder, [way for way in ways if way.is_dir()][:1], source)
    elif (source / "images").is_dir():
        found[""] = _Part(source / "images", _label_folders(source), source)
    return found


def _label_folders(part: Path) -> list[Path]:
    tops = [path for path in sorted(part.glob("labelTxt*")) if path.is_dir()]
    return tops or [path for path in (part / "labels",) if path.is_dir()]


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


def _is_yolo(words: list[str]) -> bool:
    """Whether the words of a line are those of Ultralytics' oriented boxes."""
    shares = [number(word) for word in words[1:]]
    return len(words) == 9 and words[0].isdecimal() and all(share is not None and abs(share) < 2 for share in shares)


def _parse(line: str, size_px: tuple[int, int]) -> Box | str:
    """A box, or what is wrong with the line."""
    words = line.split()
    vertices = [number(word) for word in words[:8]]
    if _is_yolo(words):
        return "is in the form of YOLO (class number first, shares of the image); prepare it as format yolo"
    if len(words) not in (9, 10) or None in vertices:
        return f"malformed line {line[:60]!r}, expected x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
    if why := no_utf8(words[8]):
        return f"class {words[8][:60]!r} {why}"
    points = [value for value in vertices if value is not None]
    xs, ys = points[::2], points[1::2]
    hull = (min(xs), min(ys), max(xs), max(ys))
    difficult = is_set(words[9]) if words[9:] else False
    if difficult is None:
        return f"difficult is {words[9][:60]!r}, expected 0 or 1"
    return checked_box(words[8], hull, size_px, slack_px=math.inf, difficult=difficult)
