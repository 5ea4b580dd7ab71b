"""Pictures: boxes over imagery, what was found beside what is there, sheets of examples.

Pure functions from arrays to arrays; images are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from fsod.boxes import Detections, match
from fsod.errors import UserError
from fsod.files import atomic_write
from fsod.marks import FALSE_ALARM, HIT, INK, MISS, PAPER, Colour, class_colour, draw_boxes, draw_labels, label_font

Rgb = NDArray[np.uint8]

KEY_SWATCH = 2.6
"""Of an entry in a legend: what its colour and the space around it take, in sizes of its font."""

MOST_LABELS_ON_SCENE = 60
"""With more detections than this a scene's picture leaves the words to its legend."""


def draw_detections(rgb: Rgb, detections: Detections, class_names: Sequence[str], *, labels: bool = True) -> Rgb:
    """Detections over their image: a colour a class, name and score beside the box.

    Better scores lie on top and are labelled first. A label never hides another box: where its place is narrow it is
    the score alone, and where there is none it is left out.

    Args:
        rgb: (H, W, 3) uint8.
        detections: in the image's pixels.
        class_names: what the class ids count.
        labels: whether to write names and scores.

    Returns:
        (H, W, 3) uint8, a new array.
    """
    canvas = _canvas(rgb)
    order = np.argsort(detections.scores, kind="stable")
    boxes = detections.boxes_xyxy_px[order]
    colours = [class_colour(int(c)) for c in detections.class_ids[order]]
    draw_boxes(canvas, boxes, colours)
    if labels:
        draw_labels(canvas, boxes[::-1], _texts(detections.select(order[::-1]), class_names), colours[::-1])
    return np.array(canvas)


