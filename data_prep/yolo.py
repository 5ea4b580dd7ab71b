"""YOLO: a ``data.yaml`` and a text file an image, as Ultralytics and the labelling tools write them.

::

    SOURCE/data.yaml              names (a list, or number: name), train, val, test, and path, which may be missing
    SOURCE/images/train/NAME.jpg  or SOURCE/train/images/NAME.jpg, as data.yaml says
    SOURCE/labels/train/NAME.txt  the same way with the last "images" replaced by "labels", else beside the image

train, val and test are each a folder (with all folders in it), a text file that lists images, or several of them, and become
lists. They are sought in ``path``, else beside data.yaml, also where a ``../`` leads out of the data set by mistake, as in files
of Roboflow, or where the path is one of another machine. Lists of CVAT have ``data/`` before each path. Nothing outside SOURCE is
read, and ``download`` is not looked at. Without data.yaml::

    SOURCE/classes.txt, images/, labels/                         as Label Studio exports it
    SOURCE/classes.txt, NAME.jpg, NAME.txt                       as LabelImg does
    SOURCE/obj.names, train.txt, valid.txt, obj_train_data/      as CVAT and Darknet have it

A line is ``class x y width height``, the centre and size of a box as shares of the image. A line with more points, ``class x1 y1
x2 y2 x3 y3 ...``, is an outline or an oriented box and becomes its axis-aligned hull. An image without a label file, or with
an empty one, shows no object. Names that several images share are preceded by their folders.

Coordinates: shares become edges by multiplication with the width and height in pixels: 0 is the left edge of the first
pixel, 1 the right edge of the last. Up to a pixel of rounding beyond the image is clipped.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from data_prep.pictures import SUFFIXES
from data_prep.reading import write_source
from data_prep.source import Box, Item, Problem, Source, checked_box
from data_prep.source_files import (
    files,
    folders_within,
    foreign_ends,
    image_files,
    inside,
    no_utf8,
    number,
    numbered_lines,
    spellings,
    unique_stems,
)
from fsod.errors import UserError, is_name
from fsod.yaml_file import read_yaml

SPLITS = ("train", "val", "test")
ALL = "all"
"""What stands for the splits where there are none; it becomes no list."""

_YAML = (".yaml", ".yml")
_SLACK_PX = 1.0


def prepare_yolo(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Reads a data set in the form of YOLO and writes a prepared folder.

    Args:
        source: the folder that holds ``data.yaml`` (or ``classes.txt``, ``obj.names``), or that file under any name.
        out: the folder to write.
        skip_bad: leave out images with anything that cannot be used instead of raising at the first; the card lists it.

    Returns:
        The card; see :func:`data_prep.reading.write_source`.

    Raises:
        UserError: no or a malformed data.yaml; unless ``skip_bad``, the first thing that cannot be used, with file and line.
    """
    settings_path = source if source.is_file() else _settings_file(source)
    root = settings_path.parent
    settings = _load(settings_path) if settings_path.suffix.lower() in _YAML else _named_only(settings_path)
    names = _class_names(settings, settings_path)
    problems: list[Problem] = []
    places = {name: _places(settings, name, settings_path) for name in (*SPLITS, ALL) if settings.get(name)}
    if not places:
        raise UserError(f"{settings_path}: names no train, val or test images")
    for one, other in combinations(places, 2):
        if set(places[one]) & set(places[other]) and settings[one] != settings[other]:
            both = f"{reprlib.repr(settings[one])} and {reprlib.repr(settings[other])}"
            raise UserError(
                f"{settings_path}: {one} and {other}: {both} both lead to {places[one][0]}; fix these paths"
            )
    splits = {name: _images(of_split, root, problems) for name, of_split in places.items()}
    stems = unique_stems(sorted({path for paths in splits.values() for path in paths}), root, problems)
    labels = _labels(stems, root)
    if stems and not labels:
        raise UserError(f"{_label_file(next(iter(stems)), root)}: no such file, and no other image has labels either")
    problems += _orphans(stems, root)
    items = [Item(i, path, stem, labels.get(path)) for i, (path, stem) in enumerate(stems.items(), 1)]
    found = Source(
        "yolo",
        root,
        items,
        partial(_read, names),
        problems,
        class_names=tuple(names.values()),
        lists={name: [stems[path] for path in paths if path in stems] for name, paths in splits.items() if name != ALL},
    )
    return write_source(found, out, skip_bad=skip_bad)


def _settings_file(source: Path) -> Path:
    """The file of a folder that says what its class numbers mean."""
    yamls = files(source, *_YAML)
    named = [source / "data.yaml", *(yamls if len(yamls) == 1 else ()), source / "classes.txt", source / "obj.names"]
    found = next((path for path in named if path.is_file()), None)
    if found is None:
        raise UserError(
            f"{named[0]}: no such file, nor a classes.txt; give the folder that holds one of them, or the file itself"
        )
    return found


def _named_only(path: Path) -> dict[str, Any]:
    """Settings where there is no data.yaml: a name per line, and lists of images or their folder by the usual names."""
    lines = list(numbered_lines(path))
    for n, line in lines:
        if why := no_utf8(line):
            raise UserError(f"{path}:{n}: {line[:60]!r} {why}")
    settings: dict[str, Any] = {"names": [line for _, line in lines]}
    for split, name in (("train", "train.txt"), ("val", "valid.txt"), ("val", "val.txt"), ("test", "test.txt")):
        if (path.parent / name).is_file():
            settings[split] = name
    images = "images" if (path.parent / "images").is_dir() else "."  # LabelImg's labels lie beside their images
    return settings if settings.keys() & set(SPLITS) else {**settings, ALL: images}


