"""NWPU VHR-10 in its official layout, as it comes out of the archive.

::

    SOURCE/positive image set/NNN.jpg
    SOURCE/ground truth/NNN.txt         one box a line: (x1,y1),(x2,y2),class number 1..10
    SOURCE/negative image set/NNN.jpg   optional; images without any object

The lines hold stray spaces inside the brackets and after the class, some files have Windows line ends or blank lines.

Coordinates are whole pixels that count from 0 and become box edges as they stand: x = x1, y = y1, width = x2 - x1,
height = y2 - y1. The official text does not say where they count from; the images do. In 517 of them coordinates run from
1 to size - 1. Matching the brightness edges at opposite sides of 500 pairs of sides (tanks, diamonds, courts, track fields) puts
the objects 0.46 +- 0.08 px right of and below the centre of (x1, y1, x2, y2). Counting from 1 would give -0.5, counting
from 0 with x2 the last pixel inside +0.5. Widening boxes by that last pixel would gain half a pixel and part from the
x2 - x1 that published results use, so it is not done.

The lists ``train`` and ``test`` are ours, not official: NWPU VHR-10 overlaps itself, and they keep images that show the
same ground on one side. They cover the 517 positive images that we could look at; the others are in neither list.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.folder import (
    count_classes,
    finished_card,
    folder_under_construction,
    in_threads,
    place_file,
    write_folder,
)
from fsod.data.coco import read_ids, read_rgb
from fsod.errors import UserError

CLASS_NAMES = (
    "airplane",
    "ship",
    "storage tank",
    "baseball diamond",
    "tennis court",
    "basketball court",
    "ground track field",
    "harbor",
    "bridge",
    "vehicle",
)
POSITIVE, NEGATIVE, TRUTH = "positive image set", "negative image set", "ground truth"
FIRST_NEGATIVE_ID = 1001
SPLITS = Path(__file__).parent / "splits" / "nwpu_vhr10"

_POINT = r"\(\s*(-?\d{1,6})\s*,\s*(-?\d{1,6})\s*\)"
_LINE = re.compile(rf"{_POINT}\s*,\s*{_POINT}\s*,\s*(\d{{1,6}})", re.ASCII)


@dataclass(frozen=True)
class _Item:
    """An image of the source, as it was named there and as it will be named here."""

    path: Path
    truth: Path | None
    id: int
    stem: str


@dataclass
class _Reading:
    """What an image and its ground truth gave."""

    size_px: tuple[int, int] | None = None
    boxes: list[tuple[list[int], int]] = field(default_factory=list)  # x, y, width, height in pixels; category
    problems: list[tuple[Path, str]] = field(default_factory=list)


def prepare_nwpu(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Reads NWPU VHR-10 and writes a prepared folder.

    The COCO image id is the image's number; negative image 1 gets id 1001 and the name ``neg_001``. Image files are
    hard-linked, or copied where they cannot be, never encoded again. All or nothing: ``out`` appears when it is
    complete. If it is there already, made from the same content, nothing is done.

    Args:
        source: the folder that holds ``positive image set`` and ``ground truth``.
        out: the folder to write.
        skip_bad: leave out what cannot be used and list it in the card instead of raising at the first: a line leaves
            out its box, a damaged image, or a positive one without a single good box, leaves out the image.

    Returns:
        The card, as written to ``out/card.json``: counts of images and boxes, what was refused and why, how many of the
        ids on our lists the source has.

    Raises:
        UserError: not this layout, or (unless ``skip_bad``) a malformed line, unknown class number, box outside its
            image or without area, damaged image, image without ground truth or the reverse; names file and line.
    """
    items, problems = _find_items(source)
    fingerprint = _fingerprint(items, problems, skip_bad)
    if card := finished_card(out, fingerprint):
        return card
    _raise_first(problems, skip_bad)
    with folder_under_construction(out) as folder:
        readings = in_threads(lambda item: _read(item, skip_bad), items, "reading NWPU VHR-10")
        good = [(item, reading) for item, reading in zip(items, readings, strict=True) if reading.size_px]
        problems += [problem for reading in readings for problem in reading.problems]
        for item, _ in good:
            place_file(item.path, folder / "images" / f"{item.stem}.jpg")
        coco = _coco(good)
        lists, list_counts = _lists({item.stem for item, _ in good})
        card = {
            "format": "nwpu_vhr10",
            "source": str(source),
            "fingerprint": fingerprint,
            "images": len(coco["images"]),
            "negative_images": sum(item.truth is None for item, _ in good),
            "boxes": len(coco["annotations"]),
            "classes": count_classes(coco),
            "refused": [{"where": where, "why": why} for where, why in _places(problems, source)],
            "lists": list_counts,
        }
        write_folder(folder, coco, lists, card)
    return card


