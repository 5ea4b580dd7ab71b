"""COCO: a JSON file of images, categories and annotations, and a folder of images.

::

    SOURCE.json                             one file; or in a folder SOURCE:
    SOURCE/annotations/instances_NAME.json  as COCO has it: images in SOURCE/NAME/ or SOURCE/images/NAME/
    SOURCE/NAME/_annotations.coco.json      as Roboflow exports it: images beside the file
    SOURCE/annotations/*.json, SOURCE/*.json
    SOURCE/labels.json                      as FiftyOne exports it: images in SOURCE/data/; or SOURCE/NAME/labels.json
    SOURCE/annotations.json                 a prepared folder of fsod: images in SOURCE/images/; not of tiles, see ``prepared``

The first of these patterns that finds files with ``images``, ``annotations`` and ``categories`` is read. Where it finds
several files, each becomes a list of the name above (``instances_train2017.json``: ``train2017``), and classes are joined by
their names. The images are sought beside the JSON, in ``images``, ``data``, ``NAME`` and ``images/NAME`` there, and the same
one folder up; never outside SOURCE. A name may have backslashes, ``%20`` for a blank, or be a path on another machine.

Image ids are kept if they are whole numbers, also as text, unless two files use the same. Categories are numbered from 1 in
the order of their ids. Two of one name are one class. The name of a Roboflow project, which is a category above the others, is
no class if nothing is labelled with it.

Only boxes are read, and polygons where there is no ``bbox``; no masks or key points. A crowd (``iscrowd``: 1) stays one; what
is marked ``difficult`` or ``ignore`` is difficult.

Coordinates: ``bbox`` is x, y, width, height in pixels, with fractions; 0 is the left edge of the first pixel. Up to a
pixel beyond the image is clipped. There are no lines in such a file: problems name the annotation's id.
"""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

from data_prep.coco_json import CocoFile, LabelledImage, read_annotations, read_file
from data_prep.reading import write_source
from data_prep.source import Item, Problem, Source
from data_prep.source_files import unique_stems
from fsod.errors import UserError

_PATTERNS = (
    *("annotations/instances_*.json", "*/_annotations.coco.json", "*/labels.json"),
    *("annotations/*.json", "*.json"),
)


def prepare_coco(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Reads a data set in the form of COCO and writes a prepared folder.

    Args:
        source: the folder of the data set, or a JSON file.
        out: the folder to write.
        skip_bad: leave out images with anything that cannot be used instead of raising at the first; the card lists it.

    Returns:
        The card; see :func:`data_prep.reading.write_source`.

    Raises:
        UserError: no such file; unless ``skip_bad``, the first thing that cannot be used, with the file and the id.
    """
    problems: list[Problem] = []
    root, found = _find_files(source, problems)
    images = _distinct([image for file in found for image in file.images], problems)
    stems = unique_stems([image.path for image in images], root, problems)
    images = [image for image in images if image.path in stems]
    ids = [image.id for image in images if isinstance(image.id, int)]
    if len(set(ids)) < len(images):
        ids = list(range(1, len(images) + 1))
    image_of = dict(sorted(zip(ids, images, strict=True), key=itemgetter(0)))
    lists: dict[str, list[str]] = {}
    for image in images if len(found) > 1 else ():
        lists.setdefault(image.list_name, []).append(stems[image.path])
    found_source = Source(
        "coco",
        root,
        [Item(i, image.path, stems[image.path], gsd_m=image.gsd_m) for i, image in image_of.items()],
        lambda item, size_px: read_annotations(image_of[item.id], size_px),
        problems,
        class_names=tuple(dict.fromkeys(name for file in found for name in file.class_names)),
        lists=lists,
        deciding=tuple(file.path for file in found),
    )
    return write_source(found_source, out, skip_bad=skip_bad)


def _find_files(source: Path, problems: list[Problem]) -> tuple[Path, list[CocoFile]]:
    """The folder of the data set and its files."""
    if source.is_file():
        root = source.parent.parent if source.parent.name == "annotations" else source.parent
        file = read_file(source, root, problems)
        found = [] if file is None else [file]
    else:
        root, found = source, []
        for pattern in _PATTERNS:
            paths = sorted(p for p in source.glob(pattern) if p.is_file() and not p.name.startswith("."))
            found = [file for path in paths if (file := read_file(path, root, problems))]
            if found or problems:
                break
    if not found:
        first = f"; {problems[0].place()}: {problems[0].why}" if problems else ""
        raise UserError(f"{source}: no JSON of images, annotations and categories there{first}")
    return root, found


def _distinct(images: list[LabelledImage], problems: list[Problem]) -> list[LabelledImage]:
    """The images, each file once."""
    first: dict[Path, LabelledImage] = {}
    for image in images:
        if image.path in first:
            other = first[image.path]
            problems.append(Problem(image.file, f"image {image.id} is image {other.id} of {other.file.name} again"))
        else:
            first[image.path] = image
    return list(first.values())