def _load(path: Path) -> dict[str, Any]:
    settings = read_yaml(path)
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected keys and values")
    if settings.get("kpt_shape"):
        raise UserError(f"{path}: kpt_shape says that its labels are key points, which fsod does not read")
    return settings


def _class_names(settings: dict[str, Any], path: Path) -> dict[int, str]:
    """Class number -> name, in the order of the numbers."""
    names = settings.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(type(key) is int and key >= 0 for key in names):
        raise UserError(f"{path}: names: expected a list of class names, or a name for each number")
    # nested aliases of YAML can stand for more text than memory holds: nothing but plain values is made a string
    if not all(isinstance(name, str | int | float) and not isinstance(name, bool) for name in names.values()):
        raise UserError(f"{path}: names: each must be a text; put quotes around those that YAML reads as yes or no")
    ordered = {key: str(names[key]).strip() for key in sorted(names)}
    for name in ordered.values():
        if not is_name(name):
            raise UserError(f"{path}: names: {reprlib.repr(name)} is too long or not printable")
    if len(set(ordered.values())) < len(ordered) or not all(ordered.values()):
        raise UserError(f"{path}: names: a class name is there twice, or is empty")
    if settings.get("nc", len(ordered)) != len(ordered):
        raise UserError(f"{path}: nc is not {len(ordered)}, the number of names")
    return ordered


def _places(settings: dict[str, Any], split: str, path: Path) -> list[Path]:
    """The folders and lists of a split."""
    entries = settings[split] if isinstance(settings[split], list) else [settings[split]]
    places = []
    for entry in entries:
        place = _place(entry, settings.get("path"), path.parent) if isinstance(entry, str) else None
        if place is None or not (place.is_dir() or place.is_file()):
            raise UserError(f"{path}: {split}: there is no {reprlib.repr(entry)} in {path.parent}")
        places.append(place)
    return places


def _images(places: list[Path], root: Path, problems: list[Problem]) -> list[Path]:
    """The images of a split, sorted, each once."""
    images: set[Path] = set()
    for place in places:
        if place.is_dir():
            images.update(image for folder in folders_within(place) for image in image_files(folder))
        else:
            images.update(_listed(place, root, problems))
    return sorted(images)


def _place(entry: str, base: object, root: Path) -> Path | None:
    bases = [*(root / way for way in spellings(base)), root] if isinstance(base, str) else [root]
    ways = [end for way in spellings(entry) for end in foreign_ends(way)]
    return next((place for way in ways for base in bases if (place := inside(base / way, root))), None)


def _listed(path: Path, root: Path, problems: list[Problem]) -> list[Path]:
    """The images that a text file lists, relative to itself or to ``root``."""
    images = []
    for n, line in numbered_lines(path):
        ways = [end for way in spellings(line) for end in foreign_ends(way)]
        ways += [way.removeprefix("data/") for way in ways if way.startswith("data/")]
        found = (inside(base / way, root) for way in ways for base in (path.parent, root))
        image = next((image for image in found if image is not None), None)
        if image is None or image.suffix.lower() not in SUFFIXES:
            problems.append(Problem(path, f"names {line[:60]!r}, but there is no such image in {root}", n))
        else:
            images.append(image)
    return images


def _label_file(image: Path, root: Path) -> Path:
    """Where the labels of an image are, if it has any."""
    parts = list(image.relative_to(root).parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


def _labels(images: Iterable[Path], root: Path) -> dict[Path, Path]:
    """The label file of each image that has one; its ending may be in capitals."""
    wanted = {image: _label_file(image, root) for image in images}
    folders = sorted({label.parent for label in wanted.values()})
    found = {label.with_suffix(""): label for folder in folders for label in files(folder, ".txt")}
    ways = ((image, label.with_suffix("")) for image, label in wanted.items())
    return {image: found[way] for image, way in ways if way in found}


def _orphans(images: Iterable[Path], root: Path) -> list[Problem]:
    """Label files without an image in the folders where the images' labels are."""
    folders = {image.parent: _label_file(image, root).parent for image in images}
    return [
        Problem(label, "has no image")
        for place, labels in sorted(folders.items())
        if place != labels
        for label in files(labels, ".txt")
        if label.name != "classes.txt" and label.stem not in {image.stem for image in image_files(place)}
    ]


def _read(names: dict[int, str], item: Item, size_px: tuple[int, int]) -> Iterator[Box | Problem]:
    if item.truth is None:
        return
    for n, line in numbered_lines(item.truth):
        box = _parse(line, names, size_px)
        yield box if isinstance(box, Box) else Problem(item.truth, box, n)


def _parse(line: str, names: dict[int, str], size_px: tuple[int, int]) -> Box | str:
    """A box, or what is wrong with the line."""
    words = line.split()
    values = [value for word in words[1:] if (value := number(word)) is not None]
    outline = len(values) >= 6 and len(values) % 2 == 0
    if (
        not (class_number := re.fullmatch(r"(\d{1,6})(\.0{1,20})?", words[0], re.ASCII))
        or len(values) != len(words) - 1
        or not (len(values) == 4 or outline)
    ):
        return f"malformed line {line[:60]!r}, expected class x y width height"
    if int(class_number[1]) not in names:
        whole = len(names) == max(names) - min(names) + 1
        known = f"{min(names)} to {max(names)}" if whole else reprlib.repr(list(names)).strip("[]")
        return f"unknown class number {class_number[1]}, expected {known}"
    width, height = size_px
    if outline:
        xs, ys = values[::2], values[1::2]
        edges = min(xs), min(ys), max(xs), max(ys)
    else:
        x, y, w, h = values
        edges = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    xyxy_px = (edges[0] * width, edges[1] * height, edges[2] * width, edges[3] * height)
    return checked_box(names[int(class_number[1])], xyxy_px, size_px, slack_px=_SLACK_PX)
