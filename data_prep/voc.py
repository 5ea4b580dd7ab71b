"""Pascal VOC, the data set itself or one in its layout.

::

    SOURCE/Annotations/NAME.xml
    SOURCE/JPEGImages/NAME.jpg             or any other image format
    SOURCE/ImageSets/Main/{train,val,trainval,test}.txt   optional

    SOURCE/Annotations/NAME.xml, SOURCE/images/NAME.jpg   as Label Studio exports it
    SOURCE/{train,valid,test}/NAME.{xml,jpg}              as Roboflow does, each folder a list; or SOURCE/NAME.{xml,jpg}

Image and annotation belong together by name; ``<filename>`` and ``<path>`` are often wrong and not looked at. The classes
are those that the files name, in alphabetical order. Boxes of ``<part>`` are not read. ``<difficult>`` objects are kept,
marked ``difficult`` in the annotations and counted in the card.

Coordinates: the VOC development kit counts pixels from 1, and ``xmax``, ``ymax`` are the last pixel inside. So
x = xmin - 1, y = ymin - 1, width = xmax - xmin + 1, height = ymax - ymin + 1. Drawing tools that write this form (labelImg,
CVAT) do not follow: their numbers are edges that count from 0. Format ``voc`` reads the former, ``voc-edges`` the latter;
nothing in a file tells which it is but a 0, which ``voc`` refuses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from data_prep.reading import write_source
from data_prep.source import Source
from data_prep.source_files import files, image_files, pair
from data_prep.voc_xml import voc_boxes, voc_items


def prepare_voc(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Reads a data set in the layout of Pascal VOC and writes a prepared folder.

    Args:
        source: the folder that holds ``Annotations`` and ``JPEGImages``, or annotations beside their images.
        out: the folder to write.
        skip_bad: leave out images with anything that cannot be used instead of raising at the first; the card lists it.

    Returns:
        The card; see :func:`data_prep.reading.write_source`.

    Raises:
        UserError: not this layout; unless ``skip_bad``, the first thing that cannot be used, with file and line.
    """
    return _prepare("voc", source, out, skip_bad, first_px=1)


def prepare_voc_edges(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """As :func:`prepare_voc`, with numbers that are edges and count from 0."""
    return _prepare("voc-edges", source, out, skip_bad, first_px=0)


def _flat_parts(source: Path) -> dict[str, Path]:
    """The folders that hold annotations beside their images, by the names of their lists; the whole has none."""
    folders = {"": source, **{name: source / name for name in ("train", "valid", "val", "test")}}
    return {name: folder for name, folder in folders.items() if files(folder, ".xml") and image_files(folder)}


def _prepare(name: str, source: Path, out: Path, skip_bad: bool, first_px: Literal[0, 1]) -> dict[str, Any]:
    flat = _flat_parts(source) if not (source / "Annotations").is_dir() else {}
    if flat:
        images, truths = (
            [path for folder in flat.values() for path in found(folder)]
            for found in (image_files, lambda folder: files(folder, ".xml"))
        )
        items, problems = pair(images, truths)
        of_part = {part: [item.stem for item in items if item.image.parent == folder] for part, folder in flat.items()}
        lists = {part: stems for part, stems in of_part.items() if part}
    else:
        annotations, folders = ("Annotations", "annotations"), ("JPEGImages", "images")
        items, problems, lists = voc_items(source, "Pascal VOC", annotations, folders)
    found = Source(
        name,
        source,
        items,
        lambda item, size_px: voc_boxes(item, size_px, str, first_px=first_px),
        problems,
        lists=lists,
    )
    return write_source(found, out, skip_bad=skip_bad)
