"""A COCO JSON file, every value of which may be anything: checked records, or problems that name the record's id."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from data_prep.source import Box, Problem, checked_box
from data_prep.source_files import foreign_ends, inside, is_set, spellings
from fsod.errors import UserError, is_name

_KEYS = ("images", "annotations", "categories")
CUT = "cut_boxes_xywh_px"
"""A key of images that fsod has cut from others, also where nothing was cut off."""
_SLACK_PX = 1.0
_MAX_ID = 2**53
_MAX_NUMBER = 1e9

Id = int | str
"""Of an image or a category: whole numbers also where the JSON has them as text or with a fraction of 0."""


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
        annotations: as they stand in the JSON, with the names of their classes.
        problems: of annotations that cannot be used, whatever the image holds.
    """

    file: Path
    list_name: str
    id: Id
    path: Path
    size_px: tuple[float, float] | None
    gsd_m: float | None
    annotations: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class CocoFile:
    """A JSON file.

    Attributes:
        path: the file.
        class_names: in the order of the categories' ids.
        images: those that are there.
    """

    path: Path
    class_names: tuple[str, ...]
    images: list[LabelledImage]


def read_file(path: Path, root: Path, problems: list[Problem]) -> CocoFile | None:
    """Reads a file; None if it is not in the form of COCO, which is a problem only if it is no JSON at all.

    Args:
        path: the JSON.
        root: images must lie inside.
        problems: gets what cannot be used.

    Raises:
        UserError: an annotation that may belong to any of the images, so that nobody can leave out those it belongs to.
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
    for record in content["annotations"]:
        if why := _attach(record, images, classes, path):
            problems.append(Problem(path, f"annotation {_id(record)}: {why}"))
    found = [image for image in images.values() if image is not None]
    used = {name for image in found for _, name in image.annotations}
    parents = _parents(content["categories"]) - used
    names = dict.fromkeys(name for name in classes.values() if name is not None and name not in parents)
    return CocoFile(path, tuple(names), found)


def read_annotations(image: LabelledImage, size_px: tuple[int, int]) -> Iterator[Box | Problem]:
    """The boxes of an image of ``size_px`` (width, height), and what is wrong with others."""
    if image.size_px not in (None, size_px):
        said = "x".join(f"{side:g}" for side in image.size_px or ())
        why = f"image {image.id}: is said to be {said} px, but {image.path.name} is {size_px[0]}x{size_px[1]}"
        yield Problem(image.file, why)
        return
    yield from image.problems
    for record, class_name in image.annotations:
        box = _box(record, class_name, size_px)
        yield box if isinstance(box, Box) else Problem(image.file, f"annotation {_id(record)}: {box}")


def _classes(records: list[Any], path: Path, problems: list[Problem]) -> dict[Id, str | None]:
    """Category id -> name, in the order of the ids; None for one without a usable name. Several may have one name."""
    names: dict[Id, str | None] = {}
    for record in records:
        said, category = (record.get("name"), as_id(record.get("id"))) if isinstance(record, dict) else (None, None)
        name: str | None = said.strip() if isinstance(said, str) and is_name(said.strip()) else None
        if category is None or not name:
            problems.append(Problem(path, f"category {_id(record)}: expected an id and a name that can be printed"))
        elif names.get(category, name) != name:
            problems.append(Problem(path, f"category {_id(record)}: its id is there twice, with two names"))
            name = None
        if category is not None:
            names[category] = name or None
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _parents(records: list[Any]) -> set[str]:
    """Names that others call their supercategory and that have none: of Roboflow's projects, which label nothing."""
    sound = [record for record in records if isinstance(record, dict)]
    above = {record.get("supercategory") for record in sound if isinstance(record.get("supercategory"), str)}
    tops = (record for record in sound if record.get("supercategory") in (None, "", "none"))
    return {name.strip() for record in tops if isinstance(name := record.get("name"), str) and name in above}


def _images(records: list[Any], path: Path, root: Path, problems: list[Problem]) -> dict[Id, LabelledImage | None]:
    """Images by id; None for one that is there but cannot be used."""
    images: dict[Id, LabelledImage | None] = {}
    for record in records:
        name, image_id = (
            (record.get("file_name"), as_id(record.get("id"))) if isinstance(record, dict) else (None, None)
        )
        if not isinstance(name, str) or not name or image_id is None:
            problems.append(Problem(path, f"image {_id(record)}: expected an id and a file_name"))
        elif CUT in record:
            why = "was cut from another, of which this reader knows nothing; read the folder as format prepared"
            problems.append(Problem(path, f"image {_id(record)}: {why}"))
            images[image_id] = None
        elif image_id in images:
            problems.append(Problem(path, f"image {_id(record)}: its id is there twice"))
            images[image_id] = None
        else:
            image = images[image_id] = _image(record, image_id, path, root)
            if image is None:
                problems.append(Problem(path, f"image {_id(record)}: there is no {_short(name)} in {root}"))
    return images


