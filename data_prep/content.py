"""What decides a prepared folder: the bytes of every file that its images are read from.

Size and time of a file do not tell: a raster exported anew has the size of the old one, and a copied one has a new time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from data_prep.folder import in_threads
from fsod.errors import UserError
from fsod.files import sha256_of
from fsod.geo.raster_file import open_dataset

_GDAL_PREFIX = re.compile(r"(/vsi[a-z0-9_]+/)+")


def content_of(images: Sequence[Path], description: str) -> str:
    """Hash of the bytes of images, in their order, and of the files that belong to them.

    Those are sidecars (world file, ``.aux.xml``, ``.prj``, overviews, masks) and the sources of a VRT, with theirs.

    Args:
        images: of any format; one that is damaged counts with its bytes, one that is not there with nothing.
        description: of the work, for the progress bar.

    Raises:
        UserError: a file cannot be read.
    """
    return hashlib.sha256("\n".join(in_threads(_content, images, description)).encode()).hexdigest()


def bytes_of(files: Sequence[Path], description: str) -> str:
    """Hash of the bytes of files, in their order; one that is not there counts with nothing."""
    return hashlib.sha256("\n".join(in_threads(_sha256, files, description)).encode()).hexdigest()


def _content(image: Path) -> str:
    parts: dict[Path, None] = {}
    _add_parts(image, parts)
    # by name and not by place, so that a data set may move
    return " ".join(f"{part.name} {_sha256(part)}" for part in parts)


def _add_parts(path: Path, parts: dict[Path, None]) -> None:
    """Adds a raster and all that it consists of; sources of a source, too."""
    if path in parts:
        return
    parts[path] = None
    try:
        with open_dataset(str(path)) as dataset:
            names = dataset.files
    except UserError:  # what is wrong with it is for the reader to say
        return
    for part in sorted(filter(None, map(_local, names))):
        _add_parts(part, parts)


def _local(name: str) -> Path | None:
    """The file on this machine that holds what GDAL calls ``name``, which may be inside an archive."""
    path = Path(_GDAL_PREFIX.sub("", name))
    return next((place for place in (path, *path.parents) if place.is_file()), None)


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path) if path.is_file() else ""
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
