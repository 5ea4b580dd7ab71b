"""Finding the files of a data set, pairing images with their labels, and reading lines and numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_prep.pictures import SUFFIXES
from data_prep.source import Item, Problem
from fsod.files import decoded

_NUMBER = re.compile(r"[+-]?(\d{1,12}(\.\d{0,20})?|\.\d{1,20})([eE][+-]?\d{1,2})?", re.ASCII)


def image_files(folder: Path) -> list[Path]:
    """The images directly in a folder, sorted, without the hidden files that some systems leave (._001.jpg)."""
    return files(folder, *SUFFIXES)


def files(folder: Path, *suffixes: str) -> list[Path]:
    """Files with any of the suffixes (lower case) directly in a folder, sorted; none where there is no folder."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())


def pair(images: Iterable[Path], truths: Iterable[Path]) -> tuple[list[Item], list[Problem]]:
    """Images with the files of their boxes that have the same stem; ids count from 1 in the order of the stems."""
    problems: list[Problem] = []
    truth_of = _by_stem(truths, problems)
    image_of = _by_stem(images, problems)
    problems += [Problem(p, "has no annotation file") for stem, p in image_of.items() if stem not in truth_of]
    problems += [Problem(p, "has no image") for stem, p in truth_of.items() if stem not in image_of]
    both = sorted(image_of.keys() & truth_of.keys())
    return [Item(i, image_of[stem], stem, truth_of[stem]) for i, stem in enumerate(both, 1)], problems


def _by_stem(paths: Iterable[Path], problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if not _listable(path.stem):
            problems.append(Problem(path, "has a name that cannot stand in a list of images; rename it"))
        elif path.stem in found:
            problems.append(Problem(path, f"has the name of {found[path.stem]}"))
        else:
            found[path.stem] = path
    return found


def _listable(stem: str) -> bool:
    return stem.strip() == stem and not stem.startswith("#") and stem.isprintable()


def unique_stems(paths: list[Path], root: Path, problems: list[Problem]) -> dict[Path, str]:
    """A name for each image: its stem, or where several have it the way to it from ``root`` (``train__001``)."""
    counts = Counter(path.stem for path in paths)
    stems: dict[Path, str] = {}
    taken: dict[str, Path] = {}
    for path in paths:
        way = path.relative_to(root) if path.is_relative_to(root) else path.relative_to(path.anchor)
        stem = path.stem if counts[path.stem] == 1 else "__".join(way.with_suffix("").parts)
        if not _listable(stem):
            problems.append(Problem(path, "has a name that cannot stand in a list of images; rename it"))
        elif stem in taken:
            problems.append(Problem(path, f"has the name of {taken[stem]}"))
        else:
            stems[path] = stem
            taken[stem] = path
    return stems


def inside(path: Path, root: Path) -> Path | None:
    """The path, if it is there and inside ``root``."""
    try:
        return path if path.exists() and path.resolve().is_relative_to(root.resolve()) else None
    except (OSError, ValueError):  # a name too long, or with a zero byte in it
        return None


def read_list(path: Path, known: Iterable[str], problems: list[Problem]) -> list[str]:
    """The first word of each line, where it is one of ``known``; the others are problems."""
    known, ids = set(known), []
    for number, line in numbered_lines(path):
        stem = line.split()[0]
        if stem in known:
            ids.append(stem)
        else:
            problems.append(Problem(path, f"names {stem[:60]!r}, but there is no such image with boxes", number))
    return ids


def split_lists(folder: Path, known: Iterable[str], problems: list[Problem]) -> dict[str, list[str]]:
    """The lists train, val, trainval and test of a folder, as far as they are there."""
    paths = {name: folder / f"{name}.txt" for name in ("train", "val", "trainval", "test")}
    known = set(known)
    return with_trainval({name: read_list(path, known, problems) for name, path in paths.items() if path.is_file()})


def with_trainval(lists: dict[str, list[str]]) -> dict[str, list[str]]:
    """The lists, and a ``trainval`` made of ``train`` and ``val`` where it is missing."""
    if "trainval" in lists or not {"train", "val"} <= lists.keys():
        return lists
    return {**lists, "trainval": sorted({*lists["train"], *lists["val"]})}


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers, from 1, and lines that are not blank, without what surrounds them."""
    text = decoded(path.read_bytes(), "replace").replace("\r\n", "\n").replace("\r", "\n")
    return ((n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip())


def number(text: str) -> float | None:
    """A plain decimal number, None for anything else (``nan``, ``1_000``, digits of other scripts)."""
    return float(text) if _NUMBER.fullmatch(text) else None
