"""A folder that fsod has prepared, as a data set: of ``fsod data labels``, ``tile`` or ``scenes``.

It is taken as it is. On the way through :mod:`data_prep.coco` it would lose which original an image was cut from, what
the edges cut off, and its lists.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from data_prep.content import bytes_of
from data_prep.folder import counts, finished_card, folder_under_construction, in_threads, place_file, write_folder
from fsod.data.coco_folder import ANNOTATIONS, CocoFolder, load_folder, read_ids, read_image
from fsod.data.leakage import MADE_FROM, lineage


def prepare_prepared(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Checks a prepared folder and writes the same folder.

    Args:
        source: the prepared folder.
        out: the folder to write; image files are hard-linked, or copied where they cannot be.
        skip_bad: has no effect: ``fsod data check --fix`` leaves out what is bad, and says so.

    Returns:
        The card, as written to ``out/card.json``.

    Raises:
        UserError: see ``load_folder``; an image that cannot be read, a list that names none of the images.
    """
    folder = load_folder(source)
    lists = {path.stem: read_ids(path) for path in sorted((source / "splits").glob("*.txt"))}
    for ids in lists.values():
        folder.select(ids)
    fingerprint = _fingerprint(folder, lists)
    if card := finished_card(out, fingerprint):
        return card
    in_threads(read_image, folder.images, "reading prepared")
    coco = json.loads((source / ANNOTATIONS).read_bytes())
    with folder_under_construction(out) as building:
        for image in folder.images:
            place_file(image.path, building / image.path.relative_to(source))
        card = {
            "format": "prepared",
            "source": str(source),
            "fingerprint": fingerprint,
            MADE_FROM: lineage(source, folder.sha256),
            **counts(coco),
            "lists": {name: len(ids) for name, ids in lists.items()},
        }
        write_folder(building, coco, lists, card)
    return card


def _fingerprint(folder: CocoFolder, lists: dict[str, list[str]]) -> str:
    images = bytes_of([image.path for image in folder.images], "looking for changes")
    return hashlib.sha256(f"prepared 3 {folder.sha256} {lists} {images}".encode()).hexdigest()
