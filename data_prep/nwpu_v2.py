"""NWPU VHR-10.v2: 1172 crops of 400x400 px of NWPU VHR-10, in the layout of Pascal VOC.

::

    SOURCE/Annotations/NNN.xml
    SOURCE/JPEGImages/NNN.jpg
    SOURCE/ImageSets/Main/{train,val,trainval,test}.txt   679, 200, 879 and 293 images

Its class names (``groundtrackfield``, ``baseball``, ...) become those of the original set (``ground track field``,
``baseball diamond``), so that splits and banks fit both; the card says so.

Coordinates are read as in the original set: numbers are edges and count from 0. Its text does not say so, and no copy could
be looked at; if they counted from 1 in the manner of VOC, boxes would begin one pixel further right and down than the object.

One circulating copy has wrong boxes in its training images (github.com/CQRhinoZ/RINet issue 13, G-FSDet issue 5): look at
the contact sheets of `fsod data check` before you train. The set overlaps itself as the original does, and the official lists
put crops of one image on both sides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_prep.nwpu import CLASS_NAMES
from data_prep.reading import write_source
from data_prep.source import Source
from data_prep.voc_xml import voc_boxes, voc_items

_NAMES = {name.replace(" ", ""): name for name in CLASS_NAMES}
RENAMED = {
    "baseball": "baseball diamond",
    "basketball": "basketball court",
    **{name: original for name, original in _NAMES.items() if name != original},
}
"""Class names of the files that are not those of the original set -> the latter."""


def prepare_nwpu_v2(source: Path, out: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Reads NWPU VHR-10.v2 and writes a prepared folder.

    Args:
        source: the folder that holds ``Annotations`` and ``JPEGImages``.
        out: the folder to write.
        skip_bad: leave out images with anything that cannot be used instead of raising at the first; the card lists it.

    Returns:
        The card; see :func:`data_prep.reading.write_source`.

    Raises:
        UserError: not this layout; unless ``skip_bad``, the first thing that cannot be used, with file and line.
    """
    items, problems, lists = voc_items(source, "NWPU VHR-10.v2", ("Annotations",), ("JPEGImages",))
    found = Source(
        "nwpu_vhr10_v2",
        source,
        items,
        lambda item, size_px: voc_boxes(item, size_px, _class_name, first_px=0),
        problems,
        class_names=CLASS_NAMES,
        lists=lists,
        card={"renamed_classes": RENAMED},
    )
    return write_source(found, out, skip_bad=skip_bad)


def _class_name(said: str) -> str | None:
    key = said.lower().replace(" ", "").replace("-", "")
    return RENAMED.get(key) or _NAMES.get(key)
