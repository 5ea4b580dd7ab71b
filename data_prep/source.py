"""What a reader finds in a data set: images, boxes, and what cannot be used."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fsod.errors import is_name


@dataclass(frozen=True)
class Problem:
    """Something of a source that cannot be used.

    If it is an object of an image, the image cannot be used either: what it shows there would pass for background.

    Attributes:
        path: the file.
        why: what is wrong with it, to be read after the place.
        line: of the file, from 1.
    """

    path: Path
    why: str
    line: int | None = None

    def place(self, root: Path | None = None) -> str:
        """``file:line``, the file relative to ``root`` if one is given and it lies there."""
        inside = root is not None and self.path.is_relative_to(root)
        path = self.path.relative_to(root) if root is not None and inside else self.path
        return f"{path}" if self.line is None else f"{path}:{self.line}"


@dataclass(frozen=True)
class Box:
    """A labelled object.

    Attributes:
        class_name: as the prepared folder will call it.
        xyxy_px: edges in pixels: 0 is the left (upper) edge of the first pixel; inside the image.
        clipped: the source's box reached beyond the image.
        difficult: the source says that it is hard to recognise; who finds it, or does not, is neither right nor wrong.
        crowd: around many objects that have no box each; nothing that is found in it is wrong.
    """

    class_name: str
    xyxy_px: tuple[float, float, float, float]
    clipped: bool = False
    difficult: bool = False
    crowd: bool = False


@dataclass(frozen=True)
class Item:
    """An image of a source.

    Attributes:
        id: COCO id that it will have.
        image: the file.
        stem: name that it will have, without suffix.
        truth: the file of its boxes, where it has one of its own.
        gsd_m: ground size of a pixel in metres, where the labels say so.
    """

    id: int
    image: Path
    stem: str
    truth: Path | None = None
    gsd_m: float | None = None


@dataclass(frozen=True)
class Source:
    """A data set as a reader found it.

    Attributes:
        format: name of the format, for the card.
        root: the folder.
        items: its images, sorted by id.
        read: the boxes of an item, given its width and height, and what is wrong with others.
        problems: what did not fit the layout.
        class_names: in the order of the categories; None: those that the boxes have, sorted.
        lists: name of a list -> stems of its images, which need not be there.
        deciding: files whose content is read later and decides what the folder will hold, beside the items' own.
        card: what else the card shall say.
    """

    format: str
    root: Path
    items: list[Item]
    read: Callable[[Item, tuple[int, int]], Iterable[Box | Problem]]
    problems: list[Problem] = field(default_factory=list)
    class_names: tuple[str, ...] | None = None
    lists: dict[str, list[str]] = field(default_factory=dict)
    deciding: tuple[Path, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)


def checked_box(
    class_name: str,
    xyxy_px: tuple[float, float, float, float],
    size_px: tuple[int, int],
    *,
    slack_px: float = 0.0,
    difficult: bool = False,
    crowd: bool = False,
) -> Box | str:
    """The box inside its image of ``size_px`` (width, height), or what is wrong with it.

    Args:
        class_name: of the object.
        xyxy_px: edges in pixels, counted from 0.
        size_px: width and height of the image.
        slack_px: how far it may reach beyond the image; it is clipped then.
        difficult: what the source says of it.
        crowd: it is many.
    """
    if not is_name(class_name):
        return f"class {reprlib.repr(class_name)} has characters that cannot be printed"
    x1, y1, x2, y2 = xyxy_px
    shown = f"box ({x1:g},{y1:g}),({x2:g},{y2:g})"
    if not (x1 < x2 and y1 < y2):
        return f"{shown} has no area"
    inside = np.clip(xyxy_px, 0, (*size_px, *size_px))
    beyond = float(np.abs(inside - xyxy_px).max())
    if not beyond <= slack_px or inside[0] >= inside[2] or inside[1] >= inside[3]:
        return f"{shown} lies outside its image of {size_px[0]}x{size_px[1]} px"
    if beyond == 0:
        return Box(class_name, xyxy_px, difficult=difficult, crowd=crowd)
    left, top, right, bottom = inside.tolist()
    # a rounding error of the last decimal is no news
    return Box(class_name, (left, top, right, bottom), beyond > 0.01, difficult, crowd)
