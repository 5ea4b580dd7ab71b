"""Finding the files of a data set, pairing images with their labels, and reading lines and numbers."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from data_prep.pictures import SUFFIXES
from data_prep.source import Item, Problem
from fsod.files import decoded

_FOREIGN = re.compile(r"[a-z]+://|/|~|\\|[A-Za-z]:|\.\.[/\\]")
"""What a path begins with that does not begin where it is written."""
_NUMBER = re.compile(r"[+-]?(\d{1,12}(\.\d{0,20})?|\.\d{1,20})([eE][+-]?\d{1,2})?", re.ASCII)


def image_files(folder: Path) -> list[Path]:
    """The images directly in a folder, sorted, without the hidden files that some systems leave (._001.jpg)."""
    return files(folder, *SUFFIXES)


def files(folder: Path, *suffixes: str) -> list[Path]:
    """Files with any of the suffixes (lower case) directly in a folder, sorted; none where there is no folder."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
    # a link that leads nowhere is a file that has not been fetched yet, which whoever opens it says
    return sorted(p for p in found if p.is_file() or (p.is_symlink() and not p.exists()))


def folders_within(folder: Path) -> list[Path]:
    """A folder and all folders in it, sorted, through links, too."""
    found: dict[Path, Path] = {}
    for place, inner, _ in os.walk(folder, followlinks=True):
        if Path(place).resolve() in found:
            inner.clear()  # a link to where we have been
        else:
            found[Path(place).resolve()] = Path(place)
    return sorted(found.values())


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
    """The path without its detours, if it is there and inside ``root``.

    By its name: links that a user's own tools have put into the folder may lead out of it (Hugging Face, DVC, git-annex),
    names in files that come from elsewhere may not.
    """
    try:
        if path.exists() or path.is_symlink():
            place, top = (Path(os.path.normpath(p.absolute())) for p in (path, root))
            if place.is_relative_to(top):
                return root / place.relative_to(top)
            if path.resolve().is_relative_to(root.resolve()):  # the folder by another name
                return path
    except (OSError, ValueError, RuntimeError):  # a name too long, with a zero byte in it, a link to itself
        pass
    return None


def spellings(name: str) -> list[str]:
    """A path as it stands, then as it is meant where the program that wrote it has other slashes, or writes %20."""
    names = (name, unquote(name, errors="strict") if "%" in name else name)
    return list(dict.fromkeys([*names, *(plain.replace("\\", "/") for plain in names)]))


def foreign_ends(name: str) -> list[str]:
    """A path itself; if it leads to a place on another machine, also its ends, the longest first.

    ``/content/ships/images/1.jpg`` may be meant by ``ships/images/1.jpg``, ``images/1.jpg`` or ``1.jpg``.
    """
    start = _FOREIGN.match(name)
    if start is None:
        return [name]
    parts = [part for part in re.split(r"[/\\]", name[start.end() :]) if part not in ("", ".", "..")]
    return [name, *("/".join(parts[i:]) for i in range(len(parts)))]


def read_list(path: Path, known: Iterable[str], problems: list[Problem]) -> list[str]:
    """The image of each line, where it is one of ``known``; the others are problems.

    A line may go on after the name: with 1, 0 or -1 in the lists of one class of VOC.
    """
    known, ids = set(known), []
    for number, line in numbered_lines(path):
        first, whole = line.split()[0], line.strip()
        stem = next((name for name in (whole, re.sub(r"\s+-?[01]$", "", whole)) if name in known), first)
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


def no_utf8(name: str) -> str:
    """Why a name out of ``numbered_lines`` is refused that has bytes in it which are no text in UTF-8; empty where it has none."""
    return "has letters that are not in UTF-8; save the file in UTF-8" if "\N{REPLACEMENT CHARACTER}" in name else ""


def number(text: str) -> float | None:
    """A plain decimal number, None for anything else (``nan``, ``1_000``, digits of other scripts)."""
    return float(text) if _NUMBER.fullmatch(text) else None


def is_set(mark: object) -> bool | None:
    """Whether a mark such as ``difficult`` is set, however it is written: 1, true, "1"; None if it says neither.

    A number other than 0 is set, as in the data sets' own scripts.
    """
    text = "" if mark is None else str(mark).strip().lower()[:20]
    if text in ("", "false", "no", "unspecified"):  # CVAT and VOC write the last of what nobody has looked at
        return False
    if text in ("true", "yes"):
        return True
    value = number(text)
    return None if value is None else value != 0
