"""What may be wrong with a prepared folder's annotations and lists, and what would set it right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_prep.entries import Entry
from fsod.boxes import iou

KINDS = {
    "malformed": "an entry lacks a key or has a value of the wrong type; left out",
    "repeated_id": "two entries share an id or a class name; annotations get a new id, others are not fixed",
    "unknown_class": "a box of a category that is not declared; left out",
    "unknown_image": "a box of an image that is not there; left out",
    "no_area": "a box without width or height; left out",
    "out_of_bounds": "a box beyond its image; clipped, or left out where nothing of it is inside",
    "doubled_box": "two boxes of one class on the same object; the later one is left out",
    "two_classes": "two boxes of different classes on the same object; not fixed",
    "unreadable_image": "an image that is missing, damaged or truncated; left out with its boxes",
    "wrong_size": "an image of another size than the annotations say; not fixed",
    "bad_list": "a list that is empty or names an image that is not there; the line is left out",
    "duplicate_image": "images with the same pixels; not fixed",
    "overlap": "images that show the same ground; not fixed",
    "leakage": "images on two lists, or on the same ground as one on another list; not fixed",
    "does_not_load": "fsod refuses the folder for another reason; not fixed",
}
"""Every kind of finding, what it means and what ``--fix`` does about it."""

SAME_BOX_IOU = 0.9
_ROUNDING_PX = 0.01  # a rounding error of the last decimal is no news


@dataclass(frozen=True)
class Change:
    """What sets an entry right.

    Attributes:
        section: the entry's.
        position: the entry's.
        update: keys and new values; None leaves the entry out.
    """

    section: str
    position: int
    update: dict[str, Any] | None = None


@dataclass(frozen=True)
class Finding:
    """Something wrong.

    Attributes:
        kind: one of :data:`KINDS`.
        where: file in the folder, with the line where it has any.
        what: the entry's id and what is wrong with it.
        change: what sets it right; None where that cannot be decided from the data.
    """

    kind: str
    where: str
    what: str
    change: Change | None = None


def leave_out(kind: str, entry: Entry, what: str) -> Finding:
    """A finding that is set right by leaving the entry out."""
    return Finding(kind, entry.where, what, Change(entry.section, entry.position))


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Category(_Strict):
    id: int
    name: Annotated[str, Field(min_length=1)]


class _Image(_Strict):
    id: int
    file_name: Annotated[str, Field(min_length=1)]
    width: Annotated[float, Field(ge=1)]
    height: Annotated[float, Field(ge=1)]
    gsd_m: Annotated[float, Field(gt=0)] | None = None


class _Annotation(_Strict):
    id: int
    image_id: int
    category_id: int
    bbox: Annotated[list[float], Field(min_length=4, max_length=4)]


_MODELS: dict[str, type[_Strict]] = {"categories": _Category, "images": _Image, "annotations": _Annotation}


def check_form(entries: dict[str, list[Entry]]) -> tuple[dict[str, list[Entry]], list[Finding]]:
    """The entries that have all an entry needs, and what is wrong with the others.

    Args:
        entries: as :func:`data_prep.entries.read_entries` gives them.

    Returns:
        Sound entries by section; findings ``malformed`` and ``repeated_id``. Of several with one id all are sound.
    """
    sound: dict[str, list[Entry]] = {section: [] for section in _MODELS}
    findings: list[Finding] = []
    for section in _MODELS:
        for entry in entries[section]:
            if why := _fault(entry):
                findings.append(leave_out("malformed", entry, f"{section}[{entry.position}]: {why}"))
            else:
                sound[section].append(entry)
    for section, key in (("categories", "id"), ("categories", "name"), ("images", "id"), ("annotations", "id")):
        findings += _repeated(sound[section], key)
    return sound, findings


def _fault(entry: Entry) -> str | None:
    try:
        _MODELS[entry.section].model_validate(entry.value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        return f"{key}: {first['msg']}" if key else first["msg"]
    name = PurePosixPath(entry.value.get("file_name", ""))
    if name.is_absolute() or ".." in name.parts:
        return f"file_name: {str(name)!r} lies outside the folder"
    return None


def _repeated(entries: list[Entry], key: str) -> Iterator[Finding]:
    first: dict[Any, Entry] = {}
    free = max((entry.value["id"] for entry in entries), default=0) + 1
    for entry in entries:
        value, change = entry.value[key], None
        if value in first:
            if entry.section == "annotations":  # nothing in the file refers to these
                change, free = Change(entry.section, entry.position, {"id": free}), free + 1
            what = f"{entry.section}[{entry.position}]: {key} {value!r} is taken by line {first[value].line}"
            yield Finding("repeated_id", entry.where, what, change)
        first.setdefault(value, entry)


def check_boxes(sound: dict[str, list[Entry]]) -> list[Finding]:
    """What is wrong with the boxes: class, image, area, bounds, and two of them on one object."""
    names = {entry.value["id"]: entry.value["name"] for entry in sound["categories"]}
    images = {entry.value["id"]: entry.value for entry in sound["images"]}
    findings: list[Finding] = []
    boxes: dict[int, list[Entry]] = {}
    for entry in sound["annotations"]:
        if finding := _box_finding(entry, names, images):
            findings.append(finding)
        kept = finding is None or (finding.change is not None and finding.change.update is not None)
        if kept and not entry.value.get("iscrowd"):  # a crowd may lie on the objects that it is made of
            boxes.setdefault(entry.value["image_id"], []).append(entry)
    for in_image in boxes.values():
        findings += _doubles(in_image, names)
    return findings


def _box_finding(entry: Entry, names: dict[int, str], images: dict[int, dict[str, Any]]) -> Finding | None:
    box = entry.value
    if box["category_id"] not in names:
        known = ", ".join(f"{i} {name}" for i, name in names.items())
        what = f"annotation {box['id']}: category {box['category_id']} is not declared; known: {known}"
        return leave_out("unknown_class", entry, what)
    if box["image_id"] not in images:
        return leave_out("unknown_image", entry, f"annotation {box['id']}: there is no image {box['image_id']}")
    image = images[box["image_id"]]
    what = f"annotation {box['id']} ({names[box['category_id']]}) of {image['file_name']}: bbox {box['bbox']}"
    x, y, width, height = box["bbox"]
    if not (x < x + width and y < y + height):
        return leave_out("no_area", entry, f"{what} has no area")
    edges = np.array([x, y, x + width, y + height])
    inside = np.clip(edges, 0, [image["width"], image["height"]] * 2)
    if np.abs(inside - edges).max() <= _ROUNDING_PX:
        return None
    what += f" reaches beyond {image['width']}x{image['height']} px"
    if (inside[:2] >= inside[2:]).any():
        return leave_out("out_of_bounds", entry, what)
    left, top, right, bottom = inside.tolist()
    update = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
    return Finding("out_of_bounds", entry.where, what, Change(entry.section, entry.position, update))


def _doubles(entries: list[Entry], names: dict[int, str]) -> Iterator[Finding]:
    """Boxes of one image that lie on each other, each named once, with the first that it lies on."""
    xyxy_px = np.array([entry.value["bbox"] for entry in entries], np.float64)
    xyxy_px[:, 2:] += xyxy_px[:, :2]
    same = np.triu(iou(xyxy_px, xyxy_px) >= SAME_BOX_IOU, 1)
    gone: set[int] = set()
    for later in np.flatnonzero(same.any(axis=0)).tolist():
        others = [i for i in np.flatnonzero(same[:, later]).tolist() if i not in gone]
        if not others:
            continue
        box, entry = entries[later].value, entries[later]
        twin = next((i for i in others if entries[i].value["category_id"] == box["category_id"]), None)
        first = entries[others[0] if twin is None else twin].value
        what = f"annotation {box['id']} ({names[box['category_id']]}) lies on annotation {first['id']}"
        if twin is None:
            yield Finding("two_classes", entry.where, f"{what} ({names[first['category_id']]})")
        else:
            gone.add(later)
            yield leave_out("doubled_box", entry, f"{what} of the same class")


def check_lists(sound: dict[str, list[Entry]], lists: dict[str, list[Entry]]) -> list[Finding]:
    """Lists that are empty, and ids on them that select no image."""
    selects = {name for entry in sound["images"] for name in names_of(entry)}
    empty = [Finding("bad_list", section, "the list is empty") for section, ids in lists.items() if not ids]
    unknown = (entry for ids in lists.values() for entry in ids if entry.value not in selects)
    return empty + [leave_out("bad_list", entry, f"there is no image {entry.value!r}") for entry in unknown]


def names_of(image: Entry) -> tuple[str, str, str]:
    """What an id on a list may be to select the image: its stem, its original's, its COCO id."""
    stem = PurePosixPath(image.value["file_name"]).stem
    return stem, str(image.value.get("source", stem)), str(image.value["id"])
