"""Opening the images of a prepared folder: which cannot be read, which are alike, which show the same ground."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.entries import Entry
from data_prep.findings import Finding, leave_out, names_of
from data_prep.folder import in_threads
from data_prep.overlap import Ground, Overlap, connected, describe_ground, find_overlaps
from fsod.data.coco_folder import ANNOTATIONS, read_rgb
from fsod.errors import UserError


@dataclass(frozen=True)
class Look:
    """An image that could be read.

    Attributes:
        entry: its entry in the annotation file.
        path: the file.
        size_px: width and height.
        pixels: hash of its size and pixels.
        ground: what it is known by among others.
        light: position of an annotation -> mean and spread of the brightness in its box, 0..255.
    """

    entry: Entry
    path: Path
    size_px: tuple[int, int]
    pixels: str
    ground: Ground = field(repr=False)
    light: dict[int, tuple[float, float]] = field(repr=False)

    @property
    def stem(self) -> str:
        """Of its file."""
        return self.path.stem

    @property
    def source(self) -> str:
        """Stem of the original that it was cut from, or its own."""
        return names_of(self.entry)[1]


def look_at_images(
    root: Path, images: Sequence[Entry], annotations: Sequence[Entry]
) -> tuple[list[Look], list[Finding]]:
    """Opens every image to its last byte.

    Args:
        root: the prepared folder.
        images: sound entries.
        annotations: entries of boxes that lie inside their image.

    Returns:
        The images that can be read, in the order given; findings about the others, sizes and equal pixels.
    """
    boxes: dict[int, list[Entry]] = {}
    for entry in annotations:
        boxes.setdefault(entry.value["image_id"], []).append(entry)
    seen = in_threads(lambda entry: _look(root, entry, boxes.get(entry.value["id"], [])), images, "looking at images")
    looks = [look for look in seen if isinstance(look, Look)]
    findings = [finding for finding in seen if isinstance(finding, Finding)]
    for look in looks:
        said = look.entry.value["width"], look.entry.value["height"]
        if look.size_px != said:
            what = f"image {look.entry.value['id']}: {ANNOTATIONS} says {said[0]}x{said[1]} px, "
            what += f"{look.path.name} has {look.size_px[0]}x{look.size_px[1]}"
            findings.append(Finding("wrong_size", look.entry.where, what))
    for alike in _alike(looks):
        what = f"the same pixels: {', '.join(looks[i].path.name for i in alike)}"
        findings.append(Finding("duplicate_image", looks[alike[0]].entry.where, what))
    return looks, findings


def _look(root: Path, entry: Entry, boxes: Sequence[Entry]) -> Look | Finding:
    path = root / "images" / entry.value["file_name"]
    try:
        rgb = read_rgb(path)
    except UserError as error:
        why = str(error).removeprefix(f"{path}: ")
        return leave_out(
            "unreadable_image", entry, f"image {entry.value['id']}: images/{entry.value['file_name']}: {why}"
        )
    height, width = rgb.shape[:2]
    pixels = hashlib.sha256(f"{width} {height} ".encode() + rgb.tobytes()).hexdigest()
    light = {box.position: _light(rgb, box.value["bbox"]) for box in boxes}
    return Look(entry, path, (width, height), pixels, describe_ground(rgb), light)


def _light(rgb: NDArray[np.uint8], xywh_px: Sequence[float]) -> tuple[float, float]:
    x, y, width, height = xywh_px
    inside = rgb[int(y) : int(np.ceil(y + height)), int(x) : int(np.ceil(x + width))]
    return (float(inside.mean()), float(inside.mean(axis=2).std())) if inside.size else (0.0, 0.0)


def _alike(looks: Sequence[Look]) -> list[list[int]]:
    """Positions of images with the same pixels, where there are several."""
    by_pixels: dict[str, list[int]] = {}
    for i, look in enumerate(looks):
        by_pixels.setdefault(look.pixels, []).append(i)
    return [alike for alike in by_pixels.values() if len(alike) > 1]


def compare_scenes(looks: Sequence[Look]) -> tuple[list[Overlap], list[list[str]], list[Finding]]:
    """Which images of different originals show the same ground.

    Returns:
        Pairs of positions; groups of file stems, each sorted; a finding for each group.
    """
    overlaps = find_overlaps([look.ground for look in looks], [look.source for look in looks])
    groups = connected([(overlap.first, overlap.second) for overlap in overlaps])
    findings = [
        Finding("overlap", looks[group[0]].entry.where, "the same ground: " + ", ".join(looks[i].stem for i in group))
        for group in groups
    ]
    return overlaps, [sorted(looks[i].stem for i in group) for group in groups], findings


def find_leaks(looks: Sequence[Look], overlaps: Sequence[Overlap], lists: dict[str, list[Entry]]) -> Iterator[Finding]:
    """Images on two lists, or on the same ground, from the same original or with the same pixels as one on another list.

    Lists that may share images by their names are not compared: what is for training (``train_strict``), ``trainval`` with
    ``val``, and ``all``.
    """
    pairs = [(overlap.first, overlap.second) for overlap in overlaps]
    by_source: dict[str, list[int]] = {}
    for i, look in enumerate(looks):
        by_source.setdefault(look.source, []).append(i)
    for alike in (*by_source.values(), *_alike(looks)):
        pairs += [(alike[0], other) for other in alike[1:]]
    groups = connected([*pairs, *((i, i) for i in range(len(looks)))])
    on = {section: _selected(looks, ids) for section, ids in lists.items()}
    for one, other in combinations(sorted(on), 2):
        if _may_share(Path(one).stem, Path(other).stem):
            continue
        for group in groups:
            here, there = ([i for i in group if i in on[section]] for section in (one, other))
            if here and there:
                names = [", ".join(looks[i].stem for i in side) for side in (here, there)]
                what = f"{names[0]} here, {names[1]} on {other} (line {on[other][there[0]].line})"
                yield Finding("leakage", on[one][here[0]].where, what)


def _may_share(one: str, other: str) -> bool:
    """Whether lists of these names, in order, may have the same images."""
    both_train = one.startswith("train") and other.startswith("train")
    return both_train or "all" in (one, other) or (one.startswith("trainval") and other.startswith("val"))


def _selected(looks: Sequence[Look], ids: Sequence[Entry]) -> dict[int, Entry]:
    """Positions of the images that a list selects, and by which of its lines."""
    line_of = {entry.value: entry for entry in ids}
    found = {i: [line_of[name] for name in names_of(look.entry) if name in line_of] for i, look in enumerate(looks)}
    return {i: entries[0] for i, entries in found.items() if entries}
