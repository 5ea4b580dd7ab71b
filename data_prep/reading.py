"""From what a reader found to a prepared folder: the part that all readers share.

A reader looks over a data set without opening an image and returns a :class:`data_prep.source.Source`. Here every image is
opened, the reader is asked for its boxes, and the folder is written. The first problem is raised, or with ``skip_bad`` all
are listed in the card and the images that have any are left out: with an object missing, an image would say that there is
nothing but background at its place. Nothing is repaired.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.annotations import add_box, no_annotations
from data_prep.content import content_of
from data_prep.folder import (
    count_boxes,
    count_classes,
    finished_card,
    folder_under_construction,
    in_threads,
    names_alike,
    write_folder,
)
from data_prep.pictures import Picture, open_picture
from data_prep.source import Box, Item, Problem, Source
from fsod.errors import UserError
from fsod.progress import warn


@dataclass(frozen=True)
class _Reading:
    """What an item gave; ``entry`` is its COCO image record, None if it was left out."""

    entry: dict[str, Any] | None
    boxes: list[Box]
    problems: list[Problem]


def write_source(source: Source, out: Path, *, skip_bad: bool) -> dict[str, Any]:
    """Writes a prepared folder. All or nothing: ``out`` appears when it is complete.

    If ``out`` is there already, made from the same content, nothing is done. Image files are hard-linked, or copied where
    they cannot be; see :mod:`data_prep.pictures` for those that must be encoded anew.

    Args:
        source: what a reader found.
        out: the folder to write.
        skip_bad: leave out images with anything that cannot be used, and list it in the card, instead of raising at the
            first.

    Returns:
        The card, as written to ``out/card.json``.

    Raises:
        UserError: nothing to read; unless ``skip_bad``, the first problem, with file and line.
    """
    fingerprint = _fingerprint(source, skip_bad)
    if card := finished_card(out, fingerprint):
        return card
    _raise_first(source.problems, skip_bad)
    if not source.items:
        raise UserError(f"{source.root}: holds no image that can be used as {source.format}")
    with folder_under_construction(out) as folder:
        readings = _read_all(source, folder / "images", skip_bad)
        good = [reading for reading in readings if reading.entry is not None]
        problems = [*source.problems, *(problem for reading in readings for problem in reading.problems)]
        if not good:
            raise UserError(f"{problems[0].place()}: {problems[0].why}; and no other image can be used either")
        coco = _coco(good, source.class_names)
        stems = {item.stem for item, reading in zip(source.items, readings, strict=True) if reading.entry is not None}
        lists = {name: [i for i in ids if i in stems] for name, ids in source.lists.items()}
        card = {
            "format": source.format,
            "source": str(source.root),
            "fingerprint": fingerprint,
            "images": len(coco["images"]),
            "images_without_boxes": sum(not reading.boxes for reading in good),
            "images_scaled_to_png": sum("pixels" in image for image in coco["images"]),
            "boxes": count_boxes(coco),
            "crowds": len(coco["annotations"]) - count_boxes(coco),
            "boxes_clipped": sum(box.clipped for reading in good for box in reading.boxes),
            "boxes_difficult": sum(box.difficult for reading in good for box in reading.boxes),
            "classes": count_classes(coco),
            "warnings": names_alike(coco),
            "refused": [{"where": problem.place(source.root), "why": problem.why} for problem in problems],
            "lists": _list_counts(source.lists, lists, stems),
            **source.card,
        }
        write_folder(folder, coco, lists, card)
    warn(card["warnings"])
    return card


def _fingerprint(source: Source, skip_bad: bool) -> str:
    """Hash of the boxes' files, the images and what belongs to them, and what else decides the result."""
    problems = [(problem.place(source.root), problem.why) for problem in source.problems]
    found = (source.format, 3, skip_bad, problems, source.class_names, source.lists, source.card)
    content = hashlib.sha256(repr(found).encode())
    try:
        for item in source.items:
            truth = item.truth.read_bytes() if item.truth else b""
            content.update(f"{item.id} {item.stem} {len(truth)} ".encode() + truth)
        for path in source.deciding:
            content.update(path.read_bytes())
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from error
    content.update(content_of([item.image for item in source.items], "looking for changes").encode())
    return content.hexdigest()


def _raise_first(problems: list[Problem], skip_bad: bool) -> None:
    if problems and not skip_bad:
        raise UserError(f"{problems[0].place()}: {problems[0].why}; fix it, or leave such items out with skip_bad")


def _read_all(source: Source, images: Path, skip_bad: bool) -> list[_Reading]:
    return in_threads(lambda i: _read(source, i, images, skip_bad), source.items, f"reading {source.format}")


def _read(source: Source, item: Item, images: Path, skip_bad: bool) -> _Reading:
    """Opens the whole image, checks its boxes and puts it into the folder."""
    found: list[Box | Problem] = []
    picture: Picture | None = None
    try:
        picture = open_picture(item.image)
        found += source.read(item, (picture.width_px, picture.height_px))
    except UserError as error:
        found.append(Problem(item.image, str(error).removeprefix(f"{item.image}: ")))
    problems = [entry for entry in found if isinstance(entry, Problem)]
    _raise_first(problems, skip_bad)
    boxes = [entry for entry in found if isinstance(entry, Box)]
    if picture is None or problems:
        return _Reading(None, [], problems)
    return _Reading(_entry(item, picture, images), boxes, problems)


def _entry(item: Item, picture: Picture, images: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": item.id,
        "file_name": picture.place(images, item.stem),
        "width": picture.width_px,
        "height": picture.height_px,
    }
    if (gsd_m := item.gsd_m or picture.gsd_m) is not None:
        entry["gsd_m"] = gsd_m
    if picture.scaling is not None:
        entry["pixels"] = picture.scaling
    return entry


def _coco(readings: list[_Reading], class_names: tuple[str, ...] | None) -> dict[str, Any]:
    names = class_names or sorted({box.class_name for reading in readings for box in reading.boxes})
    class_ids = {name: i for i, name in enumerate(names)}
    coco = no_annotations(class_ids)
    for reading in readings:
        assert reading.entry is not None
        coco["images"].append(reading.entry)
        for box in reading.boxes:
            more = {"difficult": 1} if box.difficult else {}
            add_box(coco, box.xyxy_px, class_ids[box.class_name], **more, iscrowd=int(box.crowd))
    return coco


def _list_counts(asked: dict[str, list[str]], written: dict[str, list[str]], stems: set[str]) -> dict[str, Any]:
    counts: dict[str, Any] = {
        name: {"listed": len(asked[name]), "written": len(ids), "absent": len(asked[name]) - len(ids)}
        for name, ids in written.items()
    }
    counts["images_in_no_list"] = len(stems.difference(*written.values()))
    return counts
