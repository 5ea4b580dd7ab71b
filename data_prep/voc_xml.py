"""Boxes in the XML of Pascal VOC, which DIOR and NWPU VHR-10.v2 use too, and where the folders of such data sets lie.

The XML is read by expat with document type declarations refused. Without one there is no entity to expand and nothing
outside the file to fetch; no data set in this form has one. Lines are expat's, of the ``<object>`` that a box is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from data_prep.source import Box, Item, Problem, checked_box
from data_prep.source_files import files, image_files, is_set, number, pair, split_lists
from fsod.errors import UserError

_LINE = "line of the file"  # no XML attribute can have this name
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_xml(path: Path) -> Element | Problem:
    """The root element, or why the file cannot be used."""
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, {**attributes, _LINE: str(parser.CurrentLineNumber)})

    def refuse(*_: object) -> None:
        raise ValueError("has a document type declaration (<!DOCTYPE>), which is not read; remove it")

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except expat.ExpatError as error:
        return Problem(path, f"is not well-formed XML: {expat.ErrorString(error.code)}", error.lineno)
    except (ValueError, LookupError) as error:  # ours, or an encoding that Python does not have
        return Problem(path, str(error), parser.CurrentLineNumber)


def voc_boxes(
    item: Item,
    size_px: tuple[int, int],
    class_name: Callable[[str], str | None],
    *,
    first_px: Literal[0, 1],
) -> Iterator[Box | Problem]:
    """The boxes of an image and what is wrong with others.

    Args:
        item: the image and its XML file.
        size_px: width and height of its image.
        class_name: name in the file -> name to write, None for a class that does not belong there.
        first_px: 1: the first pixel has number 1, and ``xmax`` is the number of the last pixel inside, as the VOC
            development kit has it: edges are xmin - 1 and xmax. 0: numbers are edges and count from 0.
    """
    if item.truth is None:
        return
    root = read_xml(item.truth)
    if isinstance(root, Problem):
        yield root
        return
    if problem := _other_size(item.truth, root, size_px):
        yield problem
        return
    for element in root.findall("object"):
        box = _box(element, size_px, class_name, first_px)
        yield box if isinstance(box, Box) else Problem(item.truth, box, int(element.attrib[_LINE]))


def _other_size(path: Path, root: Element, size_px: tuple[int, int]) -> Problem | None:
    """A problem if the file says that its boxes are for an image of another size; 0 or nothing says nothing."""
    size = root.find("size")
    if root.tag != "annotation":
        return Problem(path, f"is not a VOC annotation: its root is <{root.tag[:60]}>", 1)
    if size is None:
        return None
    said = tuple(number(_text(size, side)) or 0 for side in ("width", "height"))
    if all(said) and said != size_px:
        why = f"its boxes are for an image of {said[0]:g}x{said[1]:g} px, but the image is {size_px[0]}x{size_px[1]}"
        return Problem(path, why, int(size.attrib[_LINE]))
    return None


def _box(
    element: Element, size_px: tuple[int, int], class_name: Callable[[str], str | None], first_px: int
) -> Box | str:
    said = _text(element, "name")
    if not said:
        return "an object without a <name>"
    name = class_name(said)
    if name is None:
        return f"unknown class {said[:60]!r}"
    bounds = element.find("bndbox")
    if bounds is None:
        return f"{said[:60]!r} has no <bndbox>"
    sides = [number(_text(bounds, side)) for side in _SIDES]
    if None in sides:
        side = _SIDES[sides.index(None)]
        return f"<{side}> of {said[:60]!r} is {_text(bounds, side)[:60]!r}, expected a number"
    x1, y1, x2, y2 = (side for side in sides if side is not None)
    if first_px == 1 and min(x1, y1) < 1:
        return f"{said[:60]!r} begins at ({x1:g},{y1:g}), but VOC counts from 1; are they edges (format voc-edges)?"
    edges = (x1 - first_px, y1 - first_px, x2, y2)
    difficult = is_set(_text(element, "difficult"))
    if difficult is None:
        return f"<difficult> of {said[:60]!r} is {_text(element, 'difficult')[:60]!r}, expected 0 or 1"
    return checked_box(name, edges, size_px, difficult=difficult)


def _text(parent: Element, tag: str) -> str:
    return (parent.findtext(tag) or "").strip()


def unpacked(source: Path, way: str) -> Path:
    """Where a folder of a data set is, whose archives may have been unpacked into folders of the same name.

    ``Annotations/trainval`` may be ``Annotations/Annotations/trainval``.
    """
    folder = source
    for name in PurePosixPath(way).parts:
        folder = folder / name
        if (folder / name).is_dir():
            folder = folder / name
    return folder


def voc_items(
    source: Path, format_name: str, annotations: tuple[str, ...], images: tuple[str, ...]
) -> tuple[list[Item], list[Problem], dict[str, list[str]]]:
    """Images with their annotations, what is wrong with them, and the lists of ``ImageSets/Main``.

    Args:
        source: the data set.
        format_name: of it, for messages.
        annotations: names that its folder of annotations may have.
        images: names that its folder of images may have.

    Raises:
        UserError: one of the folders is not there.
    """
    of_annotations, of_images = require_folders(source, format_name, annotations, images)
    items, problems = pair(image_files(of_images), files(of_annotations, ".xml"))
    return items, problems, split_lists(source / "ImageSets" / "Main", (item.stem for item in items), problems)


def require_folders(source: Path, format_name: str, *alternatives: tuple[str, ...]) -> list[Path]:
    """The first folder of each tuple of alternatives that is in ``source``.

    Raises:
        UserError: none of them is there; with a hint where a folder inside has them.
    """
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    found = []
    for names in alternatives:
        there = next((folder for name in names if (folder := unpacked(source, name)).is_dir()), None)
        if there is None:
            inner = next((p for p in sorted(source.glob("*")) if any((p / name).is_dir() for name in names)), None)
            hint = f"; did you mean {str(inner)!r}?" if inner else "; give the folder that holds it"
            raise UserError(f"{source}: not {format_name}, there is no {' or '.join(map(repr, names))} in it{hint}")
        found.append(there)
    return found
