"""NWPU VHR-10 in its official layout, as it comes out of the archive.

::

    SOURCE/positive image set/NNN.jpg
    SOURCE/ground truth/NNN.txt         one box per line: (x1,y1),(x2,y2),class number 1..10
    SOURCE/negative image set/NNN.jpg   optional; images without any object

The lines hold stray spaces inside the brackets and after the class, some files have Windows line ends or blank lines.

Coordinates are whole pixels that count from 0 and become box edges as they stand: x = x1, y = y1, width = x2 - x1,
height = y2 - y1. The official text does not say where they count from; the images do. In 517 of them coordinates run from
1 to size - 1. Matching the brightness edges at opposite sides of 500 pairs of sides (tanks, diamonds, courts, track fields) puts
the objects 0.46 +- 0.08 px right of and below the centre of (x1, y1, x2, y2). Counting from 1 would give -0.5, counting
from 0 with x2 the last pixel inside +0.5. Widening boxes by that last pixel would gain half a pixel and part from the
x2 - x1 that published results use, so it is not done.

The lists are ours, not official: NWPU VHR-10 overlaps itself, and a random split leaks. ``train`` and ``test`` cover the 517
positive images that we could look at and keep images that show the same ground on one side, as far as an earlier search
found them. ``train_strict`` is ``train`` without the 17 images whose ground is also in ``test`` (`fsod data check` found them,
experiments/nwpu_overlap).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.reading import write_source
from data_prep.source import Box, Item, Problem, Source, checked_box
from data_prep.source_files import files, numbered_lines
from fsod.data.coco_folder import read_ids
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


def prepare_nwpu(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Reads NWPU VHR-10 and writes a prepared folder.

    The COCO image id is the image's number; negative image 1 gets id 1001 and the name ``neg_001``. Image files are
    hard-linked, or copied where they cannot be, never encoded again. All or nothing: ``out`` appears when it is
    complete. If it is there already, made from the same content, nothing is done.

    Args:
        source: the folder that holds ``positive image set`` and ``ground truth``.
        out: the folder to write.
        skip_bad: leave out images with anything that cannot be used (a line, the file itself, a positive one without a
            box), and list it in the card, instead of raising at the first.

    Returns:
        The card, as written to ``out/card.json``: counts of images and boxes, what was refused and why, how many of the
        ids on our lists the source has.

    Raises:
        UserError: not this layout, or (unless ``skip_bad``) a malformed line, unknown class number, box outside its
            image or without area, damaged image, image without ground truth or the reverse; names file and line.
    """
    items, problems = _find_items(source)
    found = Source(
        "nwpu_vhr10",
        source,
        items,
        _read,
        problems,
        class_names=CLASS_NAMES,
        lists={name: read_ids(SPLITS / f"{name}.txt") for name in ("train", "train_strict", "test")},
    )
    return write_source(found, out, skip_bad=skip_bad)


def _find_items(source: Path) -> tuple[list[Item], list[Problem]]:
    """The images of the source, sorted by id, and what does not fit the layout."""
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    for name in (POSITIVE, TRUTH):
        if not (source / name).is_dir():
            inner = next((p.parent for p in source.glob(f"*/{name}")), None)
            hint = f"; did you mean {str(inner)!r}?" if inner else "; give the folder that holds it"
            raise UserError(f"{source}: not NWPU VHR-10, there is no {name!r} in it{hint}")
    items: dict[int, Item] = {}
    problems: list[Problem] = []
    truths = {p.stem: p for p in files(source / TRUTH, ".txt")}
    for path in [*files(source / POSITIVE, ".jpg"), *files(source / NEGATIVE, ".jpg")]:
        negative = path.parent.name == NEGATIVE
        truth = None if negative else truths.pop(path.stem, None)
        if not re.fullmatch(r"0*[1-9]\d{0,2}", path.stem, re.ASCII):
            problems.append(Problem(path, "is not named by a number of 1 to 999"))
        elif not negative and truth is None:
            problems.append(Problem(path, f"has no ground truth ({TRUTH}/{path.stem}.txt)"))
        else:
            number = int(path.stem)
            item = Item(number, path, f"{number:03d}", truth)
            if negative:
                item = Item(FIRST_NEGATIVE_ID - 1 + number, path, f"neg_{number:03d}")
            if item.id in items:
                problems.append(Problem(path, f"has the number of {items[item.id].image.name}"))
            else:
                items[item.id] = item
    problems += [Problem(truth, f"has no image ({POSITIVE}/{truth.stem}.jpg)") for truth in truths.values()]
    return [items[i] for i in sorted(items)], problems


def _read(item: Item, size_px: tuple[int, int]) -> Iterator[Box | Problem]:
    if item.truth is None:
        return
    usable = 0
    for number, line in numbered_lines(item.truth):
        box = _parse(line, size_px)
        usable += isinstance(box, Box)
        yield box if isinstance(box, Box) else Problem(item.truth, box, number)
    if not usable:
        yield Problem(item.truth, "holds no usable box, but its image is in the positive set")


def _parse(line: str, size_px: tuple[int, int]) -> Box | str:
    """A box, or what is wrong with the line."""
    match = _LINE.fullmatch(line)
    if match is None:
        return f"malformed line {line[:60]!r}, expected (x1,y1),(x2,y2),class"
    x1, y1, x2, y2, category = map(int, match.groups())
    if not 1 <= category <= len(CLASS_NAMES):
        return f"unknown class number {category}, expected 1 to {len(CLASS_NAMES)}"
    return checked_box(CLASS_NAMES[category - 1], (x1, y1, x2, y2), size_px)
