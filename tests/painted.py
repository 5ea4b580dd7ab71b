"""Images with painted rectangles, to prove where a format's coordinates lie, and what all readers promise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fsod.data.coco_folder import CocoFolder, load_folder, read_image
from fsod.errors import UserError

WIDTH, HEIGHT = 60, 40
LEFT, TOP, RIGHT, BOTTOM = 10, 8, 30, 24  # columns 10..29 and rows 8..23 are painted, counted from 0
PAINTED = (LEFT, TOP, RIGHT, BOTTOM)

Prepare = Callable[..., dict[str, Any]]


def paint(path: Path, rectangles: Sequence[tuple[int, int, int, int]] = (PAINTED,)) -> Path:
    """A black image with white rectangles; each holds columns left..right-1 and rows top..bottom-1."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for left, top, right, bottom in rectangles:
        pixels[top:bottom, left:right] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}
    Image.fromarray(pixels).save(path, **options)
    return path


def voc_xml(
    objects: Sequence[tuple[str, object, object, object, object]],
    size_px: tuple[int, int] = (WIDTH, HEIGHT),
    extra: str = "",
) -> str:
    """An annotation as the Pascal VOC development kit has it; ``extra`` goes into each object."""
    lines = [
        f"<annotation>\n<filename>x.jpg</filename>\n<size><width>{size_px[0]}</width><height>{size_px[1]}</height></size>"
    ]
    for name, *sides in objects:
        bounds = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True))
        lines.append(f"<object>\n<name>{name}</name>{extra}\n<bndbox>{bounds}</bndbox>\n</object>")
    return "\n".join([*lines, "</annotation>"])


def write(path: Path, text: str | bytes) -> Path:
    """A file, and the folders it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def assert_boxes_cover_the_paint(folder: CocoFolder) -> None:
    """Inside of the boxes all is white, outside all is black, to the pixel."""
    for image in folder.images:
        inside = np.zeros((image.height_px, image.width_px), np.bool_)
        edges = image.boxes_xyxy_px.round()
        np.testing.assert_allclose(image.boxes_xyxy_px, edges, atol=1e-4)  # YOLO writes six decimals
        for x1, y1, x2, y2 in edges.astype(int):
            inside[y1:y2, x1:x2] = True
        np.testing.assert_array_equal(inside, read_image(image)[..., 0] > 128)


def read_or_refused(prepare: Prepare, source: Path, out: Path) -> dict[str, Any] | None:
    """The card of a reading with ``skip_bad``, None if it was refused altogether; checks what is said in either case."""
    shutil.rmtree(out, ignore_errors=True)
    try:
        card: dict[str, Any] | None = prepare(source, out, skip_bad=True)
    except UserError as error:
        assert_says_where(error, source)
        card = None
    else:
        assert card is not None
        assert len(load_folder(out).box_location) == card["boxes"]
    if card is None or card["refused"]:
        with pytest.raises(UserError) as caught:
            prepare(source, out.with_name("strict"))
        assert_says_where(caught.value, source)
    return card


def assert_says_where(error: UserError, source: Path) -> None:
    message = str(error)
    assert message.startswith(str(source))
    assert "\n" not in message
    assert len(message) < 700
