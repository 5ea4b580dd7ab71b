"""A COCO JSON file, every value of which may be anything: checked records, or problems that name the record's id."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from data_prep.source import Box, Problem, checked_box
from data_prep.source_files import inside

_KEYS = ("images", "annotations", "categories")
CUT = "cut_boxes_xywh_px"
"""A key of images that fsod has cut from others, also where nothing was cut off."""
_SLACK_PX = 1.0
_MAX_ID = 2**53
_MAX_NUMBER = 1e9


@dataclass(frozen=True)
class LabelledImage:
    """An image and its annotations.

    Attributes:
        file: the JSON that it is in.
        list_name: what the JSON is called.
        id: in the JSON.
        path: the image file.
        size_px: width and height that the JSON says, None where it does not.
        gsd_m: ground size of a pixel, as the prepared folders of fsod have it.
        annotations: id, class name and bbox, as they stand in the JSON.
    """

    file: Path
    list_name: str
    id: int
    path: Path
    size_px: tuple[float, float] | None
    gsd_m: float | None
    annotations: list[tuple[Any, str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class CocoFile:
    """A JSON file.

    Attributes:
        path: the file.
        class_names: in the order of the categories' ids.
        images: those that are there.
        crowds: number of annotations left out because they stand for a crowd.
    """

    path: Path
    class_names: tuple[str, ...]
    images: list[LabelledImage]
    crowds: int


def read_file(path: Path, root: Path, problems: list[Problem]) -> CocoFile | None:
    """Reads a file; None if it is not in the form of COCO, which is a problem only if it is no JSON at all.

    Args:
        path: the JSON.
        root: images must lie inside.
        problems: gets what cannot be used.
    """
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        problems.append(Problem(path, f"is not valid JSON: {error.msg}", error.lineno))
        return None
    except (ValueError, RecursionError) as error:  # no Unicode, a number of too many digits, too deeply nested
        problems.append(Problem(path, f"is not valid JSON: {error}"))
        return None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in _KEYS):
        return None
    classes = _classes(content["categories"], path, problems)
    images = _images(content["images"], path, root, problems)
    crowds = 0
    for record in content["annotations"]:
        if isinstance(record, dict) and record.get("iscrowd") == 1:
            crowds += 1
        elif why := _attach(record, images, classes):
            problems.append(Problem(path, f"annotation {_id(record)}: {why}"))
    return CocoFile(path, tuple(classes.values()), [image for image in images.values() if image is not None], crowds)


def read_annotations(image: LabelledImage, size_px: tuple[int, int]) -> Iterator[Box | Problem]:
    """The boxes of an image of ``size_px`` (width, height), and what is wrong with others."""
    if image.size_px not in (None, size_px):
        said = "x".join(f"{side:g}" for side in image.size_px or ())
        why = f"image {image.id}: is said to be {said} px, but {image.path.name} is {size_px[0]}x{size_px[1]}"
        yield Problem(image.file, why, loses_image=True)
        return
    for annotation_id, class_name, bbox in image.annotations:
        box = _box(class_name, bbox, size_px)
        yield box if isinstance(box, Box) else Problem(image.file, f"annotation {_short(annotation_id)}: {box}")


def _classes(records: list[Any], path: Path, problems: list[Problem]) -> dict[int, str]:
    """Category id -> name, in the order of the ids."""
    names: dict[int, str] = {}
    for record in records:
        name = record.get("name") if isinstance(record, dict) else None
        if not isinstance(name, str) or not name.strip() or not _is_id(record.get("id")):
            problems.append(Problem(path, f"category {_id(record)}: expected an id and a name"))
        elif record["id"] in names or name.strip() in names.values():
            problems.append(Problem(path, f"category {_id(record)}: its id or its name {_short(name)} is there twice"))
        else:
            names[record["id"]] = name.strip()
    return dict(sorted(names.items()))


def _images(records: list[Any], path: Path, root: Path, problems: list[Problem]) -> dict[int, LabelledImage | None]:
    """Images by id; None for one that is there but cannot be used."""
    images: dict[int, LabelledImage | None] = {}
    for record in records:
        name = record.get("file_name") if isinstance(record, dict) else None
        if not isinstance(name, str) or not name or not _is_id(record.get("id")):
            problems.append(Problem(path, f"image {_id(record)}: expected an id and a file_name"))
        elif CUT in record:
            why = "was cut from another, of which this reader knows nothing; read the folder as format prepared"
            problems.append(Problem(path, f"image {_id(record)}: {why}"))
            images[record["id"]] = None
        elif record["id"] in images:
            problems.append(Problem(path, f"image {_id(record)}: its id is there twice"))
        else:
            image = images[record["id"]] = _image(record, path, root)
            if image is None:
                problems.append(Problem(path, f"image {_id(record)}: there is no {_short(name)} in {root}"))
    return images


def _image(record: dict[str, Any], path: Path, root: Path) -> LabelledImage | None:
    list_name = path.parent.name if path.name.startswith("_") else path.stem.removeprefix("instances_")
    folders = [base / way for base in (path.parent, path.parent.parent) for way in ("", "images", list_name)]
    folders += [base / "images" / list_name for base in (path.parent, path.parent.parent)]
    file = next((found for folder in folders if (found := inside(folder / record["file_name"], root))), None)
    if file is None or not file.is_file():
        return None
    width, height, gsd_m = (value if _is_real(value := record.get(key)) else 0 for key in ("width", "height", "gsd_m"))
    size_px = (width, height) if width and height else None
    file = Path(os.path.normpath(file))
    return LabelledImage(path, list_name, record["id"], file, size_px, gsd_m if gsd_m > 0 else None)


def _attach(record: object, images: dict[int, LabelledImage | None], classes: dict[int, str]) -> str | None:
    """Gives an annotation to its image, or says what is wrong with it."""
    if not isinstance(record, dict):
        return "expected keys and values"
    image_id, category_id = record.get("image_id"), record.get("category_id")
    if not _is_id(image_id) or image_id not in images:
        return f"image_id {_short(image_id)} is not among the images"
    if not _is_id(category_id) or category_id not in classes:
        return f"category_id {_short(category_id)} is not among the categories"
    image = images[image_id]
    if image is not None:  # else the image is the problem, and has been named
        image.annotations.append((record.get("id"), classes[category_id], record.get("bbox")))
    return None


def _box(class_name: str, bbox: object, size_px: tuple[int, int]) -> Box | str:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_real(side) for side in bbox):
        return f"bbox is {_short(bbox)}, expected x, y, width, height"
    x, y, width, height = bbox
    return checked_box(class_name, (x, y, x + width, y + height), size_px, slack_px=_SLACK_PX)


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_ID


def _is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER


def _id(record: object) -> str:
    return _short(record.get("id") if isinstance(record, dict) else record)


def _short(value: object) -> str:
    return reprlib.repr(value)[:60]  # plain repr gives up on what is nested deeply
