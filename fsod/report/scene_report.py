"""The report of a scene: its picture to zoom into, with what was found in it, by class and score."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fsod.draw import Rgb, write_jpeg
from fsod.errors import UserError, one_line
from fsod.files import write_text
from fsod.marks import class_colour
from fsod.progress import warn
from fsod.report.found_layer import FoundLayer, read_found
from fsod.report.page import FOLDER, render
from fsod.scene_map import SCENE_MAP

MOST_PX = 8192
"""Longest side of a picture that goes into a report; `fsod predict` writes 2048."""


def overview_path(layer: Path) -> Path:
    """The scene's picture without any boxes, which lies beside a layer."""
    return layer.with_suffix(".overview.jpg")


def write_overview(
    layer: Path, rgb: Rgb, size_px: tuple[int, int], class_names: list[str], searched: Sequence[tuple[str, str]] = ()
) -> None:
    """Writes what a layer does not hold and its report needs: the scene made small, its size, the order of the classes.

    Args:
        layer: the file of detections.
        rgb: (h, w, 3) uint8, the scene made small.
        size_px: width and height of the scene.
        class_names: by class id, which decides on colours.
        searched: what became of the scene, as texts and colours of CSS (empty where a text has none).
    """
    about = {"layer": layer.name, "size_px": size_px, "classes": class_names, "searched": searched}
    write_jpeg(overview_path(layer), rgb, json.dumps(about))


def scene_report(layer: Path, out: Path, name: str | None = None) -> dict[str, object]:
    """Writes one HTML file with the detections of a layer over the picture of its scene, but for those judged wrong.

    Args:
        layer: the file.
        out: the page.
        name: of the layer inside the file, where it has several.

    Raises:
        UserError: the layer or its overview is missing, or not what ``fsod predict`` writes.
    """
    found = read_found(layer, name)
    picture, (width, height), classes, searched = _read_overview(overview_path(layer))
    classes += sorted(set(found.class_names.tolist()) - set(classes))
    html = render(
        "scene.html.j2",
        [SCENE_MAP / "openlayers.js", SCENE_MAP / "scene_map.js", FOLDER / "scene.js"],
        name=found.scene or layer.name,
        layer=layer.name,
        classes=[
            {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*class_colour(i)), "count": int(count)}
            for i, name in enumerate(classes)
            for count in [(found.class_names == name).sum()]
            if count
        ],
        picture=picture,
        searched=searched,
        refused=found.refused,
        data=_data(found, (width, height), classes),
    )
    write_text(out, html)
    warn(found.warnings)
    return {
        "report": str(out),
        "detections": len(found.scores),
        "judged_wrong": found.refused,
        "megabytes": round(len(html) / 1e6, 1),
        "warnings": list(found.warnings),
    }


def _read_overview(path: Path) -> tuple[str, tuple[int, int], list[str], list[tuple[str, str]]]:
    """The picture as a data URI, the scene's width and height, the classes, and texts and colours of what was searched."""
    if not path.is_file():
        raise UserError(f"{path}: the picture of the scene is missing; `fsod predict` writes it beside the layer")
    try:
        content = path.read_bytes()
        with Image.open(path, formats=["JPEG"]) as image:
            about = json.loads(image.info["comment"])
            kind, size = image.format, image.size
        width, height = (int(side) for side in about["size_px"])
        if kind != "JPEG" or max(size) > MOST_PX or not (width > 0 and height > 0):
            raise ValueError(f"a {kind} of {size[0]} x {size[1]} px for a scene of {width} x {height} px")
        classes = [str(name) for name in about["classes"]]
        searched = [(str(text), _css_colour(colour)) for text, colour in about.get("searched", ())]
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        SyntaxError,
        RecursionError,
        OverflowError,
        ImportError,  # ultralytics, once imported, makes Pillow look for a plugin when it does not know a picture
        Image.DecompressionBombError,
    ) as error:
        why = "no JPEG" if isinstance(error, ImportError) else one_line(error)
        raise UserError(f"{path}: not the picture that `fsod predict` wrote: {why}") from error
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}", (width, height), classes, searched


def _css_colour(text: object) -> str:
    """A colour as #rrggbb, or nothing; ValueError for what is neither."""
    if not re.fullmatch("(#[0-9a-f]{6})?", str(text)):
        raise ValueError(f"{str(text)[:40]!r} is no colour")
    return str(text)


def _data(found: FoundLayer, size_px: tuple[int, int], classes: list[str]) -> dict[str, object]:
    """What the script gets: detections from the best to the worst, in columns."""
    order = np.argsort(-found.scores, kind="stable")
    shown = [name for name in classes if name in set(found.class_names.tolist())]
    position = {name: i for i, name in enumerate(shown)}
    degrees = [] if found.lonlat is None else found.lonlat[order].round(6).ravel().tolist()
    return {
        "size_px": size_px,
        "boxes": found.boxes_xyxy_px[order].round(1).ravel().tolist(),
        "scores": found.scores[order].round(4).tolist(),
        "classes": [position[name] for name in found.class_names[order].tolist()],
        "lonlat": [value if math.isfinite(value) else None for value in degrees] or None,
    }