def draw_truth_and_found(
    rgb: Rgb,
    truth_boxes_xyxy_px: NDArray[np.float64],
    truth_class_ids: NDArray[np.int64],
    detections: Detections,
    class_names: Sequence[str],
) -> Rgb:
    """Ground truth on the left (found or missed), detections on the right (hit or false alarm), counts above.

    A detection hits at IoU 0.5 with a box of its own class. Choose by score before: all detections given are drawn.

    Args:
        rgb: (H, W, 3) uint8.
        truth_boxes_xyxy_px: (n, 4), pixels.
        truth_class_ids: (n,), counted as the detections' class ids.
        detections: in the image's pixels.
        class_names: what the class ids count.

    Returns:
        (H + header, 2 W + gap, 3) uint8.
    """
    taken = match(truth_boxes_xyxy_px, truth_class_ids, detections)
    hit, found = taken >= 0, np.isin(np.arange(len(truth_class_ids)), taken)
    truth, guesses = _canvas(rgb), _canvas(rgb)
    truth_colours = [HIT if f else MISS for f in found]
    draw_boxes(truth, truth_boxes_xyxy_px, truth_colours)
    draw_labels(truth, truth_boxes_xyxy_px, [(class_names[c],) for c in truth_class_ids], truth_colours)
    best_first = np.argsort(-detections.scores, kind="stable")
    guessed = detections.select(best_first)
    guess_colours = [HIT if h else FALSE_ALARM for h in hit[best_first]]
    draw_boxes(guesses, guessed.boxes_xyxy_px, guess_colours)
    draw_labels(guesses, guessed.boxes_xyxy_px, _texts(guessed, class_names), guess_colours)

    gap = max(4, truth.width // 100)
    keys = (
        [(HIT, f"{found.sum()} found"), (MISS, f"{(~found).sum()} missed")],
        [(HIT, f"{hit.sum()} hits"), (FALSE_ALARM, f"{(~hit).sum()} false alarms")],
    )
    panels = [
        _under(_key(truth.width, key, f"{name}:"), panel)
        for name, key, panel in zip(("ground truth", "detections"), keys, (truth, guesses), strict=True)
    ]
    sheet = Image.new("RGB", (2 * truth.width + gap, max(p.height for p in panels)), PAPER)
    for i, panel in enumerate(panels):
        sheet.paste(panel, (i * (truth.width + gap), sheet.height - panel.height))
    return np.array(sheet)


def hatched(rgb: Rgb, numbers: NDArray[np.uint8], colours: Sequence[Colour]) -> Rgb:
    """A picture with stripes over parts of it, so that the ground still shows.

    Args:
        rgb: (h, w, 3) uint8.
        numbers: (h, w) of each pixel, 0 for one that stays as it is.
        colours: of the numbers from 1 on.

    Returns:
        (h, w, 3) uint8, a new array.
    """
    height, width = numbers.shape
    period = max(6, max(height, width) // 120)
    striped = (np.add.outer(np.arange(height), np.arange(width)) % period < max(1, period // 6)) & (numbers > 0)
    out = rgb.copy()
    out[striped] = np.array([(0, 0, 0), *colours], np.uint8)[numbers[striped]]
    return out


def scene_preview(
    rgb_preview: Rgb,
    detections: Detections,
    scale: float,
    class_names: Sequence[str],
    parts: Sequence[tuple[Colour, str]] = (),
    title: str = "",
) -> Rgb:
    """A scene's overview with its detections, and under it each class with its colour and count.

    Few detections are labelled; many only coloured.

    Args:
        rgb_preview: (h, w, 3) uint8, the scene made small.
        detections: in the scene's own pixels.
        scale: preview pixels per scene pixel.
        class_names: what the class ids count.
        parts: colour and name of what is hatched in the overview, see ``hatched``.
        title: what is said before them in a legend of their own; none if it is empty.

    Returns:
        (h + legend, w, 3) uint8.
    """
    boxes = detections.boxes_xyxy_px * scale
    # an object of a pixel or two must still be seen
    least = max(4.0, max(rgb_preview.shape[:2]) / 250)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], least)
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    visible = Detections(boxes, detections.scores, detections.class_ids)
    drawn = draw_detections(rgb_preview, visible, class_names, labels=len(visible) <= MOST_LABELS_ON_SCENE)
    counts = np.bincount(detections.class_ids, minlength=len(class_names))
    entries = [
        (class_colour(i), _counted(name, counts[i], drawn.shape[1])) for i, name in enumerate(class_names) if counts[i]
    ]
    sheet = _under(Image.fromarray(drawn), _key(drawn.shape[1], entries, f"{len(detections)} found"))
    return np.array(_under(sheet, _key(drawn.shape[1], parts, title)) if title else sheet)


def contact_sheet(images: Sequence[Rgb], captions: Sequence[str], columns: int = 8, cell_px: int = 160) -> Rgb:
    """Images in a grid, each fitted to one cell's width or height, with its caption below.

    Args:
        images: each (H, W, 3) uint8, of any size, at least one.
        captions: as many, of one or more lines; each line is shortened to the width of the cell.
        columns: cells per row, fewer where there are fewer images.
        cell_px: the longer side of every image on the sheet.

    Returns:
        (height, width, 3) uint8.
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"a contact sheet needs as many captions as images, and one at least: {len(images)} images")
    font, gap = label_font(min(max(10, cell_px // 14), 28), captions), max(4, cell_px // 20)
    line_px = int(font.size * 1.35)
    pictures = [_fitted(rgb, cell_px) for rgb in images]
    columns = min(columns, len(images))
    lines_px = line_px * max(caption.count("\n") + 1 for caption in captions)
    # a row is as high as its highest picture: wide pictures leave no blank paper below them
    heights_px = [max(p.height for p in pictures[i : i + columns]) for i in range(0, len(pictures), columns)]
    tops = np.cumsum([gap, *(height + lines_px + gap for height in heights_px)])
    sheet = Image.new("RGB", (columns * (cell_px + gap) + gap, int(tops[-1])), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row = i // columns
        left, top, height = gap + i % columns * (cell_px + gap), int(tops[row]), heights_px[row]
        sheet.paste(picture, (left + (cell_px - picture.width) // 2, top + (height - picture.height) // 2))
        for n, line in enumerate(caption.split("\n")):
            pen.text((left, top + height + n * line_px), _shorten(line, font, cell_px), INK, font)
    return np.array(sheet)


def _fitted(rgb: Rgb, side_px: int) -> Image.Image:
    picture = _canvas(rgb)
    zoom = side_px / max(picture.size)
    size = max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom))
    return picture.resize(size, Image.Resampling.BICUBIC)


PREVIEW_MARK = "fsod predict"
"""Text of the pictures beside layers."""


def has_mark(path: Path, software: str) -> bool:
    """Whether a picture says that it was made by this, see ``write_png``; raises what Pillow does of a file that is none."""
    with Image.open(path) as picture:
        return bool(picture.info.get("Software") == software)


def is_preview(path: Path) -> bool:
    """Whether a file is a picture that ``fsod predict`` drew of a scene, which may have the scene's own name."""
    try:
        return has_mark(path, PREVIEW_MARK)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def write_png(path: Path, rgb: Rgb, software: str = "") -> None:
    """Writes a picture as PNG, the whole of it or nothing; what it says it was made by tells it from others."""
    about = PngInfo()
    if software:
        about.add_text("Software", software)
    _write(path, rgb, "PNG", pnginfo=about)


def write_jpeg(path: Path, rgb: Rgb, comment: str = "") -> None:
    """The same in a tenth of the bytes, where exact pixels do not matter, with a comment in the file."""
    _write(path, rgb, "JPEG", quality=88, subsampling=0, comment=comment.encode())


def _write(path: Path, rgb: Rgb, form: str, **options: int | bytes | PngInfo) -> None:
    try:
        with atomic_write(path) as temporary:
            _canvas(rgb).save(temporary, form, **options)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def _canvas(rgb: Rgb) -> Image.Image:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ValueError(f"a picture is (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    return Image.fromarray(rgb.copy())


def _texts(detections: Detections, class_names: Sequence[str]) -> list[tuple[str, ...]]:
    """What a label may say, from long to short."""
    pairs = zip(detections.class_ids, detections.scores, strict=True)
    return [(f"{class_names[c]} {score:.2f}", f"{score:.2f}") for c, score in pairs]


def _counted(name: str, count: int, width_px: int) -> str:
    """A class and its count for a strip of that width: a long name is shortened, so that its count is not cut off."""
    font, end = label_font(_key_px(width_px), [name]), f" {count}"
    return _shorten(name, font, width_px - KEY_SWATCH * font.size - font.getlength(end)) + end


def _key_px(width_px: int) -> int:
    return min(28, max(11, width_px // 50))


def _key(width_px: int, entries: Sequence[tuple[Colour, str]], title: str) -> Image.Image:
    """A strip of that width that explains colours, in as many lines as it takes."""
    size_px = _key_px(width_px)
    font = label_font(size_px, [title, *(text for _, text in entries)])
    line_px = int(size_px * 1.6)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    places, x, y = [], size_px + pen.textlength(title, font), 0
    for _, text in entries:
        needed = KEY_SWATCH * size_px + pen.textlength(text, font)
        if x + needed > width_px and x > 0:
            x, y = 0.0, y + line_px
        places.append((x, y))
        x += needed
    strip = Image.new("RGB", (width_px, y + line_px), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.text((size_px // 2, size_px // 5), title, INK, font)
    for (colour, text), (left, top) in zip(entries, places, strict=True):
        swatch = left + size_px * 0.6, top + size_px * 0.35, left + size_px * 1.5, top + size_px * 1.25
        pen.rectangle(swatch, fill=colour, outline=INK)
        pen.text((left + size_px * 1.8, top + size_px // 5), text, INK, font)
    return strip


def _under(upper: Image.Image, lower: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", (upper.width, upper.height + lower.height), PAPER)
    sheet.paste(upper, (0, 0))
    sheet.paste(lower, (0, upper.height))
    return sheet


def _shorten(text: str, font: ImageFont.FreeTypeFont, width_px: float) -> str:
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "…") > width_px:
        text = text[:-1]
    return text + "…"
