"""DIOR in its official layouts, old and new, and in torchgeo's repack.

::

    SOURCE/Annotations/NNNNN.xml                             old
    SOURCE/Annotations/Horizontal Bounding Boxes/NNNNN.xml   new; "Oriented Bounding Boxes" beside it is not read
    SOURCE/Annotations/trainval/NNNNN.xml                    torchgeo
    SOURCE/JPEGImages-trainval/, SOURCE/JPEGImages-test/     images; torchgeo: SOURCE/Images/{trainval,test}/
    SOURCE/ImageSets/Main/{train,val,test}.txt, or Main/     lists; torchgeo: SOURCE/sample_df.csv

Archives that were unpacked into folders of their own name (``Annotations/Annotations/...``) are read as well.

Class names are read in any spelling (``Expressway-Service-area``, ``expresswayservicearea``, ``Expressway Service Area``)
and written as the official ones. Torchgeo's repack has no labels for the test images: as nobody knows what they show they are
left out, and the card says how many. Train on its ``train`` and test on its ``val`` list then.

Coordinates: numbers are edges and count from 0. The official text does not say where they count from and no copy could be
looked at; this is how torchgeo reads them, and how the NWPU VHR-10 of the same authors was measured to be. If they counted from
1 in the manner of VOC, boxes would begin one pixel further right and down than the object, in images of 800x800.

There is no ``<difficult>``. Two versions of the annotations circulate (test boxes of harbor: 3105 or 3140): compare the
card's counts before comparing scores.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.reading import write_source
from data_prep.source import Problem, Source
from data_prep.source_files import files, image_files, pair, split_lists, with_trainval
from data_prep.voc_xml import require_folders, unpacked, voc_boxes
from fsod.errors import UserError
from fsod.files import decoded

CLASS_NAMES = (
    "airplane",
    "airport",
    "baseballfield",
    "basketballcourt",
    "bridge",
    "chimney",
    "dam",
    "Expressway-Service-area",
    "Expressway-toll-station",
    "golffield",
    "groundtrackfield",
    "harbor",
    "overpass",
    "ship",
    "stadium",
    "storagetank",
    "tenniscourt",
    "trainstation",
    "vehicle",
    "windmill",
)
_ANNOTATIONS = ("Annotations/Horizontal Bounding Boxes", "Annotations/trainval", "Annotations")
_TRAINVAL = ("JPEGImages-trainval", "Images/trainval", "JPEGImages")
_TEST = ("JPEGImages-test", "Images/test")
_LISTS = ("ImageSets/Main", "Main")


def _key(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


_OFFICIAL = {_key(name): name for name in CLASS_NAMES}


def prepare_dior(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Reads DIOR and writes a prepared folder; a missing ``trainval`` list is made of ``train`` and ``val``.

    Args:
        source: the folder that holds ``Annotations``.
        out: the folder to write.
        skip_bad: leave out images with anything that cannot be used instead of raising at the first; the card lists it.

    Returns:
        The card; see :func:`data_prep.reading.write_source`. ``unlabelled_test_images_left_out`` counts those of
        torchgeo's repack.

    Raises:
        UserError: not this layout; unless ``skip_bad``, the first thing that cannot be used, with file and line.
    """
    annotations, images = require_folders(source, "DIOR", _ANNOTATIONS, _TRAINVAL)
    truths = [*files(annotations, ".xml"), *files(unpacked(source, "Annotations/test"), ".xml")]
    if not truths and (annotations / "Oriented Bounding Boxes").is_dir():
        raise UserError(f"{annotations}: has oriented boxes only; add its folder 'Horizontal Bounding Boxes'")
    test_images = [path for name in _TEST for path in image_files(unpacked(source, name))]
    labelled = {truth.stem for truth in truths}
    unlabelled = [] if labelled & {path.stem for path in test_images} else test_images
    items, problems = pair([*image_files(images), *(test_images if not unlabelled else [])], truths)
    stems = {item.stem for item in items}
    lists = _lists(source, stems, {path.stem for path in unlabelled}, problems)
    found = Source(
        "dior",
        source,
        items,
        lambda item, size_px: voc_boxes(item, size_px, lambda said: _OFFICIAL.get(_key(said)), first_px=0),
        problems,
        class_names=CLASS_NAMES,
        lists=lists,
        card={"unlabelled_test_images_left_out": len(unlabelled)},
    )
    return write_source(found, out, skip_bad=skip_bad)


def _lists(source: Path, stems: set[str], unlabelled: set[str], problems: list[Problem]) -> dict[str, list[str]]:
    """The lists less the unlabelled images."""
    table = source / "sample_df.csv"
    folder = next((place for name in _LISTS if (place := unpacked(source, name)).is_dir()), source / _LISTS[0])
    known = stems | unlabelled
    lists = _table(table, known, problems) if table.is_file() else split_lists(folder, known, problems)
    return {name: [stem for stem in ids if stem not in unlabelled] for name, ids in lists.items()}


def _table(path: Path, known: set[str], problems: list[Problem]) -> dict[str, list[str]]:
    """The lists of torchgeo's table, which has a row for each image."""
    lists: dict[str, list[str]] = {}
    rows = csv.DictReader(io.StringIO(decoded(path.read_bytes(), "replace"), newline=""))
    try:
        if not {"image_path", "split"} <= set(rows.fieldnames or ()):
            why = "is not torchgeo's table, whose first line names the columns image_path and split; fetch it again"
            problems.append(Problem(path, why, 1))
            return {}
        for row in rows:
            stem, split = PurePosixPath(row.get("image_path") or "").stem, row.get("split")
            if stem in known and split in ("train", "val", "test"):
                lists.setdefault(split, []).append(stem)
            else:
                why = (
                    f"says that {stem[:60]!r} belongs to {(split or '')[:60]!r}; there is no such image or no such list"
                )
                problems.append(Problem(path, why, rows.line_num))
    except csv.Error as error:
        problems.append(Problem(path, f"is not a table: {error}", rows.line_num))
    return with_trainval(lists)