def _find_items(source: Path) -> tuple[list[_Item], list[tuple[Path, str]]]:
    """The images of the source, sorted by id, and what does not fit the layout."""
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    for name in (POSITIVE, TRUTH):
        if not (source / name).is_dir():
            inner = next((p.parent for p in source.glob(f"*/{name}")), None)
            hint = f"; did you mean {str(inner)!r}?" if inner else "; give the folder that holds it"
            raise UserError(f"{source}: not NWPU VHR-10, there is no {name!r} in it{hint}")
    items: dict[int, _Item] = {}
    problems: list[tuple[Path, str]] = []
    truths = {p.stem: p for p in _files(source / TRUTH, ".txt")}
    for path in [*_files(source / POSITIVE, ".jpg"), *_files(source / NEGATIVE, ".jpg")]:
        negative = path.parent.name == NEGATIVE
        truth = None if negative else truths.pop(path.stem, None)
        if not re.fullmatch(r"0*[1-9]\d{0,2}", path.stem, re.ASCII):
            problems.append((path, "is not named by a number of 1 to 999"))
        elif not negative and truth is None:
            problems.append((path, f"has no ground truth ({TRUTH}/{path.stem}.txt)"))
        else:
            number = int(path.stem)
            item = _Item(path, truth, number, f"{number:03d}")
            if negative:
                item = _Item(path, None, FIRST_NEGATIVE_ID - 1 + number, f"neg_{number:03d}")
            if item.id in items:
                problems.append((path, f"has the number of {items[item.id].path.name}"))
            else:
                items[item.id] = item
    problems += [(truth, f"has no image ({POSITIVE}/{truth.stem}.jpg)") for truth in truths.values()]
    return [items[i] for i in sorted(items)], problems


def _files(folder: Path, suffix: str) -> list[Path]:
    """Files of a kind, sorted, without the hidden ones that some systems leave behind (._001.jpg)."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() == suffix and not p.name.startswith("."))


def _fingerprint(items: list[_Item], problems: list[tuple[Path, str]], skip_bad: bool) -> str:
    """Hash of the ground truth's bytes, the images' names and sizes, and what else decides the result."""
    content = hashlib.sha256(f"nwpu_vhr10 1 {skip_bad} {[(p.name, why) for p, why in problems]}".encode())
    for item in items:
        truth = item.truth.read_bytes() if item.truth else b""
        content.update(f"{item.stem} {item.path.stat().st_size} {len(truth)} ".encode() + truth)
    for name in ("train", "test"):
        content.update((SPLITS / f"{name}.txt").read_bytes())
    return content.hexdigest()


def _raise_first(problems: list[tuple[Path, str]], skip_bad: bool) -> None:
    if problems and not skip_bad:
        where, why = problems[0]
        raise UserError(f"{where}: {why}; mend it, or leave such items out with skip_bad")


def _read(item: _Item, skip_bad: bool) -> _Reading:
    """Opens the whole image and checks every line of its ground truth."""
    reading = _Reading()
    try:
        height, width = read_rgb(item.path).shape[:2]
    except UserError as error:
        reading.problems.append((item.path, str(error).removeprefix(f"{item.path}: ")))
        _raise_first(reading.problems, skip_bad)
        return reading
    for number, line in _lines(item.truth) if item.truth else ():
        box = _parse(line, width, height)
        if isinstance(box, str):
            reading.problems.append((Path(f"{item.truth}:{number}"), box))
        else:
            reading.boxes.append(box)
    if item.truth and not reading.boxes:
        reading.problems.append((item.truth, "holds no usable box, but its image is in the positive set"))
    else:
        reading.size_px = width, height
    _raise_first(reading.problems, skip_bad)
    return reading


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers, from 1, and lines that are not blank."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return ((n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip())


def _parse(line: str, width: int, height: int) -> tuple[list[int], int] | str:
    """A box as x, y, width, height in pixels with its category, or what is wrong with the line."""
    match = _LINE.fullmatch(line)
    if match is None:
        return f"malformed line {line[:60]!r}, expected (x1,y1),(x2,y2),class"
    x1, y1, x2, y2, category = map(int, match.groups())
    if not 1 <= category <= len(CLASS_NAMES):
        return f"unknown class number {category}, expected 1 to {len(CLASS_NAMES)}"
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        return f"box ({x1},{y1}),({x2},{y2}) lies outside its image of {width}x{height} px"
    if x1 >= x2 or y1 >= y2:
        return f"box ({x1},{y1}),({x2},{y2}) has no area"
    return [x1, y1, x2 - x1, y2 - y1], category


def _coco(good: list[tuple[_Item, _Reading]]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for item, reading in good:
        assert reading.size_px is not None
        width, height = reading.size_px
        images.append({"id": item.id, "file_name": f"{item.stem}.jpg", "width": width, "height": height})
        for bbox, category in reading.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": item.id,
                    "category_id": category,
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, 1)]
    return {"images": images, "categories": categories, "annotations": annotations}


def _lists(stems: set[str]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Our lists cut down to the images that are there, and how many of each that leaves."""
    ours = {name: read_ids(SPLITS / f"{name}.txt") for name in ("train", "test")}
    lists = {name: [i for i in ids if i in stems] for name, ids in ours.items()}
    counts: dict[str, Any] = {
        name: {"listed": len(ours[name]), "written": len(ids), "absent": len(ours[name]) - len(ids)}
        for name, ids in lists.items()
    }
    counts["images_in_no_list"] = len(stems - set(lists["train"]) - set(lists["test"]))
    return lists, counts


def _places(problems: list[tuple[Path, str]], source: Path) -> list[tuple[str, str]]:
    return [(str(where.relative_to(source)), why) for where, why in problems]
