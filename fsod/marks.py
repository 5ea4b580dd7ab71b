"""Coloured boxes and labels on a picture, so that every mark can be told from the ground and none hides another.

Colours keep apart under the common kinds of colour blindness, and every line has a casing of the opposite brightness, so
that it shows on water as on concrete.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from string import ascii_letters, digits

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from fsod.progress import warn

Colour = tuple[int, int, int]

# Okabe and Ito's palette without its black, then what lies farthest from all before it, to normal, protan and deutan eyes
_PALETTE = (
    *("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#D55E00", "#0072B2", "#0000FF"),
    *("#96FFA5", "#781E0F", "#6969FF", "#5A2D4B", "#B4FFF0", "#3C1EA5", "#E1004B", "#D2A55A"),
)
HIT, MISS, FALSE_ALARM = (ImageColor.getrgb(_PALETTE[i])[:3] for i in (1, 2, 5))
PAPER, INK = (255, 255, 255), (20, 20, 20)

MOST_LABELS = 300
"""Boxes of a picture that get a label, best first."""


def class_colour(class_id: int) -> Colour:
    """RGB of a class, 0..255; 16 distinct ones, then they repeat."""
    return ImageColor.getrgb(_PALETTE[class_id % len(_PALETTE)])[:3]


def draw_boxes(canvas: Image.Image, boxes_xyxy_px: NDArray[np.float64], colours: Sequence[Colour]) -> None:
    """Draws each box's outline, the last on top; what of a box lies outside the picture is cut off.

    Args:
        canvas: RGB, drawn on.
        boxes_xyxy_px: (n, 4), pixels.
        colours: n of them.
    """
    pen = ImageDraw.Draw(canvas)
    last_x, last_y = canvas.width - 1, canvas.height - 1
    widest = max(1, round(max(canvas.size) / 400))
    for box, colour in zip(boxes_xyxy_px, colours, strict=True):
        left, top, right, bottom = (round(float(v)) for v in box)
        if left > last_x or top > last_y or right < 0 or bottom < 0:
            continue
        right, bottom = max(left, right - 1), max(top, bottom - 1)
        # lines lie around the box, not over what it marks
        width = max(1, min(widest, (right - left) // 3, (bottom - top) // 3))
        outer = _within(left - width, top - width, right + width, bottom + width, last_x, last_y)
        casing = outer[0] - 1, outer[1] - 1, outer[2] + 1, outer[3] + 1
        pen.rectangle(casing, outline=_opposite(colour), width=1)
        pen.rectangle(outer, outline=colour, width=width)


def _within(left: int, top: int, right: int, bottom: int, last_x: int, last_y: int) -> tuple[int, int, int, int]:
    return max(left, 0), max(top, 0), min(right, last_x), min(bottom, last_y)


def draw_labels(
    canvas: Image.Image,
    boxes_xyxy_px: NDArray[np.float64],
    texts: Sequence[tuple[str, ...]],
    colours: Sequence[Colour],
) -> None:
    """Draws labels in the order given, each where it hides no other box or label.

    Args:
        canvas: RGB, drawn on.
        boxes_xyxy_px: (n, 4), pixels.
        texts: for each box what its label may say, tried in turn; where none finds a place, there is no label.
        colours: n of them.
    """
    font = label_font(max(11, round(max(canvas.size) / 75)), chain.from_iterable(texts))
    pen = ImageDraw.Draw(canvas)
    pad = max(1, font.size // 6)
    labelled: NDArray[np.float64] = np.zeros((0, 4))
    for i in range(min(len(texts), MOST_LABELS)):
        others = np.concatenate([np.delete(boxes_xyxy_px, i, axis=0), labelled])
        for text in texts[i]:
            size = np.array([pen.textlength(text, font) + 2 * pad, font.size * 1.2 + 2 * pad])
            place = _free_place(boxes_xyxy_px[i], size, others, canvas.size)
            if place is not None:
                labelled = np.vstack([labelled, place])
                pen.rectangle(tuple(place), fill=colours[i])
                pen.text((place[0] + pad, place[1] + pad), text, _opposite(colours[i]), font)
                break


def _free_place(
    box: NDArray[np.float64], size: NDArray[np.float64], others: NDArray[np.float64], canvas_size: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Where a label of that (width, height) lies beside its box (in it, if it is large) and on none of the others."""
    (left, top, right, bottom), (width, height) = box, size
    margin = 4
    above, below = top - height - margin, bottom + margin
    corners = [(left, above), (right - width, above), (left, below), (right - width, below)]
    corners += [(right + margin, top), (left - width - margin, top)]
    if right - left > 2 * width and bottom - top > 4 * height:
        corners.append((left + margin, top + margin))
    for corner in corners:
        place = np.concatenate([corner, corner + size])
        inside = (place[:2] >= 0).all() and (place[2:] <= canvas_size).all()
        if inside and not _touches(place, others):
            return place
    return None


def _touches(place: NDArray[np.float64], taken: NDArray[np.float64]) -> bool:
    return bool(((place[:2] < taken[:, 2:]) & (taken[:, :2] < place[2:])).all(axis=1).any())


def _opposite(colour: Colour) -> Colour:
    red, green, blue = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 105 else PAPER


def label_font(size_px: int, texts: Iterable[str]) -> ImageFont.FreeTypeFont:
    """The font of labels and legends, for these texts."""
    return _opened(font_with(texts), size_px)


def font_with(texts: Iterable[str]) -> Path:
    """A font that has all letters of texts: DejaVu has Latin, Greek and Cyrillic ones; for others one of the system's fonts.

    Where no font has them, they are drawn as empty boxes, which is said.
    """
    import matplotlib  # carries DejaVu; imported here because it takes a moment

    own = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"
    letters = frozenset(letter for text in texts for letter in text if not letter.isspace())
    missing = letters - _own_letters(own)
    return _system_font(missing) or own if missing else own


_opened = lru_cache(ImageFont.truetype)


@cache
def _own_letters(font: Path) -> frozenset[str]:
    return _letters_in(font)


@cache
def _system_font(letters: frozenset[str]) -> Path | None:
    from matplotlib.font_manager import fontManager

    needed = letters.union(ascii_letters, digits)
    for entry in fontManager.ttflist:
        if "lastresort" in entry.name.replace(" ", "").lower():
            continue  # of matplotlib and of macOS, which has a box for every letter
        with suppress(OSError, RuntimeError):  # gone since matplotlib listed it, or damaged
            if needed <= _letters_in(Path(entry.fname)):
                return Path(entry.fname)
    some = "".join(sorted(letters)[:8])
    install = "install one that has, such as Noto Sans CJK"
    warn([f"pictures show empty boxes for {some}: no font of this system has such letters; {install}"])
    return None


def _letters_in(font: Path) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(str(font)).get_charmap()))
