"""Writing a prepared folder: all of it or nothing, and only once.

A folder is built beside its final place under a hidden name and renamed at the end. So a folder that exists is
complete, and a killed run leaves nothing that looks like one. The next run starts the same work afresh, or goes on with it
where the writer can tell what is done. Of two runs on one folder the second is told who is at it.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import track

from fsod.data.coco_folder import ANNOTATIONS, write_json
from fsod.errors import UserError
from fsod.files import held
from fsod.progress import console

CARD = "card.json"
_MARKER = "fingerprint"

Item = TypeVar("Item")
Result = TypeVar("Result")


def finished_card(out: Path, fingerprint: str) -> dict[str, Any] | None:
    """The card of ``out`` if it was made from the same content with the same settings, None if there is no ``out``.

    Args:
        out: where the prepared folder is to be.
        fingerprint: hash of everything that decides what the folder will hold.

    Raises:
        UserError: something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        card = json.loads((out / CARD).read_text(encoding="utf-8"))
        same = card["fingerprint"] == fingerprint and (out / ANNOTATIONS).is_file()
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise UserError(f"{out}: exists and is not a folder made by fsod; choose another place") from None
    if not same:
        raise UserError(
            f"{out}: was prepared from other content or with other settings; remove it to make it anew (also if an earlier fsod prepared it)"
        )
    console.print(f"{out}: nothing to do")
    return dict(card)


@contextmanager
def folder_under_construction(out: Path, *, resume: str | None = None) -> Iterator[Path]:
    """A folder beside ``out`` with ``images/`` in it, renamed to ``out`` when the block ends well, removed when it fails.

    Args:
        out: where the prepared folder is to be.
        resume: fingerprint of what is made. What a killed run of the same fingerprint left is handed out again, for
            those who write every file under a temporary name and rename it; None starts with an empty folder.

    Raises:
        UserError: the place cannot be written to, or another run is writing to it or has just done so.
    """
    try:
        place = out.resolve()  # a link stays, and leads to what was made
    except (OSError, RuntimeError) as error:  # the latter of links in a circle
        raise UserError(f"{out}: cannot be written: {error}") from error
    if os.path.ismount(place) or place == Path.cwd():
        raise UserError(f"{out}: cannot be replaced by the folder that is made; name a folder in it")
    building = place.with_name(f".{place.name}.fsod-part")
    with ExitStack() as stack:
        try:
            stack.enter_context(held(place.with_name(f".{place.name}.fsod-lock"), out))
            _start(building, resume)
        except OSError as error:
            raise UserError(f"{out}: cannot be written: {error.strerror}") from error
        try:
            if place.is_dir() and any(place.iterdir()):
                raise UserError(f"{out}: another run has just written it; run the same command again")
            yield building
            (building / _MARKER).unlink()
            building.replace(place)
        except BaseException as error:
            # an interrupt, which is no Exception, leaves to the next run what a kill leaves
            if resume is None or isinstance(error, Exception):
                shutil.rmtree(building, ignore_errors=True)
            raise


def _start(building: Path, resume: str | None) -> None:
    """The folder with what a killed run of the same fingerprint has finished in it, or without anything."""
    marker = building / _MARKER
    told = any((building / name).is_file() for name in (_MARKER, CARD))  # the marker goes when all is written
    if building.is_symlink() or (building.is_dir() and any(building.glob("images/*")) and not told):
        raise UserError(f"{building}: is where this run works, but no unfinished run left it; move it elsewhere")
    if resume is None or not marker.is_file() or marker.read_text(encoding="utf-8") != resume:
        shutil.rmtree(building, ignore_errors=True)
        (building / "images").mkdir(parents=True)
        marker.write_text(resume or "", encoding="utf-8")
    for half in (building / "images").glob(".*.fsod-part"):
        half.unlink()


def write_folder(folder: Path, coco: dict[str, Any], lists: dict[str, list[str]], card: dict[str, Any]) -> None:
    """Writes everything but the images.

    Args:
        folder: the folder under construction.
        coco: images, categories, annotations.
        lists: name of a list -> image ids; an empty list is not written.
        card: goes to ``card.json``.
    """
    write_json(folder / ANNOTATIONS, coco)
    for name, ids in lists.items():
        if ids:
            path = folder / "splits" / f"{name}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")
    write_json(folder / CARD, card)


def count_classes(coco: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Boxes and images of each class: ``{"ship": {"boxes": 3, "images": 2}, ...}``, in the order of the categories.

    Crowds do not count.
    """
    images: dict[int, list[int]] = {c["id"]: [] for c in coco["categories"]}
    for annotation in _objects(coco):
        images[annotation["category_id"]].append(annotation["image_id"])
    return {c["name"]: {"boxes": len(images[c["id"]]), "images": len(set(images[c["id"]]))} for c in coco["categories"]}


def names_alike(coco: dict[str, Any]) -> list[str]:
    """What a user should know of classes whose names differ in capitals alone: they stay apart."""
    alike: dict[str, list[str]] = {}
    for category in coco["categories"]:
        alike.setdefault(category["name"].casefold(), []).append(category["name"])
    return [
        f"classes {' and '.join(map(repr, names))} differ in capitals alone; if they are one, mend the names in the labels"
        for names in alike.values()
        if len(names) > 1
    ]


def count_boxes(coco: dict[str, Any]) -> int:
    """Boxes of all classes; crowds do not count."""
    return len(_objects(coco))


def counts(coco: dict[str, Any]) -> dict[str, Any]:
    """Images, boxes, and both of each class, for a card."""
    return {"images": len(coco["images"]), "boxes": count_boxes(coco), "classes": count_classes(coco)}


def _objects(coco: dict[str, Any]) -> list[dict[str, Any]]:
    return [annotation for annotation in coco["annotations"] if not annotation.get("iscrowd")]


def place_file(source: Path, target: Path) -> None:
    """Puts the bytes of ``source`` at ``target``: a hard link where the file system has them, else a copy.

    The folder of ``target`` is made if missing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], description: str) -> list[Result]:
    """``[work(item) for item in items]`` on all cores with a progress bar; the first item that fails raises.

    What libraries warn of on the way (Pillow of EXIF data, GDAL of a missing georeference) is not shown: it names neither
    the file nor what follows for the user, which is for ``work`` to say.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # here: threads undo the filters of one another
        results: Iterable[Result] = pool.map(work, items)
        return list(track(results, description, len(items), console=console))