def _image(record: dict[str, Any], image_id: Id, path: Path, root: Path) -> LabelledImage | None:
    own = path.name.startswith("_") or path.stem == "labels"
    list_name = path.parent.name if own else path.stem.removeprefix("instances_")
    folders = [base / way for base in (path.parent, path.parent.parent) for way in ("", "images", "data", list_name)]
    folders += [base / "images" / list_name for base in (path.parent, path.parent.parent)]
    names = [end for name in spellings(record["file_name"]) for end in foreign_ends(name)]
    found = (inside(folder / name, root) for name in names for folder in folders)
    file = next((file for file in found if file is not None and not file.is_dir()), None)
    if file is None:
        return None
    width, height, gsd_m = (value if _is_real(value := record.get(key)) else 0 for key in ("width", "height", "gsd_m"))
    size_px = (width, height) if width and height else None
    return LabelledImage(path, list_name, image_id, file, size_px, gsd_m if gsd_m > 0 else None)


def _attach(
    record: object, images: dict[Id, LabelledImage | None], classes: dict[Id, str | None], path: Path
) -> str | None:
    """Gives an annotation, or what is wrong with it, to its image; says so if that is not in the file."""
    image_id = as_id(record.get("image_id")) if isinstance(record, dict) else None
    if not isinstance(record, dict) or image_id is None:
        what = _short(record.get("image_id")) if isinstance(record, dict) else "not there"
        raise UserError(
            f"{path}: annotation {_id(record)}: its image_id is {what}, so it may be of any image; fix it or remove it"
        )
    if image_id not in images:
        return f"image_id {_short(image_id)} is not among the images"
    image, category = images[image_id], as_id(record.get("category_id"))
    name = None if category is None else classes.get(category)
    if image is None:  # which is the problem, and has been named
        return None
    if name is None:
        why = f"category_id {_short(record.get('category_id'))} is not among the categories"
        image.problems.append(Problem(path, f"annotation {_id(record)}: {why}"))
    else:
        image.annotations.append((record, name))
    return None


def _box(record: dict[str, Any], class_name: str, size_px: tuple[int, int]) -> Box | str:
    bbox, marks = record.get("bbox"), {key: is_set(record.get(key)) for key in ("iscrowd", "difficult", "ignore")}
    for key, mark in marks.items():
        if mark is None:
            return f"{key} is {_short(record.get(key))}, expected 0 or 1"
    if bbox is None or bbox == []:
        xyxy = _hull(record.get("segmentation"))
        if xyxy is None:
            return f"bbox is {_short(bbox)}, and there is no polygon"
    elif isinstance(bbox, list) and len(bbox) == 4 and all(_is_real(side) for side in bbox):
        x, y, width, height = bbox
        xyxy = x, y, x + width, y + height
    else:
        return f"bbox is {_short(bbox)}, expected x, y, width, height"
    difficult, crowd = bool(marks["difficult"] or marks["ignore"]), bool(marks["iscrowd"])
    return checked_box(class_name, xyxy, size_px, slack_px=_SLACK_PX, difficult=difficult, crowd=crowd)


def _hull(polygons: object) -> tuple[float, float, float, float] | None:
    """The box around polygons, [[x, y, x, y, ...], ...]; None if they are none."""
    if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
        return None
    if not all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons):
        return None
    xs, ys = ([side for polygon in polygons for side in polygon[start::2]] for start in (0, 1))
    if not xs or not all(_is_real(side) for side in (*xs, *ys)):
        return None
    return min(xs), min(ys), max(xs), max(ys)


def as_id(value: object) -> Id | None:
    """What an id stands for: a number however it is written, else a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        text = value.strip()
        return int(text) if re.fullmatch(r"0|[1-9]\d{0,14}", text, re.ASCII) else text[:1000] or None
    return int(value) if 0 <= value < _MAX_ID and value == int(value) else None


def _is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER


def _id(record: object) -> str:
    return _short(record.get("id") if isinstance(record, dict) else record)


def _short(value: object) -> str:
    try:
        return reprlib.repr(value)[:60]  # plain repr gives up on what is nested deeply
    except ValueError:  # a number of more digits than Python writes
        return "a number of thousands of digits"
